import csv
import json
import tracemalloc

import pytest
from miniature import columns, frames, labels, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.class_names import normal
from tdpn_core.datasets.kinetics import read_kinetics
from tdpn_core.datasets.scan import Found
from tdpn_core.errors import DatasetError, UsageError

CRAWLER = "label,youtube_id,time_start,time_end,split,is_cc\n"
CVDF = "label,youtube_id,time_start,time_end,split\n"
TEST = "youtube_id,time_start,time_end,split\n"

ABSEILING, DRUMS, HEAD, ANIMAL = "abseiling", "air drumming", "massaging person's head", "petting animal (not cat)"


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
    assert labels(dataset) == {
        "-B32lodo2M__000059_000069": ("train", DRUMS),
        "0wR5jVB-WPk_000417_000427": ("train", ABSEILING),
        "3caPS4FHFF8_000036_000046": ("val", ABSEILING),
        "--6bJUbfpnQ_000017_000027": ("test", None),
    }
    replaced = dataset.clips.set_index("id")["source"]["0wR5jVB-WPk_000417_000427"]
    assert replaced == "replacement/replacement_for_corrupted_k400/0wR5jVB-WPk_000417_000427.mp4"
    assert "1 val clip of the annotation file is not on disk" in dataset.notes
    assert dataset.absent == {"train": [], "val": ["missing0000_000001_000011"], "test": []}
    assert "1 video is not in any annotation file" in dataset.notes
    assert "1 file is replaced by those in the replacement folder" in dataset.notes


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
    found = labels(dataset)
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
    assert labels(read_dataset("kinetics400", tmp_path)) == {
        "-3B32lodo2M_000059_000069": ("val", ABSEILING),
        "c5-PBp04AQI_000040_000050": ("val", DRUMS),
    }
    linked = read_dataset("kinetics400", tmp_path).clips["source"][0]
    assert linked == f"videos/val/{ABSEILING}/-3B32lodo2M.mp4"


def test_deepmind_names_its_validation_file_and_split_validate(tmp_path):
    write(tmp_path, "kinetics400/validate.csv", f"{CVDF}{ABSEILING},3caPS4FHFF8,36,46,validate\n")
    write(
        tmp_path,
        "kinetics400/kinetics_train.csv",
        f"label,youtube_id,time_start,time_end\n{DRUMS},0wR5jVB-WPk,417,427\n",
    )
    plant(tmp_path, "clips/3caPS4FHFF8_000036_000046.mp4", "clips/0wR5jVB-WPk_000417_000427.mp4")
    assert labels(read_dataset("kinetics400", tmp_path)) == {
        "3caPS4FHFF8_000036_000046": ("val", ABSEILING),
        "0wR5jVB-WPk_000417_000427": ("train", DRUMS),
    }


def test_deepminds_json_is_read_where_no_csv_lies_beside_it(tmp_path):
    def entry(label, start, subset):
        said = {"segment": [float(start), start + 10.0], **({"label": label} if label else {})}
        return {"annotations": said, "duration": 10.0, "subset": subset, "url": "https://www.youtube.com/watch?v=x"}

    write(tmp_path, "kinetics400/train.json", json.dumps({"0wR5jVB-WPk": entry(DRUMS, 417, "train")}))
    write(tmp_path, "kinetics400/train.csv", f"{CVDF}{DRUMS},0wR5jVB-WPk,417,427,train\n")
    write(tmp_path, "kinetics400/validate.json", json.dumps({"3caPS4FHFF8": entry(ABSEILING, 36, "validate")}))
    write(tmp_path, "kinetics400/test.json", json.dumps({"--6bJUbfpnQ": entry("", 17, "test")}))
    write(tmp_path, "kinetics400/other.json", json.dumps({"database": {"x": {"annotations": []}}}))
    names = ["3caPS4FHFF8_000036_000046", "0wR5jVB-WPk_000417_000427", "--6bJUbfpnQ_000017_000027"]
    plant(tmp_path, *(f"clips/{name}.mp4" for name in names))
    for asked in ("kinetics400", "auto"):
        dataset = read_dataset(asked, tmp_path)
        assert labels(dataset) == dict(zip(names, [("val", ABSEILING), ("train", DRUMS), ("test", None)], strict=True))
        assert dataset.classes == {"action": [ABSEILING, DRUMS]}


@pytest.mark.parametrize("said", [{}, {"segment": 3}, {"segment": [1.0]}, {"segment": [1.0, "x"]}, [1], None])
def test_a_json_entry_without_a_segment_is_named(said, tmp_path):
    good = {"annotations": {"segment": [1.0, 2.0], "label": "x"}, "subset": "train"}
    write(tmp_path, "train.json", json.dumps({"0wR5jVB-WPk": good, "3caPS4FHFF8": {**good, "annotations": said}}))
    plant(tmp_path, "0wR5jVB-WPk_000001_000002.mp4")
    with pytest.raises(DatasetError, match=r"train\.json: entry 2: is not an annotation"):
        read_dataset("kinetics400", tmp_path)


def test_classes_are_those_of_the_annotations_even_where_no_clip_is_there(tmp_path):
    write(tmp_path, "train.csv", f"\ufeff{CVDF}zumba,0wR5jVB-WPk,417,427,train\r\n{DRUMS},3caPS4FHFF8,36,46,train\r\n")
    plant(tmp_path, "train/3caPS4FHFF8_000036_000046.mp4")
    dataset = read_dataset("kinetics400", tmp_path)
    assert dataset.classes == {"action": [DRUMS, "zumba"]}
    assert dataset.clips["label_action"].tolist() == [0]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"{ABSEILING},0wR5jVB-WPk,x,427,train", "line 2: is not an annotation"),
        (f"{ABSEILING},,1,2,train", "youtube_id is empty"),
        (f"{ABSEILING},0wR5jVB-WPk,1,2,rest", "line 2: is not an annotation"),
    ],
)
def test_a_bad_line_is_named(line, fault, tmp_path):
    write(tmp_path, "train.csv", f"{CVDF}{line}\n")
    plant(tmp_path, "train/0wR5jVB-WPk_000417_000427.mp4")
    with pytest.raises(DatasetError, match=rf"train\.csv: .*{fault}"):
        read_dataset("kinetics400", tmp_path)


def test_nothing_on_disk_says_what_is_missing(tmp_path):
    write(tmp_path, "train.csv", f"{CVDF}{ABSEILING},0wR5jVB-WPk,417,427,train\n")
    with pytest.raises(DatasetError, match=r"no clips found; .*1 train clip of the annotation file is not on disk"):
        read_dataset("kinetics400", tmp_path)


def test_real_annotation_files_are_read(shared, tmp_path):
    for name in ("kinetics-400_val.csv", "kinetics-400_test.csv"):
        text = (shared / "annotations" / "kinetics400-activitynet" / name).read_text()
        write(tmp_path, name, text)
    plant(tmp_path, "val/0wR5jVB-WPk_000417_000427.mp4", "test/--6bJUbfpnQ_000017_000027.mp4")
    dataset = read_dataset("kinetics400", tmp_path)
    assert labels(dataset) == {
        "0wR5jVB-WPk_000417_000427": ("val", ABSEILING),
        "--6bJUbfpnQ_000017_000027": ("test", None),
    }
    assert dataset.classes["action"][0] == ABSEILING


@pytest.mark.parametrize("name", ["kinetics600", "kinetics700"])
def test_larger_versions_are_read_by_the_same_code(name, tmp_path):
    """Annotations of several versions lie about: those that say another are left."""
    size = name.removeprefix("kinetics")
    write(tmp_path, f"{name}_2020/annotations/train.csv", f"{CVDF}zumba,0wR5jVB-WPk,417,427,train\n")
    write(tmp_path, f"annotations/kinetics-{size}_val.csv", f"{CVDF}zumba,3caPS4FHFF8,36,46,val\n")
    write(tmp_path, "annotations/kinetics-400_val.csv", f"{CVDF}{ABSEILING},3caPS4FHFF8,36,46,val\n")
    plant(tmp_path, "train/zumba/0wR5jVB-WPk_000417_000427.mp4", "val/zumba/3caPS4FHFF8_000036_000046.mp4")
    dataset = read_dataset(name, tmp_path)
    assert (dataset.name, dataset.classes) == (name, {"action": ["zumba"]})
    assert dataset.clips["split"].tolist() == ["train", "val"]
    assert "kinetics-400_val.csv belongs to Kinetics-400 and is not used" in dataset.notes


def test_torchvision_orders_cleaned_names(tmp_path):
    names = [HEAD, "skiing (not slalom or crosscountry)", "skiing crosscountry", "zumba"]
    ids = [f"{n:011}" for n in range(4)]
    rows = "".join(f'"{name}",{clip},0,10,train\n' for name, clip in zip(names, ids, strict=True))
    write(tmp_path, "train.csv", CVDF + rows)
    plant(tmp_path, *(f"train/{clip}_000000_000010.mp4" for clip in ids))
    raw = read_dataset("kinetics400", tmp_path)
    cleaned = read_dataset("kinetics400", tmp_path, options=DatasetOptions(label_order="cleaned"))
    assert (raw.label_order, cleaned.label_order) == ("sorted", "cleaned")
    assert raw.classes["action"] == sorted(names)
    assert cleaned.classes["action"] == [names[row] for row in (0, 2, 1, 3)]
    assert labels(raw) == labels(cleaned)
    with pytest.raises(UsageError, match="kinetics400 has no class file here: its order is 'sorted'"):
        read_dataset("kinetics400", tmp_path, options=DatasetOptions(label_order="file"))


def test_a_copy_of_frames(tmp_path):
    write(tmp_path, "annotations/val.csv", f"{CVDF}{ABSEILING},-3B32lodo2M,59,69,val\n")
    frames(tmp_path, f"rawframes_val/{ABSEILING}/-3B32lodo2M_000059_000069", "img_%05d.jpg")
    frames(tmp_path, f"rawframes_train/{DRUMS}/0wR5jVB-WPk_000417_000427", "img_%05d.jpg")
    assert columns(read_dataset("kinetics400", tmp_path), "source", "kind", "pattern", "split") == {
        "-3B32lodo2M_000059_000069": (
            f"rawframes_val/{ABSEILING}/-3B32lodo2M_000059_000069", "frames", "img_%05d.jpg", "val",
        ),
        "0wR5jVB-WPk_000417_000427": (
            f"rawframes_train/{DRUMS}/0wR5jVB-WPk_000417_000427", "frames", "img_%05d.jpg", "train",
        ),
    }  # fmt: skip


def test_rows_that_repeat_a_clip(tmp_path):
    line = f"{ABSEILING},0wR5jVB-WPk,417,427"
    write(tmp_path, "train.csv", f"{CVDF}{line},train\n{line},train\n")
    write(tmp_path, "val.csv", f"{CVDF}{line},val\n")
    plant(tmp_path, "train/0wR5jVB-WPk_000417_000427.mp4")
    dataset = read_dataset("kinetics400", tmp_path)
    assert labels(dataset) == {"0wR5jVB-WPk_000417_000427": ("train", ABSEILING)}
    clip = "for example '0wR5jVB-WPk_000417_000427'"
    assert f"1 clip is listed more than once and used once ({clip})" in dataset.notes
    assert f"1 clip is in two splits and used in the first ({clip})" in dataset.notes
    write(tmp_path, "val.csv", f"{CVDF}{line.replace(ABSEILING, DRUMS)},val\n")
    with pytest.raises(DatasetError, match=r"val\.csv: line 2: clip is listed twice with different classes: '0wR5"):
        read_dataset("kinetics400", tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{CVDF}{ABSEILING},0wR5jVB-WPk\n", "line 2: 2 fields, but the header has 5"),
        ("label,youtube_id,split\n", "has no column 'time_start'"),
    ],
)
def test_a_faulty_table_is_named(text, fault, tmp_path):
    write(tmp_path, "train.csv", text)
    with pytest.raises(DatasetError, match=rf"train\.csv: {fault}"):
        read_dataset("kinetics400", tmp_path)


def test_real_tiny_kinetics(shared, tmp_path):
    """Every line of both files is on disk, in a mixture of containers."""
    folder = shared / "annotations" / "tiny-kinetics400-Tramac"
    for split in ("train", "val"):
        with (folder / f"tiny_{split}.csv").open(newline="") as source:
            for number, row in enumerate(csv.DictReader(source)):
                name = f"{row['youtube_id']}_{int(row['time_start']):06}_{int(row['time_end']):06}"
                plant(tmp_path, f"{split}/{row['label'].replace(' ', '_')}/{name}.{('mp4', 'mkv', 'webm')[number % 3]}")
    dataset = read_dataset("kinetics400", tmp_path, options=DatasetOptions(annotations=folder))
    assert dataset.clips["split"].value_counts().to_dict() == {"train": 400, "val": 400}
    assert len(dataset.classes["action"]) == 400
    assert dataset.notes == []
    swapped = read_dataset(
        "kinetics400", tmp_path, options=DatasetOptions(annotations=folder, label_order="cleaned")
    ).classes["action"]
    assert [row for row in range(400) if swapped[row] != dataset.classes["action"][row]] == [308, 309]
    unannotated = read_dataset("kinetics400", tmp_path)
    assert [normal(name) for name in unannotated.classes["action"]] == list(map(normal, dataset.classes["action"]))


def test_a_clip_costs_little_memory(tmp_path):
    """What 600,000 clips take follows: some 500 bytes each, their paths included."""
    count = 20_000
    lines = (f"class {n % 700},{n:011},{n % 90},{n % 90 + 10},train\n" for n in range(count))
    text = write(tmp_path, "train.csv", CVDF + "".join(lines))
    tracemalloc.start()
    try:
        videos = sorted(f"train/class_{n % 700}/{n:011}_{n % 90:06}_{n % 90 + 10:06}.mp4" for n in range(count))
        dataset = read_kinetics("kinetics700", Found(tmp_path, videos), [text], DatasetOptions())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset.clips) == count
    assert peak / count < 800
