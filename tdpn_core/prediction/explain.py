"""`--explain`: class activation maps and responses of the difference modules, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core import defaults
from tdpn_core.config.family_settings import DifferenceConfig
from tdpn_core.config.schema import RunConfig, SamplingConfig
from tdpn_core.evaluation.inference import probabilities
from tdpn_core.model.base import Network
from tdpn_core.model.temporal_difference import LocalDifference, TemporalDifference
from tdpn_core.prediction.drawing import caption_height, draw_caption, draw_scale, draw_title, merged
from tdpn_core.prediction.results import rank
from tdpn_core.prediction.score import Scorer
from tdpn_core.prediction.windows import Window, Windowing, slide
from tdpn_core.sampling import transforms as pixels
from tdpn_core.sampling.frame_indices import view_indices
from tdpn_core.sampling.transforms import normalise
from tdpn_core.shards.file_clip import StreamedClip
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.stream import StreamedFrame
from tdpn_core.video.writer import write_pictures


@dataclass(frozen=True)
class Heat:
    """Maps (T, S, S) of a clip, with values of at least 0."""

    activation: Tensor
    """Class activation map of the most likely class, mean over the heads, at most 1."""

    motion: dict[str, Tensor]
    """By kind of difference module, `global` and `local`: its share of the output, in [0, 1], mean over levels."""

    scores: dict[str, Tensor]
    """Probabilities (classes,) by head, float64."""


@torch.inference_mode()
def heat_of(network: Network, view: Tensor, sampling: SamplingConfig, *, multilabel: bool = False) -> Heat:
    """Compute the maps of one view (C, F, S, S) uint8."""
    device = next(network.parameters()).device
    with _watching(network) as seen:
        features = network.feature_maps(normalise(view[None].to(device), sampling)).top
    logits: dict[str, Tensor] = network.head(features)
    steps, size = network.config.num_frames, (view.shape[2], view.shape[3])
    activations = [
        _activation(
            features[0], network.head.linear.get_parameter(f"{head}.weight")[values[0].argmax(), : features.shape[1]]
        )
        for head, values in logits.items()
    ]
    motion = {
        kind: torch.stack([_spread(part, steps, size) for part in parts]).mean(0) for kind, parts in seen.parts.items()
    }
    scores = {head: probabilities(values.double(), multilabel=multilabel)[0].cpu() for head, values in logits.items()}
    return Heat(_spread(torch.stack(activations).mean(0), steps, size), motion, scores)


def _activation(features: Tensor, weight: Tensor) -> Tensor:
    """Return the evidence for a class at each position (T', H', W') of features (C, T', H', W'), with maximum 1."""
    evidence = torch.einsum("cthw,c->thw", features, weight[: len(features)]).clamp_min(0)
    return evidence / evidence.max().clamp_min(1e-12)


def _spread(values: Tensor, steps: int, size: tuple[int, int]) -> Tensor:
    """Upsample (T', H', W') to every sampled frame and pixel, (T, S, S) on the CPU."""
    times = torch.arange(steps, device=values.device) * values.shape[0] // steps
    grown = F.interpolate(values[times][:, None].float(), size, mode="bilinear", align_corners=False)
    return grown[:, 0].cpu()


@dataclass
class _MotionParts:
    """Shares (T, H', W') of the difference modules in their outputs, by kind, one per level."""

    parts: dict[str, list[Tensor]] = field(default_factory=dict)

    def keep(self, kind: str, entered: Tensor, added: Tensor) -> None:
        before, motion = entered[0].abs().mean(0), added[0].abs().mean(0)
        self.parts.setdefault(kind, []).append(motion / (before + motion).clamp_min(1e-12))

    def on_global(self, module: nn.Module, entered: tuple[Tensor], left: Tensor) -> None:
        self.keep("global", entered[0], left - entered[0])

    def on_local(self, module: nn.Module, entered: tuple[Any, Mapping[str, Tensor]], left: dict[str, Tensor]) -> None:
        assert isinstance(module, LocalDifference)
        for name, level in entered[1].items():
            added = left[name] - level if module.fusion == "add" else 2 * left[name] - level
            self.keep("local", level, added)


@contextmanager
def _watching(network: Network) -> Iterator[_MotionParts]:
    """Record the contributions of the network's difference modules, if it has any."""
    seen = _MotionParts()
    hooks = []
    for module in network.modules():
        if isinstance(module, TemporalDifference):
            hooks += [part.register_forward_hook(seen.on_global) for part in module.on_global.values()]
            if module.local is not None:
                hooks.append(module.local.register_forward_hook(seen.on_local))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


_SMALLEST = 224  # side of a panel in pixels; smaller inputs are enlarged
_TITLE = 26
_ROWS = 3
_FEWEST, _MOST = 20.0, 240.0  # frames per second of the output
_LONGEST_GAP = 300.0  # seconds; larger jumps in time are invalid
_FAINTEST = 0.05  # a response below this never fills the scale
_STOPS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)
_COLOURS = np.stack([np.interp(np.arange(256), np.linspace(0, 255, 5), _STOPS[:, c]) for c in range(3)], 1)
_ACTIVATION = "class activation"
_TITLES = {"global": "global difference", "local": "local difference"}

Picture = npt.NDArray[np.uint8]


class _Seen(NamedTuple):
    """A window and the network's result."""

    window: Window
    heat: Heat
    sampled: npt.NDArray[np.int64]
    """(T,) numbers of the sampled frames within the window."""


def explain(
    frames: Iterable[StreamedFrame], windowing: Windowing, scorer: Scorer, out: Path, program: Program, *, name: str
) -> None:
    """Write a video of panels for the network's input (its centre crop): the class activation map of the most likely
    class, and the responses of the global and local difference modules if the network has them. Each panel has a
    title, and a scale for its colours.

    Windows slide over the frames; each frame is shown with the window whose centre is nearest, from its own time on,
    even if times are uneven. Responses are scaled by the largest so far.

    Raises:
        ClipError: the frames cannot be read; the output is then removed.
        UsageError: the model is an exported file, which cannot be explained.
    """
    config = replace(scorer.config, sampling=replace(scorer.config.sampling, views="1x1"))
    scorer = replace(scorer, config=config)
    painter = _Painter(config, panels(scorer))
    shown = painter.pictures(_seen(frames, windowing, scorer, name))
    first = next(shown)  # fails before the file is created if there are no frames
    film = paced(chain([first], shown), painter.fps, painter.each)
    write_pictures(film, painter.size, painter.fps, out, program, where=Path(name))


def paced(pictures: Iterable[tuple[float, bytes]], fps: float, last: int = 1) -> Iterator[bytes]:
    """Convert pictures, each with its start time in seconds, to a constant frame rate by repeating or dropping them.

    The first is shown from the start, the last one `last` times; gaps are limited to `_LONGEST_GAP`.
    """
    shown: bytes | None = None
    begin = 0
    lag = 0  # frames by which gaps were shortened
    for seconds, picture in pictures:
        if shown is not None:
            place = round(seconds * fps) - lag
            longest = begin + round(_LONGEST_GAP * fps)
            if place > longest:
                lag, place = lag + place - longest, longest
            yield from repeat(shown, max(0, place - begin))
            begin = max(begin, place)
        shown = picture
    if shown is not None:
        yield from repeat(shown, last)


def film_rate(fps: float) -> tuple[float, int]:
    """Return the output frame rate for frames at `fps`, and the repetitions of each, for accurate timing."""
    each = max(1, math.ceil(_FEWEST / fps - 0.1))  # 0.1: a measured rate is not exact
    return min(fps * each, _MOST), each


def panels(scorer: Scorer) -> list[str]:
    """Return the kinds of difference modules that the network has."""
    network = scorer.config.model
    if not isinstance(network, DifferenceConfig) or not hasattr(scorer.model.inside(), "temporal_difference"):
        return []
    return [kind for kind in _TITLES if kind in network.temporal]


def _seen(frames: Iterable[StreamedFrame], windowing: Windowing, scorer: Scorer, name: str) -> Iterator[_Seen]:
    config = scorer.config
    for window in slide(frames, windowing, config):
        view = scorer.views(StreamedClip(window.frames, config.data, name))[0]
        heat = heat_of(scorer.model.inside(), view, config.sampling, multilabel=config.data.multilabel)
        (sampled,) = view_indices(len(window.frames), config.model.num_frames, config.sampling, 1)
        yield _Seen(window, heat, sampled)


class _Painter:
    """Draws frames with their maps."""

    def __init__(self, config: RunConfig, kinds: list[str]) -> None:
        side = config.model.input_size
        self.side = side * -(-_SMALLEST // side) // 2 * 2
        self.kinds = kinds
        self.config = config
        self.width = self.side * (1 + len(kinds))
        self.size = (2 * _TITLE + self.side + caption_height(self.width, _ROWS), self.width)
        self.fps, self.each = defaults.FRAME_RATE, 1
        self.largest = dict.fromkeys(kinds, _FAINTEST)
        titles = [_ACTIVATION, *(_TITLES[kind] for kind in kinds)]
        self.title = np.concatenate([np.asarray(draw_title(self.side, _TITLE, text)) for text in titles], 1)

    def pictures(self, seen: Iterator[_Seen]) -> Iterator[tuple[float, bytes]]:
        """Yield every frame once, in order: its time in seconds and its picture as raw RGB."""
        last: _Seen | None = None
        start = -np.inf
        for one in seen:
            if last is None:
                self.fps, self.each = film_rate(1 / max(one.window.end - one.window.frames[-1].seconds, 1e-3))
            else:
                border = (last.window.middle + one.window.middle) / 2
                yield from self._share(last, start, border)
                start = border
            last = one
        if last is not None:
            yield from self._share(last, start, np.inf)

    def _share(self, seen: _Seen, start: float, end: float) -> Iterator[tuple[float, bytes]]:
        """Yield the frames of a window from `start` to `end`."""
        for kind in self.kinds:
            self.largest[kind] = max(self.largest[kind], float(seen.heat.motion[kind].max()))
        scores = {head: values.numpy() for head, values in seen.heat.scores.items()}
        ranking = merged(list(rank(scores, self.config.data.classes, _ROWS).values()))
        foot = np.concatenate([self._legend(), np.asarray(draw_caption(self.width, _ROWS, ranking))])
        clip = StreamedClip(seen.window.frames, self.config.data, "")
        for number, frame in enumerate(seen.window.frames):
            if start <= frame.seconds < end:
                step = int(np.abs(seen.sampled - number).argmin())
                picture = np.concatenate([self.title, self._panels(clip, number, seen.heat, step), foot])
                yield frame.seconds, picture.tobytes()

    def _legend(self) -> Picture:
        """Draw the colour scale below each panel: evidence for the class, or share of motion."""
        ends = [("no evidence", "most"), *(("motion 0%", f"{self.largest[kind]:.0%}") for kind in self.kinds)]
        return np.concatenate([np.asarray(draw_scale(self.side, _TITLE, _COLOURS, *pair)) for pair in ends], 1)

    def _panels(self, clip: StreamedClip, number: int, heat: Heat, step: int) -> Picture:
        decoded = pixels.decode(clip, 0, np.array([number]))
        crop = pixels.view_crops(decoded, 1, self.config.sampling, self.config.model.input_size)[0]
        picture = self._enlarged(crop.float())[0].permute(1, 2, 0).numpy()
        maps = [heat.activation[step], *(heat.motion[kind][step] / self.largest[kind] for kind in self.kinds)]
        grown = [self._enlarged(values[None, None])[0, 0].numpy() for values in maps]
        return np.concatenate([_heated(picture, values) for values in grown], 1)

    def _enlarged(self, values: torch.Tensor) -> torch.Tensor:
        return F.interpolate(values, (self.side, self.side), mode="bilinear", align_corners=False)


def _heated(picture: npt.NDArray[np.float32], heat: npt.NDArray[np.float32]) -> Picture:
    """Overlay a picture (H, W, 3) with its map (H, W), more opaque at higher values."""
    heat = heat.clip(0, 1)
    share = 0.25 + 0.5 * heat[..., None]
    colour = _COLOURS[(heat * 255).round().astype(np.int64)]
    mixed: Picture = ((1 - share) * picture + share * colour).clip(0, 255).astype(np.uint8)
    return mixed
