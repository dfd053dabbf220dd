"""Description of a project whose checkpoints can be read: its names for our entries, its pixels and its sampling."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.errors import CheckpointError
from tdpn_core.modality import Modality
from tdpn_core.recipes.auto_recipe import Pixels
from tdpn_core.weights.protocol import FLOW, SEGMENTS, Protocol
from tdpn_core.weights.rename_rules import Rule, some

InputLayout = Literal["NCTHW", "NTCHW", "N(TC)HW", "NCHW"]
"""Input layout of a reference model: channels first, frames first, frames stacked on channels, or one image."""

Answer = Literal["logits", "probabilities", "steps"]
"""Output of a reference model: logits (N, classes), their softmax, or logits per time step (N, classes, T')."""


class Entries:
    """A file's tensors, its name and settings, with queries for recognition."""

    def __init__(self, tensors: Mapping[str, Tensor], *, file_name: str = "", settings_text: str = "") -> None:
        self.tensors = dict(tensors)
        self.file_name = file_name
        self.settings_text = settings_text

    def has(self, pattern: str) -> bool:
        """Return whether a name fully matches `pattern`."""
        return any(re.fullmatch(pattern, name) for name in self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an entry.

        Raises:
            CheckpointError: there is no such entry.
        """
        if name not in self.tensors:
            raise CheckpointError(f"lacks {name}")
        return tuple(self.tensors[name].shape)

    def distinct(self, pattern: str) -> list[str]:
        """Return the distinct values of the first group of `pattern` in the names that match it, in order."""
        found = (re.fullmatch(pattern, name) for name in self.tensors)
        return list(dict.fromkeys(match[1] for match in found if match))

    def time(self, name: str) -> int:
        """Return the temporal size of a kernel; 1 for a 2D kernel."""
        shape = self.shape(name)
        return shape[2] if len(shape) == 5 else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A recognised checkpoint: its network, and how to call the reference model."""

    settings: dict[str, Any]
    """Fields of `ModelConfig`."""

    rules: tuple[Rule, ...]
    layout: InputLayout = "NCTHW"
    answer: Answer = "logits"

    protocol: Protocol | None = None
    """Sampling of this one checkpoint, where its name says another than the project's for its family."""

    alternatives: Mapping[str, Finding] = dataclasses.field(default_factory=dict)
    """What else the same tensors can be, by family, where neither the file's name nor its settings say which."""

    pathways: int = 1
    """2 if the reference takes a list: the slow clip and the fast one."""

    prepare: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None
    """Applied to the tensors before they are renamed, where one of our entries is made of two of theirs."""

    fitted: Callable[[int], dict[str, Any]] | None = None
    """Fields of `ModelConfig`, other than `num_frames`, that depend on the number of frames T of a clip."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose checkpoints are recognised."""

    name: str
    marks: tuple[str, ...]
    """Patterns that each match a name in every checkpoint of the project and in none of another project's."""

    examine: Callable[[Entries], Finding]
    """Finds the network and its settings from the entries; raises CheckpointError for a network that we lack."""

    pixels: Pixels
    """For RGB clips."""

    protocols: Mapping[str, Protocol]
    """Sampling by family, for each family that its checkpoints can belong to, by our names."""

    flow_pixels: Pixels = FLOW
    """For optical flow."""

    clip_in_name: str = ""
    """A pattern with the groups `frames`, `interval` or `segments` that finds the clip in the names of its files."""

    tells: Callable[[Entries], bool] = lambda _: True
    """Whether entries with its marks are the project's, where another's have the same names."""

    @property
    def families(self) -> tuple[str, ...]:
        """Families that its checkpoints can belong to, by our names."""
        return tuple(self.protocols)

    def recognises(self, entries: Entries) -> bool:
        """Return whether a file with these entries belongs to the project."""
        return all(entries.has(mark) for mark in self.marks) and self.tells(entries)

    def sampling(self, family: str, modality: Modality = "rgb", protocol: Protocol | None = None) -> SamplingConfig:
        """Return the project's normalisation and sampling; `protocol` replaces the sampling of the family.

        A family that the project does not have is sampled by segments.
        """
        protocol = protocol or self.protocols.get(family, SEGMENTS)
        pixels = self.flow_pixels if modality == "flow" else protocol.pixels or self.pixels
        return SamplingConfig(
            mode=protocol.mode,
            interval=protocol.interval,
            views=protocol.views,
            short_side=protocol.short_side,
            mean=pixels.mean,
            std=pixels.std,
        )


def residual_depth(entries: Entries, prefix: str, conv: str = "conv{}.weight") -> str:
    """Return our name for the depth of a residual network with torchvision's stage names, `layer1.0` to `layer4.N`.

    `prefix` precedes them; `conv` is the name of a block's convolutions.

    Raises:
        CheckpointError: tdpn has no such network.
    """
    p = re.escape(prefix)
    counts = [len(entries.distinct(rf"{p}layer{stage}\.(\d+)\..+")) for stage in range(1, 5)]
    bottleneck = entries.has(p + r"layer1\.0\." + re.escape(conv.format(3)))
    width = entries.shape(f"{prefix}layer1.0.{conv.format(1)}")[0]
    inner = entries.shape(f"{prefix}layer1.0.{conv.format(2)}")[1]
    if width != inner:
        raise CheckpointError("a residual network with grouped convolutions, which no tdpn model has")
    return depth(counts, bottleneck=bottleneck)


def depth(counts: Sequence[int], *, bottleneck: bool) -> str:
    """Return our name for the residual network with these numbers of blocks in its four stages.

    Raises:
        CheckpointError: tdpn has no such network.
    """
    known = {
        ((2, 2, 2, 2), False): "r18",
        ((3, 4, 6, 3), False): "r34",
        ((3, 4, 6, 3), True): "r50",
        ((3, 4, 23, 3), True): "r101",
    }
    found = (tuple(counts), bottleneck)
    if found not in known:
        kind = "bottlenecks" if bottleneck else "basic blocks"
        raise CheckpointError(
            f"a residual network of {tuple(counts)} {kind}, which no tdpn model has",
            hint="supported depths: 18, 34, 50 and 101",
        )
    return known[found]


def stage_kernels(entries: Entries, prefix: str, conv: str = "conv1.weight") -> tuple[int, ...]:
    """Return the temporal kernel size of the first block of each stage."""
    return tuple(entries.time(f"{prefix}layer{stage}.0.{conv}") for stage in range(1, 5))


def refuse(entries: Entries, pattern: str, what: str) -> None:
    """Reject a file with entries of something that our networks do not have.

    Raises:
        CheckpointError: an entry matches `pattern`.
    """
    found = [name for name in entries.tensors if re.fullmatch(pattern, name)]
    if found:
        raise CheckpointError(f"has {what} ({some(found)}), which no tdpn model has")
