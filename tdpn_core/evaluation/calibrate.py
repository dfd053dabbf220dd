"""Choose the temperature and the threshold of a network's confidence on validation scores.

The temperature divides the logits (Guo et al. 2017, "On Calibration of Modern Neural Networks"); with it, the highest
probability of a clip estimates how often such an answer is right. An answer below the threshold is "none of these".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdpn_core import defaults
from tdpn_core.checkpoint import Calibration, is_checkpoint, load_checkpoint, store_calibration
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.evaluation.metrics import HeadFit
from tdpn_core.evaluation.metrics import calibrate as compare
from tdpn_core.evaluation.multilabel import ThresholdsFit, fit_thresholds
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.evaluation.score_checkpoint import weights_digest
from tdpn_core.evaluation.score_file import Scores, mean_probabilities
from tdpn_core.labels import Labels, known

TEMPERATURES = (0.05, 20.0)
"""Range that is searched."""

_FEWEST = 5  # labelled clips
_TINY = 1e-12


def check_calibration(paths: Sequence[Path], options: ScoreOptions, keep: float) -> None:
    """Refuse what cannot be calibrated before anything is scored.

    Raises:
        UsageError: several files, the training split, only some classes, or an impossible share.
        CheckpointError: the file is not a checkpoint of tdpn, in which the result could be stored.
    """
    where = "--calibrate"
    if len(paths) != 1:
        raise UsageError(
            f"one checkpoint is calibrated, not {len(paths)}", where=where, hint="name one, without --fuse"
        )
    if options.split == "train":
        hint = "use the val split, whose clips the network was not trained on"
        raise UsageError("confidence on training clips says nothing about others", where=where, hint=hint)
    if options.only_shared:
        hint = "leave out --only-shared-classes"
        raise UsageError("all classes of the checkpoint are calibrated together", where=where, hint=hint)
    if not 0 < keep <= 1:
        raise UsageError(f"--keep-right is a share in (0, 1], not {keep:g}", where=where)
    if not is_checkpoint(paths[0]):
        what = "calibration is stored in checkpoints of tdpn, and this is another kind of file"
        raise CheckpointError(what, where=paths[0], hint="give the best.pt of a run")


def fit(scores: Scores, keep: float = defaults.KEEP_RIGHT) -> dict[str, HeadFit | ThresholdsFit]:
    """Return temperature and threshold of each head, or in multi-label data a threshold for each class.

    The temperature minimises the negative log likelihood of the mean over views. The threshold is the highest that
    keeps the share `keep` of the right answers. The thresholds of multi-label classes are those of the highest F1.

    Raises:
        UsageError: a head has fewer than five labelled clips.
    """
    if not scores.multilabel:
        return {head: _fit(scores.logits[head], scores.labels[head], keep, head) for head in scores.classes}
    probabilities = scores.probabilities()
    return {
        head: _fit_classes(probabilities[head], scores.labels[head], scores.origin.thresholds.get(head), head)
        for head in scores.classes
    }


def store(path: Path, scores: Scores, fits: Mapping[str, HeadFit | ThresholdsFit]) -> None:
    """Store the result in the checkpoint at `path`, which was scored.

    Raises:
        CheckpointError: the file was changed since.
    """
    stored = load_checkpoint(path)
    if weights_digest(stored) != scores.origin.weights:
        raise CheckpointError("was changed while it was evaluated", where=path, hint="run the same command again")
    store_calibration(
        path,
        Calibration(
            temperature={head: one.temperature for head, one in fits.items() if isinstance(one, HeadFit)},
            threshold={head: one.threshold for head, one in fits.items() if isinstance(one, HeadFit)},
            class_thresholds={
                head: _in_order_of(stored.config.data.classes[head], scores.classes[head], one.thresholds)
                for head, one in fits.items()
                if isinstance(one, ThresholdsFit)
            },
            data=scores.origin.data_digest,
            split=scores.origin.split,
            views=scores.origin.views,
        ),
    )


def _in_order_of(wanted: Sequence[str], names: Sequence[str], values: Sequence[float]) -> list[float]:
    """Return the values of classes in the order of `wanted`, which has the same names."""
    of_name = dict(zip(names, values, strict=True))
    return [of_name[name] for name in wanted]


def _fit_classes(
    probabilities: npt.NDArray[np.float64], labels: Labels, before: Sequence[float] | None, head: str
) -> ThresholdsFit:
    rows = known(labels)
    _check_enough(int(rows.sum()), head)
    return fit_thresholds(probabilities[rows], labels[rows], before)


def _check_enough(clips: int, head: str) -> None:
    if clips < _FEWEST:
        what = f"{head} has {clips} labelled clips, and calibration needs at least {_FEWEST}"
        raise UsageError(what, where="--calibrate", hint="choose a larger --split")


def _fit(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], keep: float, head: str) -> HeadFit:
    rows = known(labels)
    logits, labels = logits[rows], labels[rows]
    _check_enough(len(labels), head)
    before = mean_probabilities(logits)
    temperature = _temperature(logits, labels)
    after = mean_probabilities(logits / temperature)
    confidence, right = after.max(axis=1), after.argmax(axis=1) == labels
    threshold = _threshold(confidence[right], keep)
    kept = confidence >= threshold
    return HeadFit(
        temperature=temperature,
        threshold=threshold,
        clips=len(labels),
        error_before=compare(before, labels).error,
        error_after=compare(after, labels).error,
        right_kept=float(kept[right].mean()) if right.any() else 0.0,
        wrong_rejected=float((~kept[~right]).mean()) if not right.all() else None,
    )


def _temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature of the highest likelihood; 1 if all or no answers are right, since it has no optimum."""
    right = mean_probabilities(logits).argmax(axis=1) == labels
    if right.all() or not right.any():
        return 1.0
    from scipy.optimize import minimize_scalar  # takes half a second, needed only here

    def loss(log_temperature: float) -> float:
        probabilities = mean_probabilities(logits / np.exp(log_temperature))
        own = probabilities[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(own, _TINY)).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def _threshold(right: npt.NDArray[np.float64], keep: float) -> float:
    """Return the highest threshold that at least the share `keep` of the right answers reaches; 0 without any."""
    if not len(right):
        return 0.0
    lost = int(np.floor((1 - keep) * len(right) + 1e-9))
    return float(np.sort(right)[min(lost, len(right) - 1)])
