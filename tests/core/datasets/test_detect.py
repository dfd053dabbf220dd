import pytest
from miniature import frames, plant, write

from tdpn_core.datasets import AUTO, DATASETS, DatasetOptions, find_dataset, read_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.errors import DatasetError
from tdpn_core.plugins import plain

KINETICS = "label,youtube_id,time_start,time_end,split\n"


def test_the_verdict_says_by_what_and_how_to_override(tmp_path):
    write(tmp_path, "annotations/train.csv", f"{KINETICS}abseiling,0wR5jVB-WPk,417,427,train\n")
    plant(tmp_path, "train/abseiling/0wR5jVB-WPk_000417_000427.mp4")
    detection = detect(tmp_path)
    assert detection.sentence() == (
        "read as kinetics400: train.csv annotates its clips, in 1 classes; "
        "to read it as another data set, give its name (folder)"
    )
    dataset = read_dataset(AUTO, tmp_path)
    assert dataset.name == "kinetics400"
    assert dataset.notes[0] == detection.sentence()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("kinetics600/train.csv", "kinetics600"),
        ("annotations/kinetics-600_train.csv", "kinetics600"),
        ("k700-2020/annotations/train.csv", "kinetics700"),
        ("kinetics700_2020/train.csv", "kinetics700"),
        ("kinetics_700/validate.csv", "kinetics700"),
        ("annotations/train.csv", "kinetics400"),
    ],
)
def test_the_size_of_kinetics_is_read_off_the_place(place, expected, tmp_path):
    write(tmp_path, place, f"{KINETICS}abseiling,0wR5jVB-WPk,417,427,train\n")
    plant(tmp_path, "train/0wR5jVB-WPk_000417_000427.mp4")
    assert detect(tmp_path).name == expected
    assert read_dataset(AUTO, tmp_path).name == expected


@pytest.mark.parametrize(("classes", "expected"), [(400, "kinetics400"), (600, "kinetics600"), (700, "kinetics700")])
def test_or_counted(classes, expected, tmp_path):
    rows = "".join(f"class {n},{n:011},0,10,train\n" for n in range(classes))
    write(tmp_path, "annotations/train.csv", KINETICS + rows)
    plant(tmp_path, "train/00000000000_000000_000010.mp4")
    assert detect(tmp_path).name == expected


def test_folders_and_lists(tmp_path):
    plant(tmp_path / "a", "train/x/1.mp4", "val/x/2.mp4")
    assert detect(tmp_path / "a").name == "folder"
    plant(tmp_path / "b", "x/1.mp4", "y/2.mp4")
    assert (detect(tmp_path / "b").name, detect(tmp_path / "b").evidence) == (
        "folder",
        "2 folders of clips, read as classes",
    )
    frames(tmp_path / "c", "x/1")
    frames(tmp_path / "c", "x/2")
    assert detect(tmp_path / "c").name == "folder"
    write(tmp_path / "a", "train_list.txt", "x/1.mp4 0\n")
    found = detect(tmp_path / "a")
    assert (found.name, [other.name for other in found.others]) == ("list", ["folder"])


def test_texts_that_are_no_lists_are_let_be(tmp_path):
    plant(tmp_path, "x/1.mp4", "y/2.mp4")
    write(tmp_path, "training notes.txt", "took 3 days 2\nall fine\n")
    write(tmp_path, "train.json", "[1, 2]")
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00 1\n" * 5)
    (tmp_path / "val.csv").write_text("y" * 100_000 + " 1\n")
    assert detect(tmp_path).name == "folder"


def test_nothing_known(tmp_path):
    plant(tmp_path, "readme.md", "k400_targz/train/part_0.tar.gz")
    with pytest.raises(DatasetError, match=r"no known data set was detected; give the name of the data set.*1 \.gz"):
        detect(tmp_path)


def test_every_name_can_be_asked_for(tmp_path):
    plant(tmp_path, "x/1.mp4")
    for name in DATASETS:
        if name != "folder" and not name.startswith("kinetics"):
            with pytest.raises(DatasetError):
                read_dataset(name, tmp_path)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("EPIC-100", "epic100"),
        ("epic_kitchens_55", "epic55"),
        ("k600", "kinetics600"),
        ("Kinetics-400", "kinetics400"),
        ("Something-Something-V2", "something-v2"),
        ("ssv1", "something-v1"),
        ("UCF-101", "ucf101"),
    ],
)
def test_find_dataset_other_spellings_and_aliases_give_the_one_entry(spelled, name):
    assert find_dataset(spelled).name == name


def test_datasets_names_and_aliases_mean_one_entry_each():
    spellings = [plain(one) for spec in DATASETS.values() for one in (spec.name, *spec.aliases)]
    assert len(spellings) == len(set(spellings))
    assert [spec.name for spec in DATASETS.values()] == list(DATASETS)


def test_annotations_that_tell_nothing_are_not_passed_over_silently(tmp_path):
    plant(tmp_path / "root", "a/1.mp4", "b/2.mp4", "3.mp4")
    write(tmp_path, "labels.txt", "one\ntwo\n")
    options = DatasetOptions(annotations=tmp_path / "labels.txt")
    notes = read_dataset("auto", tmp_path / "root", options=options).notes
    assert "classes are the folder names; --annotations is not used: labels.txt" in notes


def test_a_flat_folder_of_videos_is_told_what_to_do(tmp_path):
    plant(tmp_path, "1.mp4", "2.mp4")
    with pytest.raises(DatasetError, match="no known data set was detected") as error:
        read_dataset("auto", tmp_path)
    assert "2 videos are directly in it, but folder needs a folder per class" in error.value.hint
