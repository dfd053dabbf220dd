"""What `predict --archive` computes of each clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from tdpn_core.archive import Outcome
from tdpn_core.archive.table import Column
from tdpn_core.errors import UsageError
from tdpn_core.files import digest_file
from tdpn_core.prediction.models import open_model
from tdpn_core.prediction.options import PredictOptions
from tdpn_core.prediction.predict import predict_with
from tdpn_core.prediction.results import COLUMNS, rows_of
from tdpn_core.video.ffmpeg_binary import find_ffmpeg
from tdpn_core.video.inputs import Input

TABLE = "predictions.csv"
"""Default name of the table in a folder."""

_WITHOUT_EFFECT = ("force", "fetch_limits", "clip_timeout", "max_pixels")
"""Options that do not change a result, only whether there is one."""

_CLIP_BY_CLIP = ("webcam", "segments", "overlay", "explain")


@dataclass(frozen=True)
class PredictionWork:
    """The predictions of each clip: the rows of `predict --csv`."""

    checkpoint: Path
    options: PredictOptions
    columns: ClassVar[Sequence[Column]] = COLUMNS
    doing: ClassVar[str] = "predicting"

    def check(self) -> None:
        """
        Raises:
            UsageError: an option is for single clips.
        """
        for name in _CLIP_BY_CLIP:
            if getattr(self.options, name) is not None:
                raise UsageError("has no effect on an archive", where=f"--{name}", hint="leave it out")

    def absolute(self) -> PredictionWork:
        """Return the same work with absolute paths, for processes in other folders."""
        classes = self.options.classes
        options = replace(self.options, classes=None if classes is None else classes.absolute())
        return PredictionWork(self.checkpoint.absolute(), options)

    def key(self) -> str:
        """Return a digest of the network and of all options that change a result."""
        values = asdict(self.options)
        for name in _WITHOUT_EFFECT:
            del values[name]
        if self.options.classes is not None and self.options.classes.is_file():
            values["classes"] = digest_file(self.options.classes)
        text = json.dumps([digest_file(self.checkpoint), values], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def open(self, device: torch.device) -> Callable[[Input], Outcome]:
        """Load the network; returns what predicts a clip.

        Raises:
            CheckpointError: the network's file is damaged.
            UsageError: the network does not support an option.
        """
        asked = self.options
        model = open_model(self.checkpoint, device=device, classes=asked.classes, ema=asked.ema, trusted=asked.trusted)
        program = find_ffmpeg()

        def compute(clip: Input) -> Outcome:
            (prediction,) = predict_with(model, self.checkpoint, [clip], options=asked, program=program)
            return Outcome(rows_of(prediction), str(prediction.error) if prediction.error else "")

        return compute
