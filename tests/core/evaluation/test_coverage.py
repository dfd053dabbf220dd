"""How many clips a number is of, from the data set's own list on: in every form that a result takes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scored import CPU, make_scores

from tdpn_cli.evaluate import show
from tdpn_core.evaluation.evaluate import Evaluation, evaluate, measure_scores
from tdpn_core.evaluation.fusion import align, fuse
from tdpn_core.evaluation.report import summary, write_report
from tdpn_core.evaluation.report.text import covered
from tdpn_core.evaluation.score_file import Coverage, read_scores, write_scores
from tdpn_core.shards import load_manifest

COUNTS = {"listed": 12, "on_disk": 9, "decoded": 8, "scored": 8}
SENTENCE = (
    "8 clips scored of 12 in the data set's list; 3 were not on disk when the data was prepared; "
    "1 could not be decoded when the data was prepared."
)


@pytest.fixture
def partial(checkpoint: Path, prepared: Path, tmp_path: Path) -> Evaluation:
    """The result on data of whose validation split 12 clips are listed, 9 were on disk, and 8 could be decoded."""
    folder = shutil.copytree(prepared, tmp_path / "data")
    manifest = replace(load_manifest(folder), listed={"val": 12}, left_out={"val": 1})
    (folder / "manifest.json").write_bytes(manifest.to_json())
    return evaluate(checkpoint, runtime=CPU, data=folder, workers=0, out=tmp_path / "out")


def test_what_is_listed_stands_beside_every_score(partial: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    report = write_report(partial)
    values = json.loads((report.parent / "results.json").read_text())
    assert {name: values["coverage"][name] for name in COUNTS} == COUNTS
    assert values["rejected"] == 1
    assert SENTENCE in report.read_text()
    page = report.with_suffix(".html").read_text()
    assert page.count(SENTENCE.replace("'", "&#39;")) == 2, "below the title, and as a warning"
    assert "clips in the data set&#39;s list" in page
    show(partial)
    assert f"note: {SENTENCE}" in capsys.readouterr().err
    again = evaluate(report.parent / "scores.safetensors", runtime=None)
    assert covered(again) == SENTENCE


def test_a_split_that_is_there_to_the_last_clip_needs_no_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Coverage(listed=2, on_disk=2, decoded=2, scored=2)
    result = measure_scores(make_scores([[0.0, 1.0], [2.0, 0.0]], [1, 1], coverage=whole), folder=tmp_path)
    show(result)
    assert capsys.readouterr().err == ""
    assert covered(result) == "2 clips scored of 2 in the data set's list."
    assert summary(result)["coverage"]["listed"] == 2


def test_data_without_a_list_is_counted_from_the_disk_on(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.safetensors", make_scores([[0.0, 1.0]], [1]))
    result = evaluate(tmp_path / "scores.safetensors", runtime=None)
    assert covered(result) == "1 clip scored of 1 on disk."
    assert "in the data set" not in write_report(result).with_suffix(".html").read_text()


def test_of_fused_scores_the_longest_list_counts() -> None:
    few = make_scores([[0.0, 1.0]], [1], coverage=Coverage(on_disk=1, decoded=1, scored=1))
    more = make_scores([[0.0, 1.0]], [1], coverage=Coverage(listed=4, on_disk=2, decoded=1, scored=1))
    assert fuse(align([few, more]), [1, 1]).origin.coverage == Coverage(listed=4, on_disk=2, decoded=1, scored=1)
    assert fuse(align([few, few]), [1, 1]).origin.coverage.listed is None


def test_the_count_survives_the_file(tmp_path: Path) -> None:
    scores = make_scores([[0.0, 1.0]], [1], coverage=Coverage(listed=7, on_disk=2, decoded=1, scored=1))
    write_scores(tmp_path / "scores.safetensors", scores)
    assert read_scores(tmp_path / "scores.safetensors").origin.coverage == scores.origin.coverage
