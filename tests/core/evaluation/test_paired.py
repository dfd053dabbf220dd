"""Two models on the same clips: each model's score, the difference and its exact p value; nothing is fused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import warm
from scipy import stats
from scored import make_scores

from tdpn_core.errors import ScoresError
from tdpn_core.evaluation.evaluate import compare_files
from tdpn_core.evaluation.report import write_comparison, write_report
from tdpn_core.evaluation.score_file import Scores, write_scores

LABELS = [0, 1] * 10
CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"


def model(name: str, wrong: set[int], ids: list[str] | None = None) -> Scores:
    """Scores of 20 clips of which those numbered in `wrong` are not recognised."""
    logits = np.zeros((20, 2))
    for clip, label in enumerate(LABELS):
        logits[clip, label if clip not in wrong else 1 - label] = 2.0
    return make_scores(logits, LABELS, checkpoint=name, ids=ids)


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name / "scores.safetensors" for name in ("a", "b")]
    write_scores(paths[0], model("a.pt", set(range(8))))
    write_scores(paths[1], model("b.pt", {0, 19}))
    return paths


def test_comparison_of_two_has_each_score_their_difference_and_mcnemars_p(pair: list[Path]) -> None:
    comparison = compare_files(pair, runtime=None)
    assert [evaluation.heads["action"].top[1] for evaluation in comparison.evaluations] == [0.6, 0.9]
    (found,) = comparison.paired
    paired = found["action"]
    assert (paired.clips, paired.gained, paired.lost) == (20, 7, 1)
    assert paired.difference == pytest.approx(0.3)
    assert paired.p_value == pytest.approx(stats.binomtest(7, 8).pvalue)
    assert [write_report(evaluation).parent for evaluation in comparison.evaluations] == [path.parent for path in pair]
    text = write_comparison(comparison).read_text()
    assert "| b.pt | 1x1 | 20 | 90.00% | 90.00% | +30.00% | +7 -1 | 0.07 |" in text


def test_comparison_of_other_clips_is_refused(pair: list[Path]) -> None:
    write_scores(pair[1], model("b.pt", set(), ids=[f"other-{clip}" for clip in range(20)]))
    with pytest.raises(ScoresError, match="no clip has scores in all files"):
        compare_files(pair, runtime=None)


def test_eval_of_two_files_compares_and_fuses_only_when_asked(pair: list[Path], tmp_path: Path) -> None:
    def tdpn(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CODE, "eval", *map(str, words)]
        environment = {**os.environ, "COLUMNS": "200"}
        return warm.run(command, env=environment)

    shown = tdpn(*pair)
    assert shown.returncode == 0, shown.stderr
    assert "+30.00%" in shown.stdout
    assert "fused" not in shown.stdout + shown.stderr
    plain = json.loads(tdpn(*pair, "--json").stdout)
    assert [entry["heads"]["action"]["top1"] for entry in plain["models"]] == [0.6, 0.9]
    assert plain["differences"][0]["action"]["p_value"] == pytest.approx(0.0703125)
    fused = tdpn(*pair, "--fuse", "equal", "--out", tmp_path / "fused", "--json")
    assert json.loads(fused.stdout)["fused"] == {"a.pt": 1.0, "b.pt": 1.0}, fused.stderr
