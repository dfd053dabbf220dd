"""Time-annotated videos, read and packed in process."""

import json
import subprocess
from pathlib import Path

import pytest

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.background import BackgroundOptions
from tdpn_core.errors import ConfigError, DatasetError, UsageError
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import pack_dataset, prepare, understand
from tdpn_core.prep.segment_times import fit_segments
from tdpn_core.shards import ClipStore
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

SMALL = PrepConfig(encoding=Encoding(short_side=32))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 3 s at 30000/1001 frames per second."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    source = ("-f", "lavfi", "-i", "testsrc=size=48x32:rate=30000/1001:duration=3", "-c:v", "libx264")
    program = str(find_ffmpeg(None).path)
    subprocess.run([program, "-v", "error", *source, "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def plant(folder: Path, video: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(video.read_bytes() + name.encode())  # bytes after the last box are ignored


def test_prepare_packs_the_segments_of_a_list_and_names_what_is_beyond_the_end(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4", "b.mp4")
    rows = "a,0,1,open,train\na,1.5,9,pour,train\na,3.5,4,pour,train\nb.mp4,0:01,0:02,open,val\n"
    (tmp_path / "labels.csv").write_text(f"video,start,end,label,split\n{rows}")
    report = prepare("auto", tmp_path, tmp_path / "out", settings=SMALL, workers=1)
    assert report.clips == {"train": 2, "val": 1}
    notes = "\n".join(report.notes)
    assert "1 segment starts after the end of the video and is left out: labels.csv line 4 a:3.5-4" in notes
    assert "1 segment extends beyond the end of the video and is shortened: labels.csv line 3 a:1.5-9" in notes


def test_understand_reads_an_export_in_frames_at_the_exact_rate(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "0123abcd-a.mp4")
    value = {"ranges": [{"start": 31, "end": 60}], "timelinelabels": ["open"]}
    task = {"data": {"video": "/data/upload/3/0123abcd-a.mp4"}, "annotations": [{"result": [{"value": value}]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    assert read_dataset("auto", tmp_path).clips["id"].tolist() == ["0123abcd-a:f30-59"]
    assert understand("auto", tmp_path).dataset == "segments"
    prepare("segments", tmp_path, tmp_path / "out", settings=SMALL, workers=1)
    assert len(ClipStore(tmp_path / "out", "train").times(0)) == 30


@pytest.mark.parametrize(
    ("choice", "ids"),
    [("keep", ["a:0-2", "a:1-1.5"]), ("first", ["a:0-2"]), ("longest", ["a:0-2"])],
)
def test_overlapping_segments_are_refused_unless_a_choice_is_made(
    choice: str, ids: list[str], video: Path, tmp_path: Path
) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,2,open\na,1,1.5,pour\n")
    with pytest.raises(DatasetError, match=r"'pour' \(1 to 1.5 s, train.csv line 3\) overlaps 'open'") as error:
        read_dataset("list", tmp_path)
    assert "--overlaps keep" in str(error.value.hint)
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(overlaps=choice))  # type: ignore[arg-type]
    assert sorted(dataset.clips["id"]) == ids


def test_segments_of_one_video_are_on_one_side_of_a_drawn_split(video: Path, tmp_path: Path) -> None:
    names = [f"{name}.mp4" for name in ("ant", "bee", "cat", "dog", "elk", "fox")]
    plant(tmp_path, video, *names)
    rows = "".join(f"{name},{k / 2},{k / 2 + 0.5},{'open' if k % 2 else 'pour'}\n" for name in names for k in range(4))
    (tmp_path / "labels.csv").write_text(f"video,start,end,label\n{rows}")
    clips = read_dataset("list", tmp_path).clips
    sides = clips.groupby("source")["split"].nunique()
    assert sides.max() == 1
    assert set(clips["split"]) == {"train", "val"}
    background = BackgroundOptions(share=0.3, min_length=0.2, margin=0.1)
    table = fit_segments(read_dataset("list", tmp_path, options=DatasetOptions(background=background)), background)
    sides = table.clips.groupby("source")["split"].nunique()
    assert sides.max() == 1
    assert table.clips["label_action"].value_counts()[0] >= 8
    assert set(table.groups) == set(table.clips["id"])


def test_video_that_is_missing_is_named_and_two_of_one_name_are_refused(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,open\ngone,0,1,pour\n")
    assert "1 annotated video is not on disk: gone" in read_dataset("list", tmp_path).notes
    (tmp_path / "other").mkdir()
    plant(tmp_path / "other", video, "a.mp4")
    with pytest.raises(DatasetError, match="2 videos are called 'a': a, other/a"):
        read_dataset("segments", tmp_path)


def test_lists_with_and_without_times_are_refused_with_what_to_do(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4", "b.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,open\n")
    (tmp_path / "val.csv").write_text("video,label\nb,open\n")
    with pytest.raises(DatasetError, match=r"train\.csv: has start and end columns, and val\.csv has none") as error:
        read_dataset("list", tmp_path)
    assert "--ignore-segments" in str(error.value.hint)


def test_prepare_of_videos_that_are_cut_already_says_to_ignore_the_times(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4", "b.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,12,15,open\nb,31,34,pour\n")
    with pytest.raises(DatasetError, match=r"no segment is within its video: 2 segments start after") as error:
        understand("list", tmp_path)
    assert "--ignore-segments" in str(error.value.hint)


def test_pack_dataset_of_a_table_read_before_fits_its_segments(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start_frame,end_frame,label\na,30,59,open\na,7,7,pour\na,900,950,pour\n")
    report = pack_dataset(read_dataset("list", tmp_path), tmp_path / "out", settings=SMALL, workers=1)
    store = ClipStore(tmp_path / "out", "train")
    assert {len(store.times(clip)) for clip in range(2)} == {30, 1}
    assert any("1 segment starts after the end of the video and is left out" in note for note in report.notes)


def test_prepare_with_another_choice_of_overlaps_is_refused(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,open\na,2,2.5,pour\n")
    prepare("list", tmp_path, tmp_path / "out", settings=SMALL, workers=1)
    other = PrepConfig(encoding=SMALL.encoding, dataset=DatasetOptions(overlaps="keep"))
    with pytest.raises(ConfigError, match="was prepared with overlaps refuse, not keep"):
        prepare("list", tmp_path, tmp_path / "out", settings=other, workers=1)


def test_segments_in_frames_of_a_video_that_cannot_be_opened_are_left_out(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video at all")
    (tmp_path / "train.csv").write_text("video,start_frame,end_frame,label\na,0,9,open\nb,0,9,pour\n")
    seen = understand("list", tmp_path)
    assert seen.read.found == {"train": 1}
    notes = "\n".join(seen.read.notes)
    assert "1 segment is in frames of a video that cannot be opened and is left out: train.csv line 3 b:f0-9" in notes


def test_prepare_with_background_takes_clips_between_segments(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4", "b.mp4", "c.mp4")
    rows = "a,0,0.8,open,train\na,2.2,2.6,pour,train\nb,1,2,open,val\nc,0,0.5,pour,train\nc,2,1,pour,train\n"
    (tmp_path / "labels.csv").write_text(f"video,start,end,label,split\n{rows}")
    background = BackgroundOptions(share=0.5, min_length=0.4, margin=0.1)
    config = PrepConfig(encoding=SMALL.encoding, dataset=DatasetOptions(background=background))
    report = prepare("list", tmp_path, tmp_path / "out", settings=config, workers=1)
    store = ClipStore(tmp_path / "out", "train")
    assert store.classes == {"action": ["background", "open", "pour"]}
    between = [clip for clip, label in zip(store.ids, store.labels["action"], strict=True) if label == 0]
    assert len(between) == report.clips["train"] - 3 > 0
    for clip in between:
        start, stop = map(float, clip.removeprefix("a:background:").split("-"))
        assert 0.9 - 1e-9 <= start < stop <= 2.1 + 1e-9 or 2.7 - 1e-9 <= start < stop
    assert any("1 video has an entry that cannot be read and gives no background clips: c.mp4" in note
               for note in report.notes)  # fmt: skip
    with pytest.raises(ConfigError, match=r"was prepared with background 0\.5 of the clips.*, not off"):
        prepare("list", tmp_path, tmp_path / "out", settings=SMALL, workers=1)


def test_background_of_data_without_segments_is_refused(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,label\na,open\n")
    with pytest.raises(UsageError, match="no videos with annotated segments"):
        understand("list", tmp_path, options=DatasetOptions(background=BackgroundOptions()))


def test_segments_with_class_numbers_get_the_names_of_the_class_file(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "classes.txt").write_text("walk\npour\nopen\n")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,2\na,2,2.5,1\n")
    options = DatasetOptions(background=BackgroundOptions())
    for classes, own in (
        (["walk", "pour", "open"], DatasetOptions()),
        (["walk", "pour", "open", "background"], options),
    ):
        table = read_dataset("list", tmp_path, options=own)
        assert (table.classes, table.label_order) == ({"action": classes}, "file")
        assert table.clips["label_action"].tolist() == [2, 1]
    (tmp_path / "classes.txt").write_text("walk\npour\n")
    with pytest.raises(DatasetError, match=r"classes\.txt: has 2 classes, and a segment has the label 2") as error:
        read_dataset("list", tmp_path)
    assert "count from 1" in str(error.value.hint)
    (tmp_path / "classes.txt").unlink()
    assert read_dataset("list", tmp_path).classes == {"action": ["1", "2"]}


def test_segments_in_folders_of_splits_are_in_these_splits(video: Path, tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("validation", "b")):
        (tmp_path / split).mkdir()
        plant(tmp_path / split, video, f"{name}.mp4")
        (tmp_path / split / "metadata.csv").write_text(f"video,start,end,label\n{name},0,1,open\n{name},2,3,pour\n")
    clips = read_dataset("list", tmp_path).clips
    assert dict(zip(clips["source"], clips["split"], strict=True)) == {
        "train/a.mp4": "train",
        "validation/b.mp4": "val",
    }


def test_background_of_a_fixed_camera_does_not_count_as_copies(tmp_path: Path) -> None:
    program = str(find_ffmpeg(None).path)
    for name, source in (("a", "testsrc2"), ("b", "mandelbrot")):
        moving = f"{source}=size=64x64:rate=25" + (":duration=1" if name == "a" else ",trim=duration=1")
        parts = ("-f", "lavfi", "-i", moving, "-f", "lavfi", "-i", "smptebars=size=64x64:rate=25:duration=5")
        joined = ("-filter_complex", "concat", "-pix_fmt", "yuv420p", str(tmp_path / f"{name}.mp4"))
        subprocess.run([program, "-v", "error", *parts, *joined], check=True)
    (tmp_path / "labels.csv").write_text("video,start,end,label,split\na,0,1,open,train\nb,0,1,pour,val\n")
    background = BackgroundOptions(share=0.5, min_length=1, margin=0.2)
    config = PrepConfig(encoding=SMALL.encoding, dataset=DatasetOptions(background=background))
    report = prepare("list", tmp_path, tmp_path / "out", settings=config, workers=1)
    assert report.clips == {"train": 2, "val": 2}
    assert report.twins == []


def test_quote_that_is_not_closed_is_refused_with_its_line(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text('video,start,end,label\na,0,1,open\na,1,2,"pour\na,2,3,open\na,0,2,"shut"\n')
    with pytest.raises(DatasetError, match="line 3: a quote is opened here"):
        read_dataset("list", tmp_path)


def test_background_of_another_spelling_is_the_same_class(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,0.5,Background\na,2.5,3,open\n")
    options = BackgroundOptions(share=0.5, min_length=0.5, margin=0)
    seen = understand("list", tmp_path, options=DatasetOptions(background=options))
    assert list(seen.per_class) == ["Background", "open"]
    assert sum(seen.per_class["Background"].values()) > 1


def test_background_without_a_gap_that_is_long_enough_is_refused(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,open\na,2.5,3,pour\n")
    with pytest.raises(DatasetError, match="no gap between segments is 100 s long"):
        understand("list", tmp_path, options=DatasetOptions(background=BackgroundOptions(min_length=100)))


def test_export_that_cannot_be_read_is_named(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "export.json").write_text('[{"data": ')
    with pytest.raises(DatasetError, match=r"export\.json: cannot be read: Expecting value"):
        read_dataset("segments", tmp_path)
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,open\n")
    notes = read_dataset("segments", tmp_path).notes
    assert any("export.json: cannot be read: Expecting value" in note and "left out" in note for note in notes)


def test_video_whose_name_differs_in_case_is_used_and_noted(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "long1.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\nLONG1.MP4,0,1,open\n")
    dataset = read_dataset("segments", tmp_path)
    assert dataset.clips["source"].tolist() == ["long1.mp4"]
    assert "names of videos differ from the annotations in case: 'LONG1.MP4' is 'long1'" in dataset.notes


def test_drawn_split_is_described_without_the_segments_that_are_left_out(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, *(f"{letter}.mp4" for letter in "abcdef"))
    rows = "".join(f"{letter},0,1,open\n{letter},3.5,4,open\n" for letter in "abcdef")
    (tmp_path / "labels.csv").write_text(f"video,start,end,label\n{rows}")
    notes = understand("segments", tmp_path).read.notes
    [drawn] = [note for note in notes if note.startswith("no validation split:")]
    assert " of 6 segments are used" in drawn or " of 6 segments is used" in drawn


def test_label_with_a_control_character_is_left_out(video: Path, tmp_path: Path) -> None:
    plant(tmp_path, video, "a.mp4")
    (tmp_path / "train.csv").write_text("video,start,end,label\na,0,1,open\na,1,2,po\x07ur\n")
    [odd] = read_dataset("segments", tmp_path).understanding.odd_lines
    assert (odd.line, odd.reason) == (3, "has a label with a control character, left out")
