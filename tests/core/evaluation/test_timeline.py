"""Scoring the segments of long videos: the library and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core import evaluate_timeline
from tdpn_core.datasets.segments import read_segments
from tdpn_core.errors import DatasetError
from tdpn_core.evaluation.video_names import VideoNames
from tdpn_core.video.probe import probe

HEAD = "clip,start,end,head,rank,class,probability,error\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "truth.csv").write_text(
        "video,start,end,label\na.mp4,0,4,run\na.mp4,6,10,jump\nb.mp4,1,3,run\nb.mp4,3,2,run\n"
    )
    rows = "x/a.mp4,0,4,label,1,run,0.9,\nx/a.mp4,0,4,label,2,jump,0.1,\nx/a.mp4,4,6,label,1,background,0.8,\n"
    (tmp_path / "found.csv").write_text(HEAD + rows + "x/b.mp4,1,3,label,1,jump,0.6,\n")
    return tmp_path


def test_evaluate_timeline_predicted_csv_writes_scores_and_report(place: Path) -> None:
    (place / "a.mp4").touch()
    result = evaluate_timeline(place / "found.csv", place / "truth.csv", out=place / "out")
    assert result.scores.average_precision["0.50"] == {"jump": 0.0, "run": 0.5}
    assert result.scores.f1["50"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert result.notes == ["truth.csv line 5: ends before it starts, left out: b.mp4 3 to 2 s"]
    assert json.loads((place / "out/results.json").read_text())["f1"] == result.scores.f1
    page = (place / "out/report.html").read_text()
    assert 'href="../a.mp4#t=0.00,4.00" data-start="0.00"' in page
    assert '<video class="player" controls muted playsinline preload="none" src="../a.mp4"' in page
    assert "b.mp4#t=" not in page
    assert "missed: jump, 0:06.0 to 0:10.0" in page
    assert "wrong: jump, 0:01.0 to 0:03.0, 60%" in page
    assert page.index("b.mp4: 2 errors") < page.index("a.mp4: 1 error<")
    written = read_segments(place / "out/segments.csv").segments
    assert [(one.video, one.start, one.stop, one.label) for one in written] == [
        (one.video, one.start, one.stop, one.label) for one in result.predicted
    ]


def test_evaluate_timeline_predicted_json_equals_csv(place: Path) -> None:
    def segment(start: int, end: int, name: str) -> dict[str, object]:
        return {"start": start, "end": end, "heads": {"label": [{"class": name, "probability": 0.9}]}}

    clips = [
        {
            "clip": "a.mp4",
            "seconds": 10.0,
            "error": None,
            "segments": [segment(0, 4, "run"), segment(4, 6, "background")],
        }
    ]
    clips.append({"clip": "b.mp4", "seconds": 3.0, "error": None, "segments": [segment(1, 3, "jump")]})
    (place / "found.json").write_text(json.dumps(clips))
    one = evaluate_timeline(place / "found.csv", place / "truth.csv", out=place / "one")
    other = evaluate_timeline(place / "found.json", place / "truth.csv", out=place / "other")
    assert one.scores == other.scores


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        ("video,start,end,label\n", None, "has no segment of an action"),
        ("video,start,end,label\nc.mp4,0,1,run\n", None, "does not annotate a predicted video"),
        ("video,start_frame,end_frame,label\na.mp4,0,9,run\n", None, "gives times in frames, but its video a.mp4"),
        (None, "a,b\n1,2\n", "is no timeline of tdpn predict"),
        (None, HEAD + "a.mp4,0,1,verb,1,run,1,\na.mp4,0,1,noun,1,ball,1,\n", "has classes of several heads"),
        (None, HEAD + "a.mp4,,,,,,,cannot be decoded\nb.mp4,,,,,,,is gone\n", "no annotated video was predicted"),
    ],
)
def test_evaluate_timeline_bad_input_is_a_clear_error(
    place: Path, truth: str | None, found: str | None, message: str
) -> None:
    for name, content in (("truth.csv", truth), ("found.csv", found)):
        if content is not None:
            (place / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        evaluate_timeline(place / "found.csv", place / "truth.csv", out=place / "out")


def test_evaluate_timeline_failed_and_unknown_videos_are_noted_and_not_scored(place: Path) -> None:
    rows = "a.mp4,0,4,label,1,run,0.9,\nb.mp4,0,1,label,1,run,0.9,\nb.mp4,,,,,,,b.mp4: cannot be decoded\n"
    (place / "found.csv").write_text(HEAD + rows + "c.mp4,0,1,label,1,run,1,\n")
    result = evaluate_timeline(place / "found.csv", place / "truth.csv", out=place / "out")
    assert {one.video for one in (*result.truth, *result.predicted)} == {"a.mp4"}
    assert result.notes[:2] == ["not scored: b.mp4: cannot be decoded", "1 predicted video is not annotated: c.mp4"]


def test_evaluate_timeline_frames_are_divided_by_the_rate_of_their_video(place: Path, videos: Path) -> None:
    clip = next((videos / "val").rglob("*.mp4"))
    rate = probe(clip).video.rates[0]
    (place / "truth.csv").write_text(f"video,start_frame,end_frame,label\n{clip.name},3,5,run\n")
    (place / "found.csv").write_text(HEAD + f"{clip.name},0,1,label,1,run,0.9,\n")
    (segment,) = evaluate_timeline(
        place / "found.csv", place / "truth.csv", videos=clip.parent, out=place / "out"
    ).truth
    assert (segment.start, segment.stop) == (float(3 / rate), float(6 / rate))


@pytest.mark.parametrize(
    ("known", "asked", "found"),
    [
        (["a.mp4"], "x/a.mp4", "a.mp4"),
        (["a"], "x/a.mp4", "a"),
        (["a.mkv"], "a.mp4", "a.mkv"),
        (["p/a.mp4", "q/a.mp4"], "/data/q/a.mp4", "q/a.mp4"),
        (["3f8a2b1c-a.mp4"], "3f8a2b1c-a.mp4", "3f8a2b1c-a.mp4"),
        (["a.mp4"], "data/upload/1/3f8a2b1c-a.mp4", "a.mp4"),
        (["take.1", "take.2"], "take.3", None),
    ],
)
def test_video_names_find_the_video_with_most_of_the_path(known: list[str], asked: str, found: str | None) -> None:
    assert VideoNames(known).find(asked) == found


def test_video_names_refuse_a_name_that_fits_several_videos() -> None:
    with pytest.raises(DatasetError, match=r"may be p/a\.mp4 or q/a\.mp4"):
        VideoNames(["p/a.mp4", "q/a.mp4"]).find("a.mp4")


@pytest.mark.parametrize("words", [["--topk", "1"], ["--processes", "2"], ["--data", "d"], ["--allow-missing"]])
def test_eval_command_timeline_refuses_options_without_effect(place: Path, words: list[str]) -> None:
    own = ["eval", str(place / "found.csv"), "--timeline", str(place / "truth.csv"), *words]
    result = CliRunner().invoke(app, own)
    assert result.exit_code != 0
    assert f"{words[0]}: has no effect with --timeline" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["found.csv", "--timeline", "truth.csv", "--window", "2"], "--window: has no effect with the predicted"),
        (["--smooth", "1"], "--smooth: has no effect without --timeline"),
        (["--videos", "."], "--videos: has no effect without --timeline"),
    ],
)
def test_eval_command_segment_options_without_a_network_and_timeline_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(place)
    assert message in str(CliRunner().invoke(app, ["eval", *words]).exception)


def test_eval_command_timeline_prints_the_metrics(place: Path) -> None:
    words = ["eval", str(place / "found.csv"), "--timeline", str(place / "truth.csv"), "--out", str(place / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "segment F1@50" in result.stdout


def test_evaluate_timeline_checkpoint_predicts_the_videos(fresh: Path, videos: Path, tmp_path: Path) -> None:
    clip = next((videos / "val").rglob("*.mp4"))
    (tmp_path / "truth.csv").write_text(
        f"video,start,end,label\n{clip.name},0,0.4,{clip.parent.name}\n{clip.name},0.4,0.6,flying\nlost.mp4,0,1,flying\n"
    )
    result = evaluate_timeline(fresh, tmp_path / "truth.csv", videos=clip.parent, out=tmp_path / "out", gpus=0)
    assert set(result.lengths) == {clip.name}
    assert result.predicted
    assert "1 annotated video is missing and not scored: lost.mp4" in result.notes
    assert "labels that the network does not have count as missed: flying" in result.notes
    words = ["eval", str(fresh), "--timeline", str(tmp_path / "truth.csv"), "--videos", str(clip.parent), "--json"]
    given = [*words, "--out", str(tmp_path / "none"), "--threshold", "1", "--gpus", "0"]
    assert json.loads(CliRunner().invoke(app, given).stdout)["f1"]["10"] == 0
