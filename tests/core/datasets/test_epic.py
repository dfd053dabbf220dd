import io
import math
import tarfile

import pytest
from miniature import columns, frames, labels, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.errors import DatasetError, UsageError

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
TEST_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
)
HEADER_55 = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun,"
    "noun_class,all_nouns,all_noun_classes\n"
)
TEST_HEADER_55 = "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
TRAIN = (
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,"
    "\"['door', 'tap']\",\"[3, 0]\"\n"
)


def epic100(root, place="EPIC-KITCHENS/annotations", train=TRAIN):
    write(root, f"{place}/EPIC_100_train.csv", HEADER + train)
    write(
        root,
        f"{place}/EPIC_100_validation.csv",
        f"{HEADER}P01_11_0,P01,P01_11,,00:00:00.00,00:00:01.89,1,113,take plate,take,0,plate,2,['plate'],[2]\n"
        "P18_103_5,P18,P18_103,00:01:00.000,01:01:01.5,01:01:03.125,183075,183156,"
        "put down tap,put-down,1,tap,0,['tap'],[0]\n",
    )
    write(
        root,
        f"{place}/EPIC_100_test_timestamps.csv",
        f"{TEST_HEADER}P33_101_0,P33,P33_101,00:00:02.851,00:00:02.86,00:00:03.87,143,193\n",
    )
    write(
        root,
        f"{place}/EPIC_100_verb_classes.csv",
        "id,key,instances,category\r\n0,take,\"['get', 'grab']\",retrieve\r\n1,put,['put-down'],leave\r\n"
        "2,wash,['wash'],clean\r\n3,open,['open'],access\r\n",
    )
    write(
        root,
        f"{place}/EPIC_100_noun_classes.csv",
        "id,key,instances,category\r\n0,tap,\"['tap', 'tap:water']\",appliances\r\n1,spoon,['spoon'],cutlery\r\n"
        "2,plate,['plate'],crockery\r\n3,cupboard,['door'],furniture\r\n",
    )
    write(root, f"{place}/EPIC_100_tail_verbs.csv", "verb\n2\n3\n")
    write(root, f"{place}/EPIC_100_tail_nouns.csv", "noun\n1\n")
    write(root, f"{place}/EPIC_100_unseen_participant_ids_validation.csv", "participant_id\nP18\nP32\n")
    write(root, f"{place}/EPIC_100_unseen_participant_ids_test.csv", "participant_id\nP33\n")
    write(
        root, f"{place}/EPIC_100_video_info.csv", "video_id,duration,fps,resolution\nP01_01,1652.15,59.94,1920x1080\n"
    )


VIDEOS = ("P01_01", "P01_11", "P18_103", "P33_101")


def test_official_tree_is_cut_by_timestamps(tmp_path):
    epic100(tmp_path)
    plant(tmp_path, *(f"EPIC-KITCHENS/{video[:3]}/videos/{video}.MP4" for video in VIDEOS))
    assert detect(tmp_path).name == "epic100"
    dataset = read_dataset("epic100", tmp_path)
    assert dataset.classes == {"verb": ["take", "put", "wash", "open"], "noun": ["tap", "spoon", "plate", "cupboard"]}
    assert labels(dataset, "verb") == {
        "P01_01_0": ("train", "open"),
        "P01_11_0": ("val", "take"),
        "P18_103_5": ("val", "put"),
        "P33_101_0": ("test", None),
    }
    assert labels(dataset, "noun")["P01_01_0"] == ("train", "cupboard")
    assert columns(dataset, "source", "kind", "start", "stop", "first", "last") == {
        "P01_01_0": ("EPIC-KITCHENS/P01/videos/P01_01.MP4", "video", 0.14, 3.37, 0, -1),
        "P01_11_0": ("EPIC-KITCHENS/P01/videos/P01_11.MP4", "video", 0.0, 1.89, 0, -1),
        "P18_103_5": ("EPIC-KITCHENS/P18/videos/P18_103.MP4", "video", 3661.5, 3663.125, 0, -1),
        "P33_101_0": ("EPIC-KITCHENS/P33/videos/P33_101.MP4", "video", 2.86, 3.87, 0, -1),
    }
    assert dataset.subsets == {
        "unseen": {"val": ["P18_103_5"], "test": ["P33_101_0"]},
        "tail": {"verb": [2, 3], "noun": [1]},
    }


@pytest.mark.parametrize("ending", [".MP4", ".mp4"])
def test_flat_tree_of_participants(ending, tmp_path):
    epic100(tmp_path, place="annotations")
    plant(tmp_path, *(f"{video[:3]}/{video}{ending}" for video in VIDEOS))
    assert set(read_dataset("epic100", tmp_path).clips["source"]) == {f"{v[:3]}/{v}{ending}" for v in VIDEOS}


def test_released_frames_are_cut_by_frame_number(tmp_path):
    epic100(tmp_path)
    for video in VIDEOS:
        frames(tmp_path, f"EPIC-KITCHENS/{video[:3]}/rgb_frames/{video}", "frame_%010d.jpg")
        frames(tmp_path, f"EPIC-KITCHENS/{video[:3]}/flow_frames/{video}/u", "frame_%010d.jpg")
    plant(tmp_path, "EPIC-KITCHENS/P01/videos/P01_01.MP4")
    dataset = read_dataset("epic100", tmp_path)
    table = columns(dataset, "source", "kind", "pattern", "first", "last", "fps")
    assert table["P01_11_0"] == ("EPIC-KITCHENS/P01/rgb_frames/P01_11", "frames", "frame_%010d.jpg", 1, 113, 60.0)
    assert table["P18_103_5"][3:] == (183075, 183156, 50.0)
    assert dataset.clips.set_index("id")["kind"]["P01_01_0"] == "video"
    whole = read_dataset("epic100", tmp_path, options=DatasetOptions(sources="frames"))
    assert set(whole.clips["kind"]) == {"frames"}
    assert whole.clips["start"].isna().all()


def test_frames_stay_in_their_tar_files(tmp_path):
    epic100(tmp_path)
    for video, inner in zip(VIDEOS, ("./", "", f"{VIDEOS[2]}/", "./"), strict=True):
        path = tmp_path / "EPIC-KITCHENS" / video[:3] / "rgb_frames" / f"{video}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for number in (2, 1, 3):
                archive.addfile(tarfile.TarInfo(f"{inner}frame_{number:010}.jpg"), io.BytesIO())
        plant(tmp_path, f"EPIC-KITCHENS/{video[:3]}/flow_frames/{video}.tar")
    table = columns(read_dataset("epic100", tmp_path), "kind", "pattern", "first", "last", "fps")
    assert table["P01_01_0"] == ("tar", "frame_%010d.jpg", 8, 202, 60.0)
    assert table["P18_103_5"] == ("tar", "frame_%010d.jpg", 183075, 183156, 50.0)


def test_segments_that_cannot_be_used_are_counted(tmp_path):
    rows = TRAIN + TRAIN + (
        "P01_01_1,P01,P01_01,,00:00:05.00,00:00:05.00,300,300,x,open,3,door,3,['door'],[3]\n"
        "P01_01_2,P01,P01_01,,00:30:00.00,00:30:01.00,108000,108060,x,open,3,door,3,['door'],[3]\n"
        "P01_01_3,P01,P01_01,,00:27:31.00,00:27:40.00,99060,99600,x,open,3,door,3,['door'],[3]\n"
        "P02_01_0,P02,P02_01,,00:00:01.00,00:00:02.00,60,120,x,open,3,door,3,['door'],[3]\n"
    )  # fmt: skip
    epic100(tmp_path, train=rows)
    plant(tmp_path, *(f"{video[:3]}/{video}.MP4" for video in VIDEOS), "P09/P09_09.MP4")
    dataset = read_dataset("epic100", tmp_path)
    notes = "\n".join(dataset.notes)
    assert sorted(dataset.clips["id"]) == ["P01_01_0", "P01_01_3", "P01_11_0", "P18_103_5", "P33_101_0"]
    assert "2 segments are empty or begin after their video's end and are left out (for example 'P01_01_1')" in notes
    assert "1 segment extends beyond its video's end and is shortened (for example 'P01_01_3')" in notes
    assert "1 segment is listed more than once and used once (for example 'P01_01_0')" in notes
    assert "1 train segment belongs to a video that is not on disk (for example 'P02_01')" in notes
    assert "1 annotated video is not on disk: P02_01" in notes
    assert "1 clip on disk is not in any annotation file (for example 'P09_09')" in notes
    assert dataset.absent == {"train": ["P01_01_1", "P01_01_2", "P02_01_0"], "val": [], "test": []}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("00:00:03.37", "3.37", r"train\.csv: line 2: is not a timestamp \(HH:MM:SS\.ss\): '3\.37'"),
        ("00:00:03.37", "00:61:03.37", "is not a timestamp"),
        (",open,3,", ",open,97,", r"line 2: verb_class of P01_01_0 is not one of 4: '97'"),
        (",door,3,", ",door,,", r"line 2: noun_class of P01_01_0 is not one of 4: ''"),
        (",8,202,", ",8,x,", r"line 2: is not a frame number: 'x'"),
        ("P01_01,0", "../x,0", "line 2: narration_id or video_id is invalid"),
    ],
)
def test_a_faulty_row_is_named(old, new, fault, tmp_path):
    row = TRAIN.replace(old, new, 1)
    assert row != TRAIN
    epic100(tmp_path, train=row)
    plant(tmp_path, "P01/P01_01.MP4")
    with pytest.raises(DatasetError, match=fault):
        read_dataset("epic100", tmp_path)


def epic55(root, place="annotations"):
    write(
        root,
        f"{place}/EPIC_train_action_labels.csv",
        f"{HEADER_55}0,P01,P01_01,open door,00:00:00.14,00:00:03.37,8,202,open,2,door,1,['door'],[1]\n"
        "20000,P25,P25_02,take pan,00:00:10.00,00:00:11.00,600,660,take,0,pan,0,['pan'],[0]\n",
    )
    write(
        root,
        f"{place}/EPIC_train_invalid_labels.csv",
        f"{HEADER_55}119,P01,P01_01,stay,00:08:45.83,00:09:01.44,31549,32486,stay,,pan,0,['pan'],[0]\n",
    )
    write(
        root, f"{place}/EPIC_test_s1_timestamps.csv", f"{TEST_HEADER_55}1924,P01,P01_11,00:00:00.00,00:00:01.89,1,113\n"
    )
    write(
        root,
        f"{place}/EPIC_test_s2_timestamps.csv",
        f"{TEST_HEADER_55}15582,P09,P09_01,00:00:01.97,00:00:03.09,118,185\n",
    )
    write(
        root,
        f"{place}/EPIC_verb_classes.csv",
        "verb_id,class_key,verbs\r\n0,take,\"['take']\"\r\n1,put,[]\r\n2,open,[]\r\n",
    )
    write(
        root, f"{place}/EPIC_noun_classes.csv", "noun_id,class_key,nouns\r\n0,pan,\"['pan', 'wok']\"\r\n1,door,[]\r\n"
    )
    write(root, f"{place}/EPIC_video_info.csv", "video,resolution,duration,fps\nP01_01,1920x1080,1652.152817,59.94\n")


def test_epic55_in_the_bristol_tree(tmp_path):
    epic55(tmp_path)
    plant(tmp_path, "videos/train/P01/P01_01.MP4", "videos/train/P25/P25_02.MP4", "videos/test/P01/P01_11.MP4",
          "videos/test/P09/P09_01.MP4", "frames_rgb_flow/flow/train/P01/P01_01.tar")  # fmt: skip
    frames(tmp_path, "frames_rgb_flow/rgb/train/P01/P01_01", "frame_%010d.jpg")
    assert detect(tmp_path).name == "epic55"
    dataset = read_dataset("epic55", tmp_path)
    assert labels(dataset, "verb") == {
        "0": ("train", "open"), "20000": ("val", "take"), "1924": ("test", None), "15582": ("test", None),
    }  # fmt: skip
    assert columns(dataset, "source", "start")["0"] == ("videos/train/P01/P01_01.MP4", 0.14)
    assert dataset.subsets == {"unseen": {"test": ["15582"]}}
    notes = "\n".join(dataset.notes)
    assert "1 segment of EPIC_train_invalid_labels.csv is left out" in notes
    assert "participants P25 to P31 are held out" in notes
    framed = read_dataset("epic55", tmp_path, options=DatasetOptions(sources="frames"))
    assert columns(framed, "source", "fps")["0"] == ("frames_rgb_flow/rgb/train/P01/P01_01", 60.0)


def test_the_two_sets_are_not_mixed(tmp_path):
    epic55(tmp_path)
    plant(tmp_path, "P01/P01_01.MP4")
    with pytest.raises(DatasetError, match="the files here belong to epic55, which numbers classes differently"):
        read_dataset("epic100", tmp_path)
    epic100(tmp_path)
    with pytest.raises(
        DatasetError, match=r"of both EPIC-KITCHENS-100 and EPIC-KITCHENS-55 are here.*name epic100 or epic55"
    ):
        detect(tmp_path)
    assert read_dataset("epic55", tmp_path).clips["id"].tolist() == ["0"]
    assert read_dataset("epic100", tmp_path).clips["id"].tolist() == ["P01_01_0"]


def test_class_files_are_needed_and_their_order_stands(tmp_path):
    epic100(tmp_path)
    plant(tmp_path, "P01/P01_01.MP4")
    with pytest.raises(UsageError, match="epic100 has one order of classes"):
        read_dataset("epic100", tmp_path, options=DatasetOptions(label_order="sorted"))
    path = tmp_path / "EPIC-KITCHENS/annotations/EPIC_100_noun_classes.csv"
    path.write_text("id,key\n0,tap\n2,plate\n")
    with pytest.raises(DatasetError, match="does not number its 2 classes from 0"):
        read_dataset("epic100", tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"no EPIC_100_noun_classes\.csv, which names the nouns"):
        read_dataset("epic100", tmp_path)


def test_real_epic100_files(shared, tmp_path):
    plant(tmp_path, "P01/P01_11.MP4", "P18/P18_01.MP4", "P01/P01_101.MP4", "P01/P01_102.MP4")
    dataset = read_dataset("epic100", tmp_path, options=DatasetOptions(annotations=shared / "annotations" / "epic100"))
    assert [len(dataset.classes[head]) for head in ("verb", "noun")] == [97, 300]
    assert [len(dataset.subsets["tail"][head]) for head in ("verb", "noun")] == [86, 228]
    assert labels(dataset, "verb")["P01_11_0"] == ("val", "take")
    assert labels(dataset, "noun")["P01_11_0"] == ("val", "plate")
    clips = dataset.clips
    assert not ((clips["stop"] - clips["start"]) <= 0).any()
    assert (clips["split"] == "test").any()
    assert math.isclose(clips.set_index("id")["stop"]["P01_11_0"], 1.89)


def test_real_epic55_files(shared, tmp_path):
    plant(tmp_path, "P01/P01_01.MP4", "P01/P01_11.MP4", "P09/P09_01.MP4")
    dataset = read_dataset("epic55", tmp_path, options=DatasetOptions(annotations=shared / "annotations" / "epic55"))
    assert [len(dataset.classes[head]) for head in ("verb", "noun")] == [125, 352]
    assert labels(dataset, "verb")["0"] == ("train", "open")
    assert labels(dataset, "noun")["0"] == ("train", "cupboard")  # what the class file calls door
    assert "116 segments of EPIC_train_invalid_labels.csv are left out for lack of a class" in dataset.notes
