import math
import os
import socket

import pytest
from miniature import columns, frames, plant

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.scan import scan
from tdpn_core.errors import DatasetError, UsageError


def splits(dataset) -> dict[str, str]:
    return dict(zip(dataset.clips["id"], dataset.clips["split"], strict=True))


def test_class_folders_under_splits_become_a_table(tmp_path):
    plant(tmp_path, "train/b c/1.mp4", "train/a/x.AVI", "val/a/2.webm", "test/b c/3.mkv", "train/a/deep/4.mov")
    dataset = read_dataset("folder", tmp_path)
    assert list(dataset.clips.columns) == [
        "id", "source", "kind", "pattern", "first", "last", "fps", "start", "stop", "split", "label_action",
    ]  # fmt: skip
    assert dataset.classes == {"action": ["a", "b c"]}
    rows = {row.id: (row.split, row.label_action) for row in dataset.clips.itertuples()}
    assert rows == {
        "train/a/x.AVI": ("train", 0),
        "train/a/deep/4.mov": ("train", 0),
        "train/b c/1.mp4": ("train", 1),
        "val/a/2.webm": ("val", 0),
        "test/b c/3.mkv": ("test", 1),
    }
    assert dataset.clips["source"][0] == "train/a/deep/4.mov"
    assert (dataset.name, dataset.root, dataset.label_order) == ("folder", tmp_path, "sorted")
    assert set(dataset.clips["kind"]) == {"video"}
    assert all(math.isnan(value) for value in dataset.clips["start"])
    assert dataset.notes == []


def test_without_a_split_groups_stay_together(tmp_path):
    names = [f"{label}/v_{label}_g{g:02}_c{c:02}.avi" for label in ("Dive", "Row") for g in range(1, 6) for c in (1, 2)]
    dataset = read_dataset("folder", plant(tmp_path, *names))
    assert dataset.clips.groupby(["split", "label_action"]).size().to_dict() == {
        ("train", 0): 8, ("train", 1): 8, ("val", 0): 2, ("val", 1): 2,
    }  # fmt: skip
    for name, split in splits(dataset).items():
        assert splits(dataset)[name.replace("_c01", "_c02")] == split
    assert any("4 of 20 clips are used for validation, by 10 source groups, seed 0" in n for n in dataset.notes)


def test_the_split_is_the_same_each_time_and_another_for_another_seed(tmp_path):
    plant(tmp_path, *(f"{label}/{n}.mp4" for label in "ab" for n in range(30)))
    first = splits(read_dataset("folder", tmp_path))
    assert splits(read_dataset("folder", tmp_path)) == first
    assert splits(read_dataset("folder", tmp_path, options=DatasetOptions(seed=1))) != first


def test_a_test_folder_stays_a_test_set(tmp_path):
    plant(tmp_path, *(f"train/a/{n}.mp4" for n in range(10)), "test/a/x.mp4")
    counts = read_dataset("folder", tmp_path).clips["split"].value_counts().to_dict()
    assert counts == {"train": 8, "val": 2, "test": 1}


@pytest.mark.parametrize("folder", ["train", "Validation", "dev", "test"])
def test_folder_named_like_a_split_with_clips_directly_in_it_is_refused(folder, tmp_path):
    plant(tmp_path, f"{folder}/1.mp4", f"{folder}/2.mp4", "bus/1.mp4", "bus/2.mp4")
    with pytest.raises(DatasetError, match=f"{folder} would be a class, but that is the name of a split") as error:
        read_dataset("folder", tmp_path)
    assert "a class folder is a folder of clips of one class" in error.value.hint


def test_a_class_with_one_recording_is_noted(tmp_path):
    dataset = read_dataset("folder", plant(tmp_path, "a/v_a_g01_c01.avi", "a/v_a_g01_c02.avi"))
    assert any("none of a, which has a single source group" in note for note in dataset.notes)


def test_other_files_are_counted_and_special_ones_are_not_opened(tmp_path):
    plant(tmp_path, "a/1.mp4", "a/2.mp4", "a/readme.txt", "b.txt", ".hidden/x.mp4", "loose.mp4")
    os.mkfifo(tmp_path / "a" / "pipe.mp4")
    (tmp_path / "a" / "dead.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "loop.mp4").symlink_to(tmp_path / "a" / "loop.mp4")
    (tmp_path / "a" / "zero.mp4").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "a" / "sock.mp4"))
        dataset = read_dataset("folder", tmp_path)
    assert sorted(dataset.clips["id"]) == ["a/1.mp4", "a/2.mp4"]
    notes = "\n".join(dataset.notes)
    assert "2 files are not videos (2 .txt)" in notes
    assert "5 entries are not regular files" in notes
    assert "a/pipe.mp4 (pipe)" in notes
    assert "a/zero.mp4 (device)" in notes
    assert "1 video is not in a class folder: the root" in notes


def test_links_to_files_and_folders_are_followed_and_circles_left(tmp_path):
    plant(tmp_path / "store", "1.mp4", "more/2.mp4")
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "linked.mp4").symlink_to(tmp_path / "store" / "1.mp4")
    (root / "a" / "more").symlink_to(tmp_path / "store" / "more")
    (root / "a" / "circle").symlink_to(root)
    assert scan(root).videos == ["a/linked.mp4", "a/more/2.mp4"]


def test_hostile_names_are_kept_exact(tmp_path):
    names = ["-x.mp4", 'it\'s "so".mp4', "new\nline.mp4", "$(x).mp4", "%d.mp4", os.fsdecode(b"\xff.mp4")]
    dataset = read_dataset("folder", plant(tmp_path, *(f"-c;/{name}" for name in names)))
    assert sorted(dataset.clips["source"]) == sorted(f"-c;/{name}" for name in names)


def test_a_root_without_clips_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no class folders with videos"):
        read_dataset("folder", tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        read_dataset("folder", tmp_path / "nowhere")


def test_an_unknown_data_set_names_the_known_ones(tmp_path):
    with pytest.raises(
        UsageError, match=r"no data set 'kinetcs'; did you mean kinetics\d00\? available: kinetics400, "
    ):
        read_dataset("kinetcs", tmp_path)


def test_the_persons_of_a_real_set_are_kept_apart(shared):
    dataset = read_dataset("folder", shared / "datasets" / "three_actions")
    persons = {split: set(rows["id"].str.extract(r"(P\d)T")[0]) for split, rows in dataset.clips.groupby("split")}
    assert persons["train"].isdisjoint(persons["val"])
    assert dataset.clips["split"].value_counts().to_dict() == {"train": 18, "val": 9}


def test_class_folders_of_frames(tmp_path):
    frames(tmp_path, "train/a/1", "img_%04d.png", first=0)
    frames(tmp_path, "train/b/2", "%d.jpg", count=11)
    frames(tmp_path, "val/a/3", "frame 100%% %03d.jpg")
    plant(tmp_path, "val/b/4.mp4")
    assert columns(read_dataset("folder", tmp_path), "kind", "pattern", "first", "last", "split") == {
        "train/a/1": ("frames", "img_%04d.png", 0, -1, "train"),
        "train/b/2": ("frames", "%d.jpg", 1, -1, "train"),
        "val/a/3": ("frames", "frame 100%% %03d.jpg", 1, -1, "val"),
        "val/b/4.mp4": ("video", "", 0, -1, "val"),
    }


def test_pictures_beside_videos_are_no_clips(tmp_path):
    """Downloaders leave a thumbnail beside each video."""
    plant(tmp_path, *(f"{label}/{n:03}.{ending}" for label in "abc" for n in range(9) for ending in ("mp4", "jpg")))
    dataset = read_dataset("folder", tmp_path)
    assert set(dataset.clips["kind"]) == {"video"}
    assert len(dataset.clips) == 27
    assert "27 files are not videos (27 pictures)" in dataset.notes


def test_frame_folders_that_name_their_pictures_differently_are_each_looked_at(tmp_path):
    for number in range(9):
        frames(tmp_path, f"train/a/{number}", "img_%05d.jpg" if number % 2 else "%05d.jpg", first=number)
    plant(tmp_path, "val/a/x.mp4")
    table = columns(read_dataset("folder", tmp_path), "pattern", "first")
    for number in range(9):
        assert table[f"train/a/{number}"] == ("img_%05d.jpg" if number % 2 else "%05d.jpg", number)
