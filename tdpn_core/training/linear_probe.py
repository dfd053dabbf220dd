"""The linear probe: logistic regression over standardised channels of frozen features.

Of each channel it sees the average and the mean absolute difference of neighbouring time steps, without which features
of single frames contain no motion. Its regularisation is chosen by cross-validation among the training clips. The
standardisation is multiplied into the classifier.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tdpn_core.features.store import Features
from tdpn_core.model.heads import pool
from tdpn_core.progress import Progress
from tdpn_core.wording import counted

Floats = npt.NDArray[np.float64]

STRENGTHS = tuple(10.0**power for power in range(-5, 2))
"""Inverse regularisation strengths (scikit-learn's C) that cross-validation chooses from."""

USUAL = 1e-3
"""The strength where a class has too few clips for cross-validation."""

FOLDS = 5
_ABSENT = -20.0  # logits below the others' that a class without training clips gets


class _Linear(NamedTuple):
    """Logits are `weight` (classes, channels) times a feature plus `bias` (classes,)."""

    weight: Floats
    bias: Floats

    def probabilities(self, features: Floats) -> Floats:
        logits = features @ self.weight.T + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = raised / raised.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier for each head."""

    pooling: Literal["mean", "change"]
    parts: dict[str, _Linear]

    def probabilities(self, values: npt.NDArray[np.float32]) -> dict[str, Floats]:
        """Map features (rows, steps, channels) to probabilities (rows, classes) by head."""
        features = _pooled(values, self.pooling)
        return {head: part.probabilities(features) for head, part in self.parts.items()}

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the network's head by name."""
        found = {}
        for head, part in self.parts.items():
            found[f"linear.{head}.weight"] = torch.from_numpy(part.weight).float()
            found[f"linear.{head}.bias"] = torch.from_numpy(part.bias).float()
        return found


def fit_linear(known: Features, seed: int, progress: Progress) -> LinearProbe:
    """Fit a classifier for each head on the training clips; `progress` gets a line about each one's regularisation."""
    features = pooled(known)
    parts = {}
    for head, labels in known.labels.items():
        own = labels[known.clip]
        inside = own >= 0
        count = len(known.config.data.classes[head])
        parts[head], strength, why = _fit(features[inside], own[inside], known.clip[inside], count, seed)
        progress.say(f"{head}: C = {strength:g}, {why}")
    return LinearProbe(_pooling(known), parts)


def pooled(known: Features) -> Floats:
    """Return (rows, channels) as the network's classifier gets them."""
    return _pooled(known.values, _pooling(known))


def regression_model(strength: float) -> Any:
    """Return scikit-learn's logistic regression over standardised channels, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def chosen_strength(
    features: Floats, labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], seed: int
) -> tuple[float, str]:
    """Return the strength with the lowest loss in cross-validation, and how it was chosen; a group is in one fold."""
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    if fewest < 2:
        return USUAL, f"not chosen: a class has {counted(fewest, 'clip')}"
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    grid = {"logisticregression__C": STRENGTHS}
    search = GridSearchCV(regression_model(USUAL), grid, scoring="neg_log_loss", cv=folds, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a weak regularisation does not converge
        search.fit(features, labels, groups=groups)
    why = f"chosen by {folds.get_n_splits()}-fold cross-validation of the training clips"
    return float(search.best_params_["logisticregression__C"]), why


def _pooling(known: Features) -> Literal["mean", "change"]:
    return "change" if known.values.shape[1] > 1 else "mean"


def _pooled(values: npt.NDArray[np.float32], pooling: Literal["mean", "change"]) -> Floats:
    return pool(torch.from_numpy(values).double().transpose(1, 2), pooling).numpy()


def _fit(
    features: Floats, labels: npt.NDArray[np.int64], clip: npt.NDArray[np.int64], classes: int, seed: int
) -> tuple[_Linear, float, str]:
    """Logistic regression, its strength, and how that was chosen. Rows of one clip stay in one fold."""
    present = np.unique(labels)
    strength, why = chosen_strength(features, labels, clip, seed)
    model = regression_model(strength)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a weak regularisation does not converge
        model.fit(features, labels)
    scaler, regression = model[0], model[1]
    weight, bias = regression.coef_ / scaler.scale_, regression.intercept_
    bias = bias - weight @ scaler.mean_
    if len(present) == 2:  # scikit-learn has one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    full, shift = np.zeros((classes, features.shape[1])), np.zeros(classes)
    if len(present) < classes:
        full += weight.mean(axis=0)
        shift += bias.mean() + _ABSENT
    full[present], shift[present] = weight, bias
    return _Linear(full, shift), strength, why
