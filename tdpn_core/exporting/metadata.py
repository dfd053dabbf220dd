"""Metadata of an exported file, sufficient for programs to use it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from tdpn_core.checkpoint import Calibration
from tdpn_core.config.schema import RunConfig, to_dict
from tdpn_core.prediction.exported import INPUT
from tdpn_core.version import __version__


def describe(
    config: RunConfig, *, epoch: int | None = None, int8: bool = False, calibration: Calibration | None = None
) -> dict[str, Any]:
    """Return labels, input and sampling as JSON values."""
    model, sampling = config.model, config.sampling
    frames = model.num_frames * model.frames_per_step
    return {
        "labels": config.data.classes,
        "input": {
            "name": INPUT,
            "shape": ["N", frames, model.input_size, model.input_size, model.channels],
            "type": "uint8",
            "colours": "RGB" if model.modality == "rgb" else "flow u, v",
        },
        "outputs": {head: ["N", count] for head, count in model.num_classes.items()},
        "sampling": {
            "mode": sampling.mode,
            "num_frames": model.num_frames,
            "interval": sampling.interval if sampling.mode == "dense" else None,
            "frames_per_step": model.frames_per_step,
            "short_side": sampling.short_side,
        },
        "weights": "int8" if int8 else "float32",
        "epoch": epoch,
        "calibration": None if calibration is None else asdict(calibration),
        "config": to_dict(config),
        "made_with": {"tdpn": __version__, "torch": torch.__version__},
    }
