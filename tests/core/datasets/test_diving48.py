import json

import pytest
from miniature import columns, frames, labels, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.errors import DatasetError

VOCAB = [
    ["Back", "15som", "05Twis", "FREE"],
    ["Back", "15som", "15Twis", "FREE"],
    ["Forward", "Dive", "NoTwis", "PIKE"],
]


def diving48(root, version="_V2"):
    train = [{"vid_name": "-8Vy3dlHg2w_00000", "label": 2, "start_frame": 0, "end_frame": 152},
             {"vid_name": "gone_00001", "label": 0, "end_frame": 9}]  # fmt: skip
    test = [{"vid_name": "0-yHNmSvmuA_00003", "label": 1, "start_frame": 0, "end_frame": 97}]
    write(root, f"Diving48{version}_train.json", json.dumps(train))
    write(root, f"Diving48{version}_test.json", json.dumps(test))
    write(root, "Diving48_vocab.json", json.dumps(VOCAB))


@pytest.mark.parametrize("folder", ["rgb", "videos"])
def test_the_second_version_is_read(folder, tmp_path):
    diving48(tmp_path)
    plant(tmp_path, f"{folder}/-8Vy3dlHg2w_00000.mp4", f"{folder}/0-yHNmSvmuA_00003.mp4")
    assert detect(tmp_path).name == "diving48"
    dataset = read_dataset("diving48", tmp_path)
    assert labels(dataset) == {
        "-8Vy3dlHg2w_00000": ("train", "Forward+Dive+NoTwis+PIKE"),
        "0-yHNmSvmuA_00003": ("val", "Back+15som+15Twis+FREE"),
    }
    assert "1 train clip of the annotation file is not on disk (for example 'gone_00001')" in dataset.notes
    assert dataset.absent == {"train": ["gone_00001"], "val": []}


def test_frames_are_read_where_videos_are_not(tmp_path):
    diving48(tmp_path)
    frames(tmp_path, "rgb/-8Vy3dlHg2w_00000", "frames%04d.jpg")
    table = columns(read_dataset("diving48", tmp_path), "kind", "pattern", "first", "last")
    assert table == {"-8Vy3dlHg2w_00000": ("frames", "frames%04d.jpg", 1, -1)}


def test_the_first_version_is_refused(tmp_path):
    diving48(tmp_path, version="")
    plant(tmp_path, "rgb/-8Vy3dlHg2w_00000.mp4")
    with pytest.raises(DatasetError, match="first version, many of whose labels are wrong; get Diving48_V2_train"):
        read_dataset("auto", tmp_path)
    (tmp_path / "Diving48_train.json").unlink()
    (tmp_path / "Diving48_test.json").unlink()
    with pytest.raises(DatasetError, match=r"no Diving48_V2_train\.json or"):
        read_dataset("diving48", tmp_path)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"vid_name": "a", "label": 48}, r"train\.json: entry 1: label of a is not one of 3: 48"),
        ({"vid_name": "a", "label": "2"}, "label of a is not one of 3: '2'"),
        ({"label": 2}, "entry 1: has no vid_name"),
    ],
)
def test_a_faulty_entry_is_named(entry, fault, tmp_path):
    diving48(tmp_path)
    write(tmp_path, "Diving48_V2_train.json", json.dumps([entry]))
    with pytest.raises(DatasetError, match=fault):
        read_dataset("diving48", tmp_path)


def test_classes_need_their_vocabulary(tmp_path):
    diving48(tmp_path)
    (tmp_path / "Diving48_vocab.json").unlink()
    with pytest.raises(DatasetError, match=r"no Diving48_vocab\.json"):
        read_dataset("diving48", tmp_path)


def test_the_real_label_map_is_a_class_list(shared, tmp_path):
    path = shared / "annotations" / "mmaction2-labelmaps" / "diving48_label_map.txt"
    names = path.read_text().split("\n")[:48]
    diving48(tmp_path)
    write(tmp_path, "Diving48_vocab.json", json.dumps([name.split("+") for name in names]))
    plant(tmp_path, "rgb/-8Vy3dlHg2w_00000.mp4")
    dataset = read_dataset("diving48", tmp_path, options=DatasetOptions(class_list=path))
    assert dataset.classes["action"] == names
    assert dataset.clips["label_action"].tolist() == [2]
