import json
import math

import pytest
from miniature import columns, frames, labels, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.errors import DatasetError, UsageError

V1 = "something-something-v1"
TURNING = "Turning the camera left while filming something"
APPROACHING = "Approaching something with your camera"


def something_v1(root, end="\n"):
    write(root, f"{V1}-labels.csv", end.join(["Holding something", TURNING, "Closing something"]) + end)
    write(root, f"{V1}-train.csv", f"100218;Closing something{end}48032;{TURNING}{end}7;Holding something{end}")
    write(root, f"{V1}-validation.csv", f"85;Holding something{end}")
    write(root, f"{V1}-test.csv", f"9{end}10{end}")
    for clip in ("100218", "48032", "85", "9", "4711"):
        frames(root, f"20bn-{V1}/{clip}")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_v1_is_folders_of_frames_in_the_order_of_the_labels_file(end, tmp_path):
    something_v1(tmp_path, end)
    plant(tmp_path, *(f"20bn-{V1}/{clip}/flow_x_{n:05}.jpg" for clip in ("100218", "85") for n in range(9)))
    dataset = read_dataset("something-v1", tmp_path)
    assert dataset.classes == {"action": ["Holding something", TURNING, "Closing something"]}
    assert dataset.label_order == "file"
    assert labels(dataset) == {
        "100218": ("train", "Closing something"),
        "48032": ("train", TURNING),
        "85": ("val", "Holding something"),
        "9": ("test", None),
    }
    wanted = (f"20bn-{V1}/85", "frames", "%05d.jpg", 1, -1, 12.0)
    assert columns(dataset, "source", "kind", "pattern", "first", "last", "fps")["85"] == wanted
    notes = "\n".join(dataset.notes)
    assert "1 train clip of the annotation file is not on disk (for example '7')" in notes
    assert "1 test clip of the annotation file is not on disk (for example '10')" in notes
    assert dataset.absent == {"train": ["7"], "val": [], "test": ["10"]}
    assert "1 clip on disk is not in any annotation file (for example '4711')" in notes


def test_v1_can_be_had_in_sorted_order(tmp_path):
    something_v1(tmp_path)
    filed, sorted_ = (read_dataset("something-v1", tmp_path, options=DatasetOptions(label_order=order))
                      for order in ("file", "sorted"))  # fmt: skip
    assert sorted_.classes == {"action": ["Closing something", "Holding something", TURNING]}
    assert (filed.label_order, sorted_.label_order) == ("file", "sorted")
    assert labels(filed) == labels(sorted_)
    assert sorted_.clips["label_action"].tolist() == [0, 2, 1, -1]


def test_a_checkpoints_own_class_list_sets_the_order(tmp_path):
    something_v1(tmp_path)
    path = write(tmp_path, "other/category.txt", f"{TURNING}\nClosing [something]\nHolding something\n")
    dataset = read_dataset("something-v1", tmp_path, options=DatasetOptions(class_list=path))
    assert dataset.classes == {"action": [TURNING, "Closing something", "Holding something"]}
    assert dataset.label_order == "list category.txt"
    path.write_text("Closing something\nHolding something\nOpening something\n")
    with pytest.raises(DatasetError, match=r"category\.txt: lists 3 classes, .*'Opening something' is not a class"):
        read_dataset("something-v1", tmp_path, options=DatasetOptions(class_list=path))


def test_folders_of_two_hundred_thousand_clips_are_not_listed(tmp_path, monkeypatch):
    write(tmp_path, f"{V1}-labels.csv", "Holding something\n")
    write(tmp_path, f"{V1}-train.csv", "".join(f"{n};Holding something\n" for n in range(300)))
    for clip in range(300):
        frames(tmp_path, f"20bn-{V1}/{clip}", count=1)
    import os

    listed = []
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(path) or scandir(path))
    monkeypatch.setattr(os, "listdir", lambda path=".": listed.append(path) or listdir(path))
    assert len(read_dataset("something-v1", tmp_path).clips) == 300
    assert 1 < len(listed) < 12


def something_v2(root, prefix, ending, *, answers=False):
    write(root, f"{prefix}labels.json", json.dumps({APPROACHING: "0", "Holding something next to something": "1"}))
    entry = {"id": "78687", "label": 'holding "a" next to b', "template": "Holding [something] next to [something]"}
    write(root, f"{prefix}train.json", json.dumps([entry, {"id": "1", "template": APPROACHING, "placeholders": []}]))
    write(root, f"{prefix}validation.json", json.dumps([{"id": "2", "template": APPROACHING}]))
    write(root, f"{prefix}test.json", json.dumps([{"id": "3"}, {"id": "4"}]))
    if answers:
        write(root, "labels/test-answers.csv", f"3;{APPROACHING}\n4;Holding something next to something\n")
    plant(root, *(f"20bn-something-something-v2/{clip}{ending}" for clip in ("78687", "1", "2", "3", "4")))


@pytest.mark.parametrize("prefix", ["something-something-v2-", "labels/"])
@pytest.mark.parametrize("ending", [".webm", ".mp4"])
def test_v2_under_both_names_of_its_json_files(prefix, ending, tmp_path):
    something_v2(tmp_path, prefix, ending, answers=prefix == "labels/")
    assert detect(tmp_path).name == "something-v2"
    dataset = read_dataset("something-v2", tmp_path)
    found = labels(dataset)
    assert found["78687"] == ("train", "Holding something next to something")
    assert found["2"] == ("val", APPROACHING)
    assert found["4"] == ("test", "Holding something next to something" if prefix == "labels/" else None)
    assert columns(dataset, "source", "kind")["1"] == (f"20bn-something-something-v2/1{ending}", "video")
    assert dataset.clips["fps"].isna().all()


@pytest.mark.parametrize(
    ("pattern", "first", "expected"),
    [("%06d.jpg", 1, "%06d.jpg"), ("img_%05d.jpg", 0, "img_%05d.jpg"), ("{}_%06d.jpg", 1, "{}_%06d.jpg")],
)
def test_v2_as_frames_of_three_code_bases(pattern, first, expected, tmp_path):
    something_v2(tmp_path, "labels/", ".webm")
    for clip in ("78687", "1", "2", "3", "4"):
        frames(tmp_path, f"frames/{clip}", pattern.format(clip), first)
    dataset = read_dataset("something-v2", tmp_path, options=DatasetOptions(sources="frames"))
    table = columns(dataset, "source", "kind", "pattern", "first", "last")
    assert table == {
        clip: (f"frames/{clip}", "frames", expected.format(clip), first, -1) for clip in ("78687", "1", "2", "3", "4")
    }
    assert all(math.isnan(fps) for fps in dataset.clips["fps"])
    assert "5 files or folders are of the kind that --sources excludes" in dataset.notes
    videos = read_dataset("something-v2", tmp_path)
    assert set(videos.clips["kind"]) == {"video"}
    assert "5 further copies of clips (other containers, folders or frames) are not used" in videos.notes


@pytest.mark.parametrize("prefix", ["jester-v1-", "labels/"])
def test_jester_under_both_names(prefix, tmp_path):
    write(tmp_path, f"{prefix}labels.csv", "Swiping Left\r\nSwiping Right\r\nDoing other things\r\n")
    write(tmp_path, f"{prefix}train.csv", "34870;Doing other things\r\n56557;Swiping Right\r\n")
    write(tmp_path, f"{prefix}validation.csv", "9223;Swiping Left\n")
    write(tmp_path, f"{prefix}test.csv", "109621\n")
    write(tmp_path, "jester-v1-train-quick-testing.csv", "1;Swiping Left\n")
    if prefix == "labels/":
        write(tmp_path, "labels/test-answers.csv", "109621;Swiping Left\n")
    for clip in ("34870", "56557", "9223", "109621"):
        frames(tmp_path, f"20bn-jester-v1/{clip}")
    assert detect(tmp_path).name == "jester"
    dataset = read_dataset("auto", tmp_path)
    assert dataset.name == "jester"
    assert labels(dataset) == {
        "34870": ("train", "Doing other things"),
        "56557": ("train", "Swiping Right"),
        "9223": ("val", "Swiping Left"),
        "109621": ("test", "Swiping Left" if prefix == "labels/" else None),
    }
    assert set(dataset.clips["fps"]) == {12.0}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("5;Flying", r"train\.csv: line 2: label is not in something-something-v1-labels\.csv: 'Flying'"),
        ("85", r"train\.csv: line 2: clip has no label: '85'"),
        ("85;Holding something;x", r"train\.csv: line 2: is not id;label"),
        (f"100218;{TURNING}", r"train\.csv: line 2: clip is listed twice with different labels: '100218'"),
    ],
)
def test_a_faulty_line_is_named(line, fault, tmp_path):
    something_v1(tmp_path)
    write(tmp_path, f"{V1}-train.csv", f"\ufeff100218;Closing something\r\n{line}\r\n")
    with pytest.raises(DatasetError, match=fault):
        read_dataset("something-v1", tmp_path)


def test_a_clip_that_is_listed_again_is_counted(tmp_path):
    something_v1(tmp_path)
    write(tmp_path, f"{V1}-train.csv", "100218;Closing something\n" * 3)
    dataset = read_dataset("something-v1", tmp_path)
    assert "2 clips are listed more than once and used once (for example '100218')" in dataset.notes


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("labels/labels.json", "{", "cannot be read"),
        ("labels/labels.json", json.dumps({APPROACHING: "0", "b": "2"}), "does not number its 2 classes from 0"),
        ("labels/labels.json", json.dumps({APPROACHING: "x"}), "is not an object of numbers by class"),
        ("labels/train.json", json.dumps({"id": "1"}), "is not a list of clips"),
        ("labels/train.json", json.dumps([{"id": "1", "template": APPROACHING}, {}]), "entry 2: has no id"),
        ("labels/train.json", json.dumps([{"id": "1", "template": "[x] flies"}]), "is not in labels.json: 'x flies'"),
    ],
)  # fmt: skip
def test_a_faulty_json_file_is_named(name, content, fault, tmp_path):
    something_v2(tmp_path, "labels/", ".webm")
    write(tmp_path, name, content)
    with pytest.raises(DatasetError, match=fault):
        read_dataset("something-v2", tmp_path)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DatasetError, match=r"no something-something-v1-labels\.csv with -train"):
        read_dataset("something-v1", tmp_path)
    something_v1(tmp_path)
    write(tmp_path, f"{V1}-labels.csv", "\r\n")
    with pytest.raises(DatasetError, match=r"labels\.csv: is empty"):
        read_dataset("something-v1", tmp_path)


def test_annotations_may_lie_elsewhere(tmp_path):
    something_v1(tmp_path / "data")
    notes = tmp_path / "notes"
    notes.mkdir()
    for path in (tmp_path / "data").glob("*.csv"):
        path.rename(notes / path.name)
    dataset = read_dataset("something-v1", tmp_path / "data", options=DatasetOptions(annotations=notes))
    assert len(dataset.clips) == 4
    assert dataset.clips["source"][0] == f"20bn-{V1}/100218"
    with pytest.raises(DatasetError, match="is not a file or folder of annotations"):
        read_dataset("something-v1", tmp_path / "data", options=DatasetOptions(annotations=tmp_path / "no"))


def test_unknown_choices_are_refused():
    with pytest.raises(UsageError, match="label_order 'random' is unknown; one of official, file, sorted, cleaned"):
        DatasetOptions(label_order="random")
    with pytest.raises(UsageError, match="there is no split 4"):
        DatasetOptions(split=4)


def test_real_jester_files(shared, tmp_path):
    folder = shared / "annotations" / "jester-udacity"
    for clip in ("34870", "9223", "109621"):
        frames(tmp_path, f"20bn-jester-v1/{clip}")
    dataset = read_dataset("jester", tmp_path, options=DatasetOptions(annotations=folder))
    assert len(dataset.classes["action"]) == 27
    assert labels(dataset) == {
        "34870": ("train", "Drumming Fingers"),
        "9223": ("val", "Thumb Up"),
        "109621": ("test", None),
    }
    notes = "\n".join(dataset.notes)
    assert "1499 train clips of the annotation file are not on disk" in notes
    assert "14786 val clips of the annotation file are not on disk" in notes
    assert "14742 test clips of the annotation file are not on disk" in notes
    assert {split: len(absent) for split, absent in dataset.absent.items()} == {
        "train": 1499,
        "val": 14786,
        "test": 14742,
    }
