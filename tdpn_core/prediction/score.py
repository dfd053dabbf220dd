"""Score clips with a model: sample views, compute probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tdpn_core.config.schema import RunConfig, parse_views
from tdpn_core.errors import TdpnError
from tdpn_core.prediction.models import Model
from tdpn_core.prediction.timeline import Answer, Scores
from tdpn_core.prediction.windows import Window
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards.file_clip import StreamedClip

_VIEWS_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A model with its sampling settings."""

    model: Model
    config: RunConfig
    """The model's own settings, except for requested changes such as other views."""

    def views(self, clip: ClipSource) -> Tensor:
        """Return the test views (V, 3, T, H, W) uint8 of a source's only clip, as in an evaluation."""
        return ViewClips(clip, self.config.model, self.config.sampling)[0].clip

    def scores(self, clips: Sequence[Tensor], name: str) -> list[Scores]:
        """Return mean probabilities of clips, each given by its views; all of one shape.

        The model's temperature, if it was calibrated, is applied to each view.

        Raises:
            TdpnError: they are not finite; the message contains `name`.
        """
        by_head = self.model.probabilities(torch.cat(list(clips)))
        if (calibration := self.model.calibration) is not None:
            temperatures = calibration.temperature
            by_head = {head: at_temperature(values, temperatures.get(head, 1)) for head, values in by_head.items()}
        means = {head: values.unflatten(0, (len(clips), -1)).mean(dim=1).numpy() for head, values in by_head.items()}
        if not all(np.isfinite(values).all() for values in means.values()):
            hint = "the weights are invalid; use another checkpoint"
            raise TdpnError("the network's scores are not finite", where=name, hint=hint)
        return [{head: values[index] for head, values in means.items()} for index in range(len(clips))]

    def windows(self, windows: Iterable[Window], name: str, *, batch: bool = True) -> Iterator[Answer]:
        """Score windows in order, several at a time unless `batch` is false.

        An error or Ctrl-C while reading the stream is raised after the answers for all previous windows.
        """
        times, crops = parse_views(self.config.sampling.views)
        size = max(1, _VIEWS_AT_ONCE // (times * crops)) if batch else 1
        held = _Held(windows)
        stream = iter(held)
        while group := list(islice(stream, size)):
            views = [self.views(StreamedClip(window.frames, self.config.data, name)) for window in group]
            for window, scores in zip(group, self.scores(views, name), strict=True):
                yield Answer(window, scores)
        if held.error is not None:
            raise held.error


def at_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    """Return the softmax of logits / `temperature` over the last axis, from the softmax of the logits."""
    if temperature == 1:
        return probabilities  # the same bits
    raised = probabilities.pow(1 / temperature)
    return raised / raised.sum(dim=-1, keepdim=True)


class _Held:
    """Iterates over a stream until an error or Ctrl-C, which is kept for later."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._windows = windows
        self.error: TdpnError | KeyboardInterrupt | None = None

    def __iter__(self) -> Iterator[Window]:
        try:
            yield from self._windows
        except (TdpnError, KeyboardInterrupt) as error:
            self.error = error
