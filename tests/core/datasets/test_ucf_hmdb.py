import os

import pytest
from miniature import columns, frames, labels, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.errors import DatasetError


def ucf101(root, place="ucfTrainTestlist", end="\r\n"):
    classes = ["ApplyEyeMakeup", "HandstandPushups", "YoYo"]
    write(root, f"{place}/classInd.txt", "".join(f"{n} {name}{end}" for n, name in enumerate(classes, 1)))
    for split, (train, test) in {1: (8, 1), 2: (1, 8), 3: (9, 2)}.items():
        lines = {
            "train": [f"ApplyEyeMakeup/v_ApplyEyeMakeup_g{train:02}_c01.avi 1",
                      f"HandstandPushups/v_HandStandPushups_g{train:02}_c01.avi 2"],
            "test": [f"ApplyEyeMakeup/v_ApplyEyeMakeup_g{test:02}_c01.avi",
                     f"YoYo/v_YoYo_g{test:02}_c01.avi"],
        }  # fmt: skip
        for part, rows in lines.items():
            write(root, f"{place}/{part}list0{split}.txt", end.join(rows) + end)


NAMES = [
    f"{folder}/v_{stem}_g{group:02}_c01"
    for group in (1, 8)
    for folder, stem in (("ApplyEyeMakeup",) * 2, ("HandstandPushups", "HandStandPushups"), ("YoYo",) * 2)
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("split", [1, 2])
def test_ucf101_reads_the_official_splits(end, split, tmp_path):
    ucf101(tmp_path, end=end)
    plant(tmp_path, *(f"UCF-101/{name}.avi" for name in NAMES))
    assert detect(tmp_path).name == "ucf101"
    dataset = read_dataset("ucf101", tmp_path, options=DatasetOptions(split=split))
    train, val = ("08", "01") if split == 1 else ("01", "08")
    assert labels(dataset) == {
        f"v_ApplyEyeMakeup_g{train}_c01": ("train", "ApplyEyeMakeup"),
        f"v_HandStandPushups_g{train}_c01": ("train", "HandstandPushups"),
        f"v_ApplyEyeMakeup_g{val}_c01": ("val", "ApplyEyeMakeup"),
        f"v_YoYo_g{val}_c01": ("val", "YoYo"),
    }
    assert dataset.label_order == "file"
    assert any(note.startswith("2 clips on disk are not in any annotation file") for note in dataset.notes)


@pytest.mark.parametrize("spelled", ["HandstandPushups/v_HandStandPushups", "HandStandPushups/v_HandstandPushups"])
def test_the_class_of_two_spellings(spelled, tmp_path):
    ucf101(tmp_path)
    plant(tmp_path, f"videos/{spelled}_g08_c01.mp4")
    dataset = read_dataset("ucf101", tmp_path)
    assert labels(dataset) == {"v_HandStandPushups_g08_c01": ("train", "HandstandPushups")}
    assert dataset.clips["source"][0] == f"videos/{spelled}_g08_c01.mp4"
    assert any(note.startswith("1 train clip of the lists is not on disk") for note in dataset.notes)
    assert {split: len(absent) for split, absent in dataset.absent.items()} == {"train": 1, "val": 2}


def test_ucf101_as_frames(tmp_path):
    ucf101(tmp_path)
    for name in NAMES:
        frames(tmp_path, f"rawframes/{name}", "img_%05d.jpg")
        plant(tmp_path, *(f"rawframes/{name}/flow_x_{n:05}.jpg" for n in range(5)))
    dataset = read_dataset("ucf101", tmp_path)
    table = columns(dataset, "source", "kind", "pattern", "first")
    assert table["v_YoYo_g01_c01"] == ("rawframes/YoYo/v_YoYo_g01_c01", "frames", "img_%05d.jpg", 1)


def test_a_source_group_in_both_lists_is_noted(tmp_path):
    ucf101(tmp_path)
    write(tmp_path, "ucfTrainTestlist/testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi\n")
    plant(tmp_path, "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi")
    notes = read_dataset("ucf101", tmp_path).notes
    assert "1 source group is in both lists (for example 'applyeyemakeup_g08'): val accuracy will be too high" in notes


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("trainlist01", "ApplyEyeMakeup/x.avi 2", r"trainlist01\.txt: line 2: ApplyEyeMakeup has number 1 in .*'2'"),
        ("trainlist01", "Flying/x.avi 1", r"line 2: class is not in classInd\.txt: 'Flying'"),
        ("testlist01", "x.avi", r"line 2: is not Class/file\.avi: 'x\.avi'"),
        ("testlist01", "YoYo/v_HandStandPushups_g08_c01.avi", "clip is listed twice with different labels or splits"),
        ("classInd", "1 ApplyLipstick", r"line 2: class number is repeated: '1'"),
        ("classInd", "5 ApplyLipstick", r"the numbers of its 2 classes have gaps"),
    ],
)
def test_a_faulty_line_of_ucf101_is_named(name, text, fault, tmp_path):
    ucf101(tmp_path)
    plant(tmp_path, *(f"{path}.avi" for path in NAMES))
    path = tmp_path / "ucfTrainTestlist" / f"{name}.txt"
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n{text}\n")
    with pytest.raises(DatasetError, match=fault):
        read_dataset("ucf101", tmp_path)


def test_a_missing_list_is_named(tmp_path):
    ucf101(tmp_path)
    (tmp_path / "ucfTrainTestlist" / "testlist02.txt").unlink()
    with pytest.raises(DatasetError, match=r"no testlist02\.txt; it is part of ucfTrainTestlist"):
        read_dataset("ucf101", tmp_path, options=DatasetOptions(split=2))
    with pytest.raises(DatasetError, match=r"no <class>_test_split1\.txt"):
        read_dataset("hmdb51", tmp_path)


ODD = "#20_Rhythm&_clap!_(best)_clap_u_nm_np1_fr_goo_0"


def hmdb51(root):
    lists = {
        "clap": f"{ODD}.avi 1 \nA_B_clap_u_nm_np1_fr_goo_1.avi 2 \nA_C_clap_u_nm_np1_fr_goo_2.avi 0 \n",
        "brush_hair": "A_B_brush_hair_u_nm_np1_fr_goo_1.avi 1 \n-x_brush_hair_u_nm_np1_fr_goo_0.avi 2 \n",
    }
    for name, text in lists.items():
        write(root, f"testTrainMulti_7030_splits/{name}_test_split1.txt", text)
        write(root, f"testTrainMulti_7030_splits/{name}_test_split2.txt", text.replace(" 1 ", " 3 ", 1))


def test_hmdb51_leaves_the_unused_clips(tmp_path):
    hmdb51(tmp_path)
    plant(
        tmp_path,
        *(f"hmdb51_org/clap/{name}.avi" for name in (ODD, "A_B_clap_u_nm_np1_fr_goo_1", "A_C_clap_u_nm_np1_fr_goo_2")),
        "hmdb51_org/brush_hair/-x_brush_hair_u_nm_np1_fr_goo_0.avi",
        "hmdb51_org/brush_hair/A_B_brush_hair_u_nm_np1_fr_goo_1.avi",
        "hmdb51_org/clap/extra.avi",
    )
    assert detect(tmp_path).name == "hmdb51"
    dataset = read_dataset("auto", tmp_path)
    assert labels(dataset) == {
        "brush_hair/A_B_brush_hair_u_nm_np1_fr_goo_1": ("train", "brush_hair"),
        f"clap/{ODD}": ("train", "clap"),
        "brush_hair/-x_brush_hair_u_nm_np1_fr_goo_0": ("val", "brush_hair"),
        "clap/A_B_clap_u_nm_np1_fr_goo_1": ("val", "clap"),
    }
    assert "1 clip is unused in split 1" in dataset.notes
    assert "1 clip on disk is not in any annotation file (for example 'extra')" in dataset.notes
    assert columns(dataset, "source")[f"clap/{ODD}"] == (f"hmdb51_org/clap/{ODD}.avi",)
    with pytest.raises(DatasetError, match=r"_split2\.txt: line 1: is not a file name and 0, 1 or 2: '.* 3'"):
        read_dataset("hmdb51", tmp_path, options=DatasetOptions(split=2))


def test_an_archive_that_is_still_packed_is_said(tmp_path):
    hmdb51(tmp_path)
    plant(tmp_path, "hmdb51_org.rar", "clap.rar")
    with pytest.raises(DatasetError, match=r"no clips found; .*2 \.rar"):
        read_dataset("hmdb51", tmp_path)


REAL_UCF = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}


@pytest.mark.parametrize("split", [1, 2, 3])
def test_every_line_of_the_real_ucf101_lists(split, shared, tmp_path):
    folder = shared / "annotations" / "ucf101-splits"
    lines = [line.split()[0] for part in ("train", "test")
             for line in (folder / f"{part}list0{split}.txt").read_text().splitlines()]  # fmt: skip
    for name in {line.partition("/")[0] for line in lines}:
        (tmp_path / name).mkdir()
    for line in lines:
        os.close(os.open(tmp_path / line, os.O_CREAT))
    dataset = read_dataset("ucf101", tmp_path, options=DatasetOptions(split=split, annotations=folder))
    counts = dataset.clips["split"].value_counts()
    assert (counts["train"], counts["val"]) == REAL_UCF[split]
    assert len(dataset.classes["action"]) == 101
    assert dataset.clips["label_action"].nunique() == 101
    assert dataset.notes == []


@pytest.mark.parametrize("split", [1, 2, 3])
def test_every_line_of_the_real_hmdb51_lists(split, shared, tmp_path):
    folder = shared / "annotations" / "tsn-splits"
    total = 0
    for path in folder.glob(f"*_test_split{split}.txt"):
        name = path.name.removesuffix(f"_test_split{split}.txt")
        (tmp_path / name).mkdir()
        for line in path.read_text().splitlines():
            os.close(os.open(tmp_path / name / line.split()[0], os.O_CREAT))
            total += 1
    dataset = read_dataset("hmdb51", tmp_path, options=DatasetOptions(split=split, annotations=folder))
    counts = dataset.clips.groupby(["label_action", "split"]).size().unstack()
    assert len(dataset.classes["action"]) == 51
    assert set(counts["train"]) == {70}
    assert set(counts["val"]) == {30}
    assert f"{total - 5100} clips are unused in split {split}" in dataset.notes
