import pytest

from tdpn_core.datasets import read_dataset
from tdpn_core.datasets.kinetics import normal
from tdpn_core.errors import DatasetError

CRAWLER = "label,youtube_id,time_start,time_end,split,is_cc\n"
CVDF = "label,youtube_id,time_start,time_end,split\n"
TEST = "youtube_id,time_start,time_end,split\n"

ABSEILING, DRUMS, HEAD, ANIMAL = "abseiling", "air drumming", "massaging person's head", "petting animal (not cat)"


def plant(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def rows(dataset):
    names = dataset.classes["action"]
    return {
        row.id: (row.split, names[row.label_action] if row.label_action >= 0 else None)
        for row in dataset.clips.itertuples()
    }


def test_cvdf_flat_with_replacements(tmp_path):
    write(
        tmp_path,
        "annotations/train.csv",
        f'{CVDF}"{DRUMS}",-B32lodo2M_,59,69,train\n{ABSEILING},0wR5jVB-WPk,417,427,train\n',
    )
    write(
        tmp_path, "annotations/val.csv", f"{CVDF}{ABSEILING},3caPS4FHFF8,36.0,46.0,val\n{DRUMS},missing0000,1,11,val\n"
    )
    write(tmp_path, "annotations/test.csv", f"{TEST}--6bJUbfpnQ,17,27,test\n")
    plant(
        tmp_path,
        "train/-B32lodo2M__000059_000069.mp4",
        "train/0wR5jVB-WPk_000417_000427.mp4",
        "train/unknown0000_000001_000011.mp4",
        "val/3caPS4FHFF8_000036_000046.mp4",
        "test/--6bJUbfpnQ_000017_000027.mp4",
        "replacement/replacement_for_corrupted_k400/0wR5jVB-WPk_000417_000427.mp4",
    )  # fmt: skip
    dataset = read_dataset("kinetics400", tmp_path)
    assert dataset.classes == {"action": [ABSEILING, DRUMS]}
    assert rows(dataset) == {
        "-B32lodo2M__000059_000069": ("train", DRUMS),
        "0wR5jVB-WPk_000417_000427": ("train", ABSEILING),
        "3caPS4FHFF8_000036_000046": ("val", ABSEILING),
        "--6bJUbfpnQ_000017_000027": ("test", None),
    }
    replaced = dataset.clips.set_index("id")["source"]["0wR5jVB-WPk_000417_000427"]
    assert "/replacement/" in replaced
    assert "1 val clips of the annotation file are not on disk" in dataset.notes
    assert "1 videos are in no annotation file" in dataset.notes
    assert "1 files are overridden by those of the replacement folder" in dataset.notes


def stripped(name):
    return name.translate(str.maketrans(" ", "_", "'()"))


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("train_256", "val_256"), ("videos_train", "videos_val"), ("videos/train", "videos/val")],
)
@pytest.mark.parametrize(
    "clean", [str, lambda name: name.translate(str.maketrans(" ", "_", "'()"))], ids=["raw", "clean"]
)
@pytest.mark.parametrize("annotated", [True, False])
def test_class_folder_trees_of_every_mirror(train, val, clean, annotated, tmp_path):
    plant(
        tmp_path,
        f"{train}/{clean(HEAD)}/0wR5jVB-WPk_000417_000427.mp4",
        f"{train}/{clean(ANIMAL)}/3caPS4FHFF8_000036_000046.mkv",
        f"{val}/{clean(ANIMAL)}/3yaoNwz99xM_000062_000072.webm",
    )
    if annotated:
        write(
            tmp_path,
            "kinetics-400_train.csv",
            f"{CRAWLER}{HEAD},0wR5jVB-WPk,417,427,train,0\n{ANIMAL},3caPS4FHFF8,36,46,train,0\n",
        )
        write(tmp_path, "kinetics-400_val.csv", f"{CRAWLER}{ANIMAL},3yaoNwz99xM,62,72,val,1\n")
    dataset = read_dataset("kinetics400", tmp_path)
    found = rows(dataset)
    assert {name: split for name, (split, _) in found.items()} == {
        "0wR5jVB-WPk_000417_000427": "train",
        "3caPS4FHFF8_000036_000046": "train",
        "3yaoNwz99xM_000062_000072": "val",
    }
    assert [normal(found[name][1]) for name in sorted(found)] == [normal(HEAD), normal(ANIMAL), normal(ANIMAL)]
    if annotated:
        assert dataset.classes == {"action": [HEAD, ANIMAL]}


def test_arranged_links_and_bare_ids(tmp_path):
    write(tmp_path, "annotations/val.csv", f"{CVDF}{ABSEILING},-3B32lodo2M,59,69,val\n{DRUMS},c5-PBp04AQI,40,50,val\n")
    plant(tmp_path, "store/-3B32lodo2M.mp4", "store/c5-PBp04AQI.mp4")
    folder = tmp_path / "videos" / "val" / ABSEILING
    folder.mkdir(parents=True)
    (folder / "-3B32lodo2M.mp4").symlink_to(tmp_path / "store" / "-3B32lodo2M.mp4")
    assert rows(read_dataset("kinetics400", tmp_path)) == {
        "-3B32lodo2M_000059_000069": ("val", ABSEILING),
        "c5-PBp04AQI_000040_000050": ("val", DRUMS),
    }
    linked = read_dataset("kinetics400", tmp_path).clips["source"][0]
    assert linked == str(folder / "-3B32lodo2M.mp4")


def test_deepmind_names_its_validation_file_and_split_validate(tmp_path):
    write(tmp_path, "kinetics400/validate.csv", f"{CVDF}{ABSEILING},3caPS4FHFF8,36,46,validate\n")
    write(
        tmp_path,
        "kinetics400/kinetics_train.csv",
        f"label,youtube_id,time_start,time_end\n{DRUMS},0wR5jVB-WPk,417,427\n",
    )
    plant(tmp_path, "clips/3caPS4FHFF8_000036_000046.mp4", "clips/0wR5jVB-WPk_000417_000427.mp4")
    assert rows(read_dataset("kinetics400", tmp_path)) == {
        "3caPS4FHFF8_000036_000046": ("val", ABSEILING),
        "0wR5jVB-WPk_000417_000427": ("train", DRUMS),
    }


def test_classes_are_those_of_the_annotations_even_where_no_clip_is_there(tmp_path):
    write(tmp_path, "train.csv", f"\ufeff{CVDF}zumba,0wR5jVB-WPk,417,427,train\r\n{DRUMS},3caPS4FHFF8,36,46,train\r\n")
    plant(tmp_path, "train/3caPS4FHFF8_000036_000046.mp4")
    dataset = read_dataset("kinetics400", tmp_path)
    assert dataset.classes == {"action": [DRUMS, "zumba"]}
    assert dataset.clips["label_action"].tolist() == [0]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"{ABSEILING},0wR5jVB-WPk,x,427,train", "line 2 is no annotation"),
        (f"{ABSEILING},,1,2,train", "youtube_id is empty"),
        (f"{ABSEILING},0wR5jVB-WPk,1,2,rest", "line 2 is no annotation"),
    ],
)
def test_a_bad_line_is_named(line, fault, tmp_path):
    write(tmp_path, "train.csv", f"{CVDF}{line}\n")
    plant(tmp_path, "train/0wR5jVB-WPk_000417_000427.mp4")
    with pytest.raises(DatasetError, match=rf"train\.csv: .*{fault}"):
        read_dataset("kinetics400", tmp_path)


def test_nothing_on_disk_says_what_is_missing(tmp_path):
    write(tmp_path, "train.csv", f"{CVDF}{ABSEILING},0wR5jVB-WPk,417,427,train\n")
    with pytest.raises(DatasetError, match=r"no videos found; .*1 train clips of the annotation file are not on disk"):
        read_dataset("kinetics400", tmp_path)


def test_real_annotation_files_are_read(shared, tmp_path):
    for name in ("kinetics-400_val.csv", "kinetics-400_test.csv"):
        text = (shared / "annotations" / "kinetics400-activitynet" / name).read_text()
        write(tmp_path, name, text)
    plant(tmp_path, "val/0wR5jVB-WPk_000417_000427.mp4", "test/--6bJUbfpnQ_000017_000027.mp4")
    dataset = read_dataset("kinetics400", tmp_path)
    assert rows(dataset) == {
        "0wR5jVB-WPk_000417_000427": ("val", ABSEILING),
        "--6bJUbfpnQ_000017_000027": ("test", None),
    }
    assert dataset.classes["action"][0] == ABSEILING
