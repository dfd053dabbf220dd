"""Exports of annotation tools, small and with the structure that the tools document."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.datasets.annotations.times import parse_seconds
from tdpn_core.datasets.segments import Segment, read_segments
from tdpn_core.errors import DatasetError

LABEL_STUDIO = json.dumps([
    {"id": 7, "data": {"video": "/data/upload/1/0123abcd-kitchen.mp4"}, "annotations": [
        {"id": 1, "was_cancelled": False, "result": [
            {"type": "timelinelabels", "value": {"ranges": [{"start": 1, "end": 30}], "timelinelabels": ["open"]}},
            {"type": "labels", "value": {"start": 2.5, "end": 4.0, "labels": ["pour"]}},
            {"type": "choices", "value": {"choices": ["good"]}},
        ]},
        {"id": 2, "was_cancelled": False, "result": []},
    ]},
    {"id": 8, "data": {"video": "empty.mp4"}, "annotations": []},
])  # fmt: skip
VIA_CSV = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""kitchen.mp4""]",0,"[1.5,3.25]","[]","{""TEMPORAL-SEGMENTS"":""open""}"
"1_b","[""kitchen.mp4""]",0,"[4,3]","[]","{""TEMPORAL-SEGMENTS"":""pour""}"
"1_c","[""kitchen.mp4""]",0,"[]","[2,1,1,4,4]","{""object"":""cup""}"
"""
VIA_JSON = json.dumps({
    "project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1"},
    "attribute": {"1": {"aname": "TEMPORAL-SEGMENTS", "type": 4, "options": {"0": "open", "1": "pour"}}},
    "file": {"1": {"fid": "1", "fname": "kitchen.mp4", "type": 4, "loc": 1, "src": ""}},
    "view": {"1": {"fid_list": ["1"]}},
    "metadata": {"1_x": {"vid": "1", "flg": 0, "z": [1.5, 3.25], "xy": [], "av": {"1": "0"}}},
})  # fmt: skip
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>4</id><name>first</name><size>100</size><start_frame>10</start_frame>
<frame_filter>step=2</frame_filter><source>kitchen.mp4</source></task></meta>
<track id="0" label="open" source="manual">
  <box frame="0" outside="0" xtl="1" ytl="1" xbr="5" ybr="5"></box>
  <box frame="5" outside="1" xtl="1" ytl="1" xbr="5" ybr="5"></box>
  <box frame="8" outside="0" xtl="1" ytl="1" xbr="5" ybr="5"></box>
  <box frame="9" outside="0" xtl="1" ytl="1" xbr="5" ybr="5"></box>
</track>
<tag label="pour" frame="20"></tag><tag label="pour" frame="21"></tag><tag label="pour" frame="30"></tag>
</annotations>"""
ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/my%20videos/kitchen.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="500"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2750"/>
<TIME_SLOT TIME_SLOT_ID="ts3"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="left">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>open</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="right">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE>pour</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>"""
ACTIVITYNET = json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": {
    "QOlSCBRmfWY": {"duration": 82.73, "subset": "training", "resolution": "1920x1080", "url": "x",
                    "annotations": [{"segment": [6.19, 17.16], "label": "Ballet"},
                                    {"segment": [5], "label": "Ballet"}]},
    "test": {"duration": 3.0, "subset": "testing", "annotations": []},
}})  # fmt: skip
CHARADES = """id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length
46GP8,HR43,Kitchen,6,7,Yes,"A, b",food,d,c092 11.90 21.20;c147 0.00 12.60,24.83
N11GT,0KZ7,Other,5,7,Yes,s,o,d,,18.33
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def values(path: Path) -> list[tuple[str, float, float, str]]:
    return [(one.video, one.start, one.stop, one.label) for one in read_segments(path).segments]


def test_list_with_seconds_gives_each_row_as_a_segment(tmp_path: Path) -> None:
    text = '\ufeffvideo,start,end,label,mood\na.mp4,0:12.5,"19,25",open,x\na.mp4,1:00:00,1:00:01,pour,y\n'
    read = read_segments(write(tmp_path, "a.csv", text))
    assert read.segments == (
        Segment("a.mp4", 12.5, 19.25, "open", 2),
        Segment("a.mp4", 3600, 3601, "pour", 3),
    )
    assert (read.videos, read.ignored) == (("a.mp4",), ("mood",))
    assert read.columns == {"path": "video", "label": "label", "start": "start", "end": "end"}


def test_list_with_seconds_and_frames_uses_the_seconds(tmp_path: Path) -> None:
    text = "video,start_frame,end_frame,start,stop,label\na,0,9,1,2,open\n"
    assert values(write(tmp_path, "a.csv", text)) == [("a", 1, 2, "open")]


def test_list_in_frames_includes_the_last_frame_and_divides_by_the_exact_rate(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "video\tstart_frame\tend_frame\tlabel\na\t30000\t59999\topen\n")
    (segment,) = read_segments(path).segments
    assert segment == Segment("a", 30000, 60000, "open", 2, in_frames=True)
    assert segment.to_seconds(Fraction(30000, 1001)) == Segment("a", 1001.0, 2002.0, "open", 2)


def test_list_with_a_duration_adds_it_to_the_start(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "video;start;duration;label\na;1,5;2;open\n")
    assert values(path) == [("a", 1.5, 3.5, "open")]


def test_list_with_several_labels_in_a_row_gives_a_segment_each_and_says_so(tmp_path: Path) -> None:
    read = read_segments(write(tmp_path, "a.csv", "video,start,end,label\na,1,2,open|pour\n"))
    assert [one.label for one in read.segments] == ["open", "pour"]
    assert read.notes == ("a.csv: 1 row has several labels, with a segment for each",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,2,2,open", "has no length"),
        ("a,3,2,open", "ends before it starts"),
        ("a,-1,2,open", "starts before its video"),
        ("a,x,2,open", "start 'x' is not a time"),
        ("a,1:75,80,open", "start '1:75' is not a time"),
        ("a,1,2,", "has no label"),
        (",1,2,open", "names no video"),
        ("a,1", "has 2 fields, but the header has 4"),
        ("a,1,5,2,open", "has 5 fields, but the header has 4 (quote decimal commas)"),
    ],
)
def test_list_with_a_faulty_row_names_its_line_and_reads_the_rest(row: str, reason: str, tmp_path: Path) -> None:
    read = read_segments(write(tmp_path, "a.csv", f"video,start,end,label\n{row}\nb,1,2,open\n"))
    assert [one.video for one in read.segments] == ["b"]
    (odd,) = read.odd
    assert odd.line == 2
    assert odd.reason.startswith(reason)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,start,label\na,1,open\n", "no matching end column"),
        ("video,end,label\na,1,open\n", "no matching start column"),
        ("video,start,end_frame,label\na,1,9,open\n", "no matching end column"),
        ("video,start,end\na,1,2\n", "no column of the labels"),
        ("video,start,end,label,split\na,1,2,x,train\na,3,4,x,val\n", "line 3: video 'a' is in train and here in"),
        ("video,start,end,label,split\na,1,2,x,other\n", "line 2: has an unknown split: 'other'"),
        ("one,two\n1,2\n", "no supported format"),
    ],
)
def test_list_whose_columns_are_unclear_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_segments(write(tmp_path, "a.csv", text))


def test_label_studio_reads_frames_and_seconds_of_the_first_annotation(tmp_path: Path) -> None:
    read = read_segments(write(tmp_path, "a.json", LABEL_STUDIO))
    video = "/data/upload/1/0123abcd-kitchen.mp4"
    assert read.segments == (Segment(video, 0, 30, "open", 1, in_frames=True), Segment(video, 2.5, 4.0, "pour", 1))
    assert read.videos == (video, "empty.mp4")
    assert read.odd[0].reason == "result of type 'choices' is not a segment, left out"
    assert read.notes == ("a.json: 1 further annotations of tasks by others are not read",)


@pytest.mark.parametrize(("name", "text"), [("a.csv", VIA_CSV), ("a.json", VIA_JSON)])
def test_via_reads_temporal_segments_by_option_name(name: str, text: str, tmp_path: Path) -> None:
    assert values(write(tmp_path, name, text)) == [("kitchen.mp4", 1.5, 3.25, "open")]


def test_via_names_backward_segments_and_regions_by_line(tmp_path: Path) -> None:
    odd = read_segments(write(tmp_path, "a.csv", VIA_CSV)).odd
    assert [(one.line, one.reason) for one in odd] == [
        (4, "ends before it starts, left out"),
        (5, "is not a segment of time, left out"),
    ]


def test_cvat_reads_tracks_and_runs_of_tags_as_frames_of_the_video(tmp_path: Path) -> None:
    found = read_segments(write(tmp_path, "a.xml", CVAT))
    assert [(one.start, one.stop, one.label) for one in found.segments] == [
        (10, 20, "open"),
        (26, 30, "open"),
        (50, 54, "pour"),
        (70, 72, "pour"),
    ]
    assert all(one.in_frames and one.video == "kitchen.mp4" for one in found.segments)


def test_elan_reads_all_aligned_tiers_from_the_origin_of_the_video(tmp_path: Path) -> None:
    read = read_segments(write(tmp_path, "a.eaf", ELAN))
    assert read.segments == (Segment("/C:/my videos/kitchen.mp4", 1.5, 3.25, "open", 1),)
    assert [(one.line, one.reason) for one in read.odd] == [(2, "has a time slot without a time, left out")]
    assert read.notes == ("a.eaf: the labels of 2 tiers are read: left, right",)


def test_activitynet_reads_subsets_and_videos_without_annotations(tmp_path: Path) -> None:
    read = read_segments(write(tmp_path, "a.json", ACTIVITYNET))
    assert read.segments == (Segment("QOlSCBRmfWY", 6.19, 17.16, "Ballet", 1),)
    assert read.splits == {"QOlSCBRmfWY": "train", "test": "test"}
    assert [one.line for one in read.odd] == [2]


def test_charades_reads_the_actions_column(tmp_path: Path) -> None:
    read = read_segments(write(tmp_path, "Charades_v1_train.csv", CHARADES))
    assert read.segments == (Segment("46GP8", 11.9, 21.2, "c092", 2), Segment("46GP8", 0.0, 12.6, "c147", 2))
    assert read.videos == ("46GP8", "N11GT")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.eaf", ELAN[:-30], "cannot be read"),
        ("a.eaf", ELAN.replace("MEDIA_URL=", "OTHER="), "names no media file"),
        ("a.eaf", '<!DOCTYPE a [<!ENTITY b "c">]><a/>', "declares XML entities"),
        ("a.xml", CVAT.replace('frame="20"', 'frame="x"'), "frame is not a number: 'x'"),
        ("a.xml", CVAT.replace("<source>kitchen.mp4</source>", "").replace("<name>first</name>", ""), "neither source"),
        ("a.json", json.dumps([{"data": {}}]), "entry 1: task names no video"),
        ("a.json", json.dumps({"database": {"a": 3}}), "video is not an object with a list of annotations: 'a'"),
        ("a.json", VIA_JSON.replace('"vid": "1"', '"vid": "2"'), "is not a complete VIA 3 project"),
        ("a.json", '{"database": ', "cannot be read: Expecting value"),
    ],
)
def test_malformed_export_is_refused_with_its_fault(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_segments(write(tmp_path, name, text))


@given(st.integers(0, 360_000_00))
def test_parse_seconds_reads_every_spelling_of_a_time(hundredths: int) -> None:
    seconds = hundredths / 100
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes_left = divmod(minutes, 60)
    end = f"{rest // 100:02d}.{rest % 100:02d}"
    for text in (f"{seconds:.2f}", f"{minutes}:{end}", f"{hours}:{minutes_left:02d}:{end}"):
        assert parse_seconds(text) == pytest.approx(seconds)
        assert parse_seconds(text.replace(".", ",")) == pytest.approx(seconds)


@given(st.text())
def test_parse_seconds_never_fails_on_other_text(text: str) -> None:
    assert parse_seconds(text) is None or any(one.isdigit() for one in text)
