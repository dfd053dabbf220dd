"""Predicted segments written for annotation tools, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdpn_core.datasets.annotations.write import SegmentFile
from tdpn_core.datasets.segments import ScoredSegment, read_segments
from tdpn_core.errors import UsageError

RATE = 30000 / 1001
VIDEOS = {"long/a b.mp4": RATE, "long/Größe.mp4": 25.0, "long/nothing.mp4": 25.0}
FOUND = [
    ScoredSegment("long/a b.mp4", 0.0, 1.5, "open drawer", score=0.9),
    ScoredSegment("long/a b.mp4", 1.0, 2.25, "close & <lock>", score=0.25),
    ScoredSegment("long/Größe.mp4", 100.12, 3700.0, 'say "no", twice', score=0.5),
]


def _rows(segments: list[ScoredSegment]) -> list[tuple[str, str, float, float]]:
    return sorted((Path(one.video).name, one.label, one.start, one.stop) for one in segments)


@pytest.mark.parametrize("name", ["found.csv", "tasks.json", "elan"])
def test_written_segments_are_read_back_by_read_segments(name: str, tmp_path: Path) -> None:
    target = SegmentFile(tmp_path / "out" / name)
    target.write(list(VIDEOS), VIDEOS, FOUND, "best.pt")
    read = [read_segments(file) for file in target.files(list(VIDEOS))]
    segments = [one.to_seconds(RATE if "a b" in one.video else 25.0) for file in read for one in file.segments]
    assert _rows(segments) == [
        (video, label, pytest.approx(start, abs=0.5 / 25), pytest.approx(stop, abs=0.5 / 25))
        for video, label, start, stop in _rows(FOUND)
    ]
    named = {Path(video).name for file in read for video in file.videos}
    assert named == {Path(video).name for video in VIDEOS} - ({"nothing.mp4"} if name == "found.csv" else set())
    assert not [odd for file in read for odd in file.odd]


def test_label_studio_tasks_have_frames_from_one_and_scores(tmp_path: Path) -> None:
    SegmentFile(tmp_path / "tasks.json").write(list(VIDEOS), VIDEOS, FOUND, "best.pt")
    first, _, empty = json.loads((tmp_path / "tasks.json").read_text())
    (prediction,) = first["predictions"]
    assert first["data"] == {"video": "long/a b.mp4"}
    assert prediction["model_version"] == "best.pt"
    assert prediction["result"][0]["value"] == {"ranges": [{"start": 1, "end": 45}], "timelinelabels": ["open drawer"]}
    assert [one["score"] for one in prediction["result"]] == [0.9, 0.25]
    assert empty["predictions"][0]["result"] == []
    (note,) = read_segments(tmp_path / "tasks.json").notes
    assert note == "tasks.json: 3 tasks have no annotations: their predictions are read"


def test_label_studio_exported_task_without_annotation_does_not_give_its_predictions(tmp_path: Path) -> None:
    SegmentFile(tmp_path / "tasks.json").write(list(VIDEOS), VIDEOS, FOUND, "best.pt")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps([{**task, "annotations": []} for task in tasks]))
    assert read_segments(tmp_path / "export.json").segments == ()


def test_elan_overlapping_segments_are_on_tiers_of_their_own(tmp_path: Path) -> None:
    SegmentFile(tmp_path / "elan").write(list(VIDEOS), VIDEOS, FOUND, "best.pt")
    text = (tmp_path / "elan" / "a b.eaf").read_text(encoding="utf-8")
    assert text.count("<TIER ") == 2
    assert 'TIME_VALUE="1500"' in text
    assert "close &amp; &lt;lock&gt;" in text


def test_videos_of_one_name_get_files_of_their_own_and_one_file_of_elan_has_one_video(tmp_path: Path) -> None:
    assert [path.name for path in SegmentFile(tmp_path / "f").files(["x/a.mp4", "y/a.mp4"])] == ["a.eaf", "a-2.eaf"]
    with pytest.raises(UsageError, match="one file of ELAN for 2 videos"):
        SegmentFile(tmp_path / "a.eaf").files(["x/a.mp4", "y/b.mp4"])
    with pytest.raises(UsageError, match=r"segments are written as .csv, .json or .eaf, not \.xml"):
        SegmentFile(tmp_path / "a.xml")
