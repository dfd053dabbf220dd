"""The source's own figure stands beside ours where it is of the same network and the same clips, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
from scored import make_scores

from tdpn_core.evaluation.evaluate import measure_scores
from tdpn_core.evaluation.report import write_report
from tdpn_core.evaluation.report.published import published_rows

LABELS = [0, 1, 2, 3, 4, 5, 7, 7]


def logits(classes: int) -> np.ndarray:
    return np.eye(8, classes) * 3


R101 = {"name": "tdpn", "arch": "r101", "num_frames": 8, "width": 1.0}


def reported(folder: Path, model: dict[str, object], classes: int = 400, **origin: object):
    known = {"dataset": "kinetics400", "model": f"{model['name']} {model['arch']}", "settings": {"model": model}}
    return measure_scores(make_scores(logits(classes), LABELS, **(known | origin)), folder=folder)


def test_the_papers_row_stands_below_ours_in_every_form_of_the_report(tmp_path: Path) -> None:
    report = write_report(reported(tmp_path, R101, views="10x3"))
    text, page = report.read_text(), report.with_suffix(".html").read_text()
    assert "## Compared with published results of tdpn r101 on Kinetics-400" in text
    ours, paper = "| this checkpoint | 8 frames, 10x3 views | 87.5% | 87.5% |", "| the paper | 32x2 | 79.6% | 94.3% |"
    assert f"{ours}\n{paper}\n" in text
    assert "78.9%" not in text, "that is R50's"
    place = page.index("Compared with published results of tdpn r101 on Kinetics-400")
    assert 0 < page.index("79.6%") - place < 2000


@pytest.mark.parametrize(
    ("model", "origin"),
    [
        ({"arch": "r18"}, {}),
        ({"name": "tsm"}, {}),
        ({"name": "a network that is not ours"}, {}),
        ({"width": 0.5}, {}),
        ({}, {"dataset": "folder"}),
        ({}, {"dataset": "kinetics600"}),
        ({}, {"classes": 10}),
        ({}, {"split": "train"}),
        ({}, {"split": "test"}),
        ({}, {"fused": {"a.pt": 1.0, "b.pt": 1.0}}),
        ({}, {"settings": {}}),
    ],
)
def test_no_row_stands_beside_another_network_or_other_clips(
    model: dict[str, object], origin: dict[str, object], tmp_path: Path
) -> None:
    report = write_report(reported(tmp_path, R101 | model, **origin))
    assert "Compared with published results" not in report.read_text()
    assert "Compared with published results" not in report.with_suffix(".html").read_text()


def test_rows_of_a_test_set_and_of_several_heads_find_their_own(tmp_path: Path) -> None:
    i3d = {"name": "i3d", "arch": "inception", "num_frames": 64, "width": 1.0}
    (title, (_, _, *rows)), *_ = published_rows(reported(tmp_path, i3d, split="test")).items()
    assert title.endswith("on Kinetics-400 (test)")
    assert ("kinetics-i3d", "64x1, RGB", "71.1%", "89.3%") in rows
    model = {"name": "tsn+tdpn", "arch": "r50", "num_frames": 8, "width": 1.0}
    scores = make_scores(
        {"verb": logits(125), "noun": logits(352)},
        {"verb": LABELS, "noun": LABELS},
        dataset="epic55",
        settings={"model": model},
    )
    tables = published_rows(measure_scores(scores, folder=tmp_path))
    assert [rows[-1] for rows in tables.values()] == [
        ("the paper", "8 segments", "62.5%", "–"),
        ("the paper", "8 segments", "43.2%", "–"),
    ]
