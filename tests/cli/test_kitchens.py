"""EPIC-KITCHENS-100 from its csv files and long videos to the challenge's zip, by the commands alone."""

import csv
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from kitchens import NOUNS, VERBS, make_kitchens, write_lists
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.errors import DatasetError, ScoresError, TdpnError, UsageError
from tdpn_core.evaluation.epic import measure_epic
from tdpn_core.evaluation.score_file import read_scores, write_scores
from tdpn_core.shards import load_manifest

BEST = "runs/epic100-tdpn-r18/best.pt"
TINY = ("--arch", "r18", "--frames", "2", "--size", "32", "--batch-size", "4", "--set", "model.width=0.125")


def tdpn(*words: object) -> str:
    """Both streams of a command that ran in this process."""
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "--json" in words or max(map(len, result.stdout.splitlines()), default=0) <= 100
    return result.output


@pytest.fixture(scope="module")
def kitchens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the miniature was packed and a network trained on it."""
    folder = tmp_path_factory.mktemp("kitchens")
    make_kitchens(folder / "epic")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepared = tdpn("prep", "epic100", "--root", "epic", "--short-side", 48)
        assert "data/epic100: 12 train, 6 val (of 8 listed), 2 test clips" in prepared
        said = " ".join(prepared.split())
        assert "note 2 val segments belong to videos that are not on disk (for example 'P18_07')" in said
        trained = tdpn("train", "--epochs", 2, *TINY, "--set", "sampling.short_side=36")
        assert "94 of 97 verb classes have no training clips" in trained
        assert "note: every top-1 of this run is the mean over verb and noun" in trained
        assert f"next  tdpn eval {BEST}" in trained
        page = Path(BEST).with_name("summary.html").read_text()
        assert "Accuracies are the mean over verb and noun." in page
    return folder


@pytest.fixture(autouse=True)
def _here(kitchens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kitchens)


def test_verb_noun_and_action_are_measured_over_all_unseen_and_tail(kitchens: Path) -> None:
    shown = tdpn("eval", BEST)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    counts = {(row[0], row[1]): int(row[2]) for row in rows}
    assert counts == {
        ("all", "verb"): 6, ("all", "noun"): 6, ("all", "action"): 6,
        ("unseen", "verb"): 3, ("unseen", "noun"): 3, ("unseen", "action"): 3,
        ("tail", "verb"): 2, ("tail", "noun"): 1, ("tail", "action"): 2,
    }  # fmt: skip
    assert "note: 6 clips scored of 8 in the data set's list; 2 were not on disk" in shown
    scores = read_scores(Path(BEST).parent / "eval-val-1x1" / "scores.safetensors")
    wanted = measure_epic(scores.probabilities(), scores.labels, scores.ids, scores.origin.subsets, "val")
    assert [[f"{row.top1:.2%}", f"{row.top5:.2%}"] for row in wanted] == [[row[3], row[5]] for row in rows]
    values = json.loads(tdpn("eval", BEST, "--json").partition("note:")[0])
    assert list(values["heads"]) == ["verb", "noun"]
    assert [row["top1"] for row in values["epic"]] == [row.top1 for row in wanted]


def test_the_report_begins_with_the_challenges_table_and_shows_only_classes_that_were_met(kitchens: Path) -> None:
    tdpn("eval", BEST, "--out", "report")
    page = Path("report/report.html").read_text()
    assert page.index("EPIC-KITCHENS&#39; official metrics") < page.index("verb top-1") < page.index("noun top-1")
    assert page.index(">Classes, verb</h2>") < page.index(">Classes, noun</h2>")
    text = Path("report/report.md").read_text()
    rows = list(csv.DictReader(Path("report/predictions-noun.csv").read_text().splitlines()))
    met = {row["true"] for row in rows} | {row["predicted"] for row in rows}
    table = text.partition("## noun")[2].partition("### Classes")[2].partition("###")[0]
    assert {line.split(" | ")[0] for line in table.splitlines() if "noun-" in line} == {f"| {name}" for name in met}
    assert f"{NOUNS - len(met)} more classes have no clips here and were never predicted." in text


def test_a_submission_is_a_zip_that_fits_the_challenge(kitchens: Path) -> None:
    said = tdpn("eval", BEST, "--split", "test", "--submission", "out.zip", "--sls", "1,3,3")
    assert "2 clips of epic100 scored; none has a label" in said
    assert "out.zip: 2 clips, supervision levels 1,3,3; check these before it is handed in" in said
    with zipfile.ZipFile("out.zip") as archive:
        values = json.loads(archive.read("test.json"))
    assert (values["version"], values["challenge"], values["sls_pt"]) == ("0.2", "action_recognition", 1)
    assert list(values["results"]) == ["P33_101_0", "P33_101_1"]
    segment = values["results"]["P33_101_0"]
    assert (len(segment["verb"]), len(segment["noun"])) == (VERBS, NOUNS)


def test_a_submission_of_fewer_clips_than_are_listed_is_refused_and_the_scores_stay(kitchens: Path) -> None:
    with pytest.raises(ScoresError, match=r"2 clips have no scores, but the challenge requires all.*prepare and score"):
        tdpn("eval", BEST, "--submission", "val.zip", "--out", "few")
    assert not Path("val.zip").exists()
    assert Path("few/scores.safetensors").exists()
    with pytest.raises(UsageError, match=r"out\.json: a submission is a \.zip file"):
        tdpn("eval", "never-opened.pt", "--submission", "out.json")


def test_a_prediction_names_verb_noun_and_action(kitchens: Path) -> None:
    video = "epic/EPIC-KITCHENS/P33/videos/P33_101.MP4"
    shown = tdpn("predict", video, "--checkpoint", BEST, "--topk", 2, "--start", 0.1, "--stop", 0.9)
    lines = [line.split() for line in shown.splitlines()]
    assert [line[0] for line in lines if len(line) == 1] == [video, "verb", "noun", "action"]
    verb, noun, action = (lines[lines.index([head]) + 1] for head in ("verb", "noun", "action"))
    assert action[1:] == [verb[1], noun[1]]
    share = float(verb[0].rstrip("%")) * float(noun[0].rstrip("%")) / 100
    assert float(action[0].rstrip("%")) == pytest.approx(share, abs=0.02)


def test_a_prediction_of_a_segments_seconds_is_what_the_segment_was_scored_with(kitchens: Path) -> None:
    tdpn("eval", BEST, "--out", "beside")
    scores = read_scores(Path("beside/scores.safetensors"))
    video = "epic/EPIC-KITCHENS/P01/videos/P01_102.MP4"
    (found,) = json.loads(tdpn("predict", video, "--checkpoint", BEST, "--start", 1.1, "--stop", 1.9, "--json"))
    row = scores.ids.index("P01_102_1")
    for head, probabilities in scores.probabilities().items():
        best = int(probabilities[row].argmax())
        assert found["heads"][head][0]["class"] == scores.classes[head][best]
        assert found["heads"][head][0]["probability"] == pytest.approx(probabilities[row, best], abs=1e-6)


@pytest.fixture(scope="module")
def bare(kitchens: Path) -> Path:
    """The scores on the same data, packed without the lists of what is scored apart."""
    make_kitchens(kitchens / "bare", lists=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(kitchens)
        tdpn("prep", "epic100", "--root", "bare", "--short-side", 48, "--out", "packed")
        said = tdpn("eval", BEST, "--data", "packed", "--out", "bare-scores")
    assert load_manifest(kitchens / "packed").subsets == {}
    assert "note: unseen participants and tail classes are not measured separately: the data was packed without" in said
    assert "with --annotations" in (kitchens / "bare-scores" / "report.md").read_text()
    return kitchens / "bare-scores" / "scores.safetensors"


def test_lists_that_were_not_packed_are_taken_from_a_folder(bare: Path) -> None:
    write_lists(Path("lists"))
    shown = tdpn("eval", bare, "--annotations", "lists", "--out", "apart")
    assert "not measured separately" not in shown
    packed = json.loads(tdpn("eval", BEST, "--json", "--out", "whole").partition("note:")[0])
    assert json.loads(Path("apart/results.json").read_text())["epic"] == packed["epic"]


def test_lists_that_come_later_are_packed_by_the_same_command(bare: Path) -> None:
    write_lists(Path("bare/annotations"))
    said = tdpn("prep", "epic100", "--root", "bare", "--short-side", 48, "--out", "packed")
    assert "nothing to do" in said
    assert load_manifest(Path("packed")).subsets == load_manifest(Path("data/epic100")).subsets != {}


@pytest.mark.parametrize(
    ("lists", "error", "message"),
    [
        ("nowhere", DatasetError, "nowhere: no such folder of annotations"),
        ("epic/EPIC-KITCHENS", DatasetError, r"contains none of EPIC_100_tail_verbs\.csv, .*give the folder that"),
    ],
)
def test_a_folder_without_the_lists_is_refused_before_anything_is_scored(
    lists: str, error: type[TdpnError], message: str
) -> None:
    with pytest.raises(error, match=message):
        tdpn("eval", "never-opened.pt", "--annotations", lists)


def test_a_folder_with_some_of_the_lists_and_data_of_another_kind_are_refused(bare: Path, tmp_path: Path) -> None:
    write_lists(tmp_path / "some")
    (tmp_path / "some" / "EPIC_100_unseen_participant_ids_validation.csv").unlink()
    with pytest.raises(DatasetError, match=r"some: lacks EPIC_100_unseen_participant_ids_validation\.csv"):
        tdpn("eval", bare, "--annotations", tmp_path / "some")
    scores = read_scores(bare)
    write_scores(tmp_path / "other.safetensors", replace(scores, origin=replace(scores.origin, dataset="epic55")))
    with pytest.raises(
        UsageError, match="--annotations: these lists belong to EPIC-KITCHENS-100, but the scores to epic55"
    ):
        tdpn("eval", tmp_path / "other.safetensors", "--annotations", tmp_path / "some")
