"""The learning rate as a pure function of where training stands."""

from __future__ import annotations

import math

from tdpn_core.checkpoint import TrainingState
from tdpn_core.config import TrainConfig


def learning_rate(config: TrainConfig, epochs: float, *, drops: int = 0) -> float:
    """The rate after `epochs` epochs (a fraction inside an epoch).

    `drops` counts the divisions that the plateau schedule has made. `step` divides by 10 at each milestone, `cosine`
    falls to zero over `config.epochs` (SGDR's half period), and all rise linearly over `warmup_epochs` first.
    """
    warmup = min(1.0, epochs / config.warmup_epochs) if config.warmup_epochs > 0 else 1.0
    match config.schedule:
        case "step":
            scale = 0.1 ** sum(epochs >= milestone for milestone in config.milestones)
        case "plateau":
            scale = 0.1**drops
        case "cosine":
            after = max(0.0, epochs - config.warmup_epochs) / max(1e-9, config.epochs - config.warmup_epochs)
            scale = (1 + math.cos(math.pi * min(1.0, after))) / 2
    return config.lr * warmup * scale


def is_over(config: TrainConfig, state: TrainingState) -> bool:
    """Whether no epoch is left: all are done, or `stop_after` of them went by without a better result."""
    return state.epoch >= config.epochs or bool(config.stop_after and _stale(state) >= config.stop_after)


def _stale(state: TrainingState) -> int:
    """Epochs since the best one: of the highest validation top-1 (ties: the lower loss)."""
    best = (-1.0, -math.inf)
    stale = 0
    for row in state.history:
        result = (row.get("val_top1", row["top1"]), -row.get("val_loss", row["loss"]))
        stale = 0 if result > best else stale + 1
        best = max(best, result)
    return stale
