"""Temperature and threshold: chosen on scores, stored in the checkpoint, used by predictions."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scored import make_scores

from tdpn_core import evaluate
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.evaluation.calibrate import fit, store
from tdpn_core.evaluation.evaluate import Evaluation
from tdpn_core.evaluation.metrics import HeadFit
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.evaluation.report.text import cautions, summary
from tdpn_core.evaluation.score_checkpoint import weights_digest
from tdpn_core.evaluation.score_file import Scores, softmax
from tdpn_core.model_card import model_card
from tdpn_core.prediction.score import at_temperature

CLASSES = {"action": ["a", "b", "c", "d"]}


def sampled(clips: int, factor: float, seed: int = 0) -> Scores:
    """Scores whose labels are drawn with the probabilities of the logits / `factor`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(clips, 4)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return make_scores(logits * factor, labels, classes=CLASSES)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_fit_of_overconfident_or_shy_scores_finds_the_temperature(factor: float) -> None:
    (found,) = fit(sampled(4000, factor)).values()
    assert found.temperature == pytest.approx(factor, rel=0.1)
    assert found.error_after < 0.02 < found.error_before


@given(st.integers(0, 99), st.floats(0.3, 1.0), st.integers(15, 60))
@settings(max_examples=25, deadline=None)
def test_fit_threshold_is_the_highest_that_keeps_the_share(seed: int, keep: float, clips: int) -> None:
    scores = sampled(clips, 2.0, seed)
    (found,) = fit(scores, keep).values()
    after = softmax(scores.logits["action"] / found.temperature).mean(axis=1)
    confidence, right = after.max(axis=1), after.argmax(axis=1) == scores.labels["action"]
    sure = confidence[right]
    assert (sure >= found.threshold).mean() >= keep - 1e-9
    higher = sure[sure > found.threshold]
    assert not len(higher) or (sure >= higher.min()).mean() < keep
    assert found.right_kept == (sure >= found.threshold).mean()
    assert found.wrong_rejected == (confidence[~right] < found.threshold).mean()


def test_fit_of_answers_that_are_all_right_keeps_the_temperature() -> None:
    (found,) = fit(make_scores(np.eye(4)[np.arange(12) % 4] * 5, np.arange(12) % 4, classes=CLASSES)).values()
    assert (found.temperature, found.wrong_rejected, found.right_kept) == (1.0, None, 1.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"error_before": 0.02, "error_after": 0.05}, ["calibration error of action rises from 2.0% to 5.0%"]),
        ({"wrong_rejected": 0.0}, ["the threshold of action rejects none of the wrong answers; a lower --keep-right"]),
        ({"wrong_rejected": None}, []),
        ({"clips": 49}, ["action is calibrated on 49 clips, fewer than 50: its temperature and threshold are uncert"]),
    ],
)
def test_cautions_state_what_is_doubtful_about_a_calibration(changes: dict[str, float], expected: list[str]) -> None:
    sound = HeadFit(
        temperature=2.0,
        threshold=0.3,
        clips=50,
        error_before=0.1,
        error_after=0.05,
        right_kept=0.95,
        wrong_rejected=0.4,
    )
    origin = SimpleNamespace(trained_on="", data_digest="", training=None, parts={})
    evaluation = SimpleNamespace(
        scores=SimpleNamespace(origin=origin),
        calibrated={"action": replace(sound, **changes)},  # type: ignore[arg-type]
        multilabel={},
    )
    lines = cautions(cast(Evaluation, evaluation))
    assert len(lines) == len(expected)
    assert all(part in line for part, line in zip(expected, lines, strict=True))


def test_fit_of_few_clips_is_refused() -> None:
    with pytest.raises(UsageError, match="action has 4 labelled clips, and calibration needs at least 5"):
        fit(sampled(4, 1.0))


def test_temperature_of_probabilities_equals_that_of_logits() -> None:
    logits = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    expected = (logits / 2.5).softmax(-1)
    torch.testing.assert_close(at_temperature(logits.softmax(-1), 2.5), expected)


def test_evaluate_with_calibrate_stores_it_and_leaves_the_weights(checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path / "best.pt"))
    before = load_checkpoint(path)
    result = evaluate(path, options=ScoreOptions(split="val"), calibrate=0.9, gpus=0, out=tmp_path / "out")
    after = load_checkpoint(path)
    found = result.calibrated["action"]
    assert before.calibration is None
    assert after.calibration is not None
    assert after.calibration.temperature == {"action": found.temperature}
    assert after.calibration.threshold == {"action": found.threshold}
    assert (after.calibration.split, after.calibration.data) == ("val", result.scores.origin.data_digest)
    assert weights_digest(after) == weights_digest(before)
    assert replace(after, calibration=None, weights={}) == replace(before, weights={})
    for report in (result.report, result.report.with_suffix(".html")):
        assert f"the threshold {found.threshold:.1%} keeps" in report.read_text()
        assert f"action is calibrated on {found.clips} clips, fewer than 50" in report.read_text()
    assert any(note.startswith("action is calibrated on") for note in summary(result)["notes"])
    card = model_card(after, [], address="best.pt")
    assert f"calibrated on the val split: action at temperature {found.temperature:.3f}, none of these below" in card


def test_store_in_a_checkpoint_that_changed_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path / "best.pt"))
    scores = sampled(20, 1.0)
    with pytest.raises(CheckpointError, match="was changed while it was evaluated"):
        store(path, scores, fit(scores))
    assert load_checkpoint(path).calibration is None


@pytest.mark.parametrize(
    ("options", "share", "message"),
    [
        ({"split": "train"}, 0.9, "training clips says nothing"),
        ({"only_shared": True}, 0.9, "calibrated together"),
        ({}, 1.5, r"--keep-right is a share in \(0, 1\], not 1.5"),
    ],
)
def test_evaluate_refuses_what_cannot_be_calibrated(
    options: dict[str, object], share: float, message: str, checkpoint: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(checkpoint, options=ScoreOptions(**options), calibrate=share, gpus=0)  # type: ignore[arg-type]


def test_evaluate_refuses_to_calibrate_what_is_no_checkpoint_of_tdpn(tmp_path: Path) -> None:
    (tmp_path / "scores.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="stored in checkpoints of tdpn"):
        evaluate(tmp_path / "scores.safetensors", calibrate=0.9, gpus=0)
