"""Metadata of one published checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tdpn_core.checksum import Checksum

_BYTES = 4  # per float32 parameter


@dataclasses.dataclass(frozen=True)
class Web:
    """A file that can be downloaded."""

    url: str

    @property
    def suffix(self) -> str:
        """Suffix of the file name."""
        return PurePosixPath(urlsplit(self.url).path).suffix

    def __str__(self) -> str:
        return self.url


@dataclasses.dataclass(frozen=True)
class Package:
    """A file inside an installed Python package."""

    distribution: str
    file: str
    extra: str
    """The extra of tdpn that installs it."""

    @property
    def suffix(self) -> str:
        """Suffix of the file name."""
        return PurePosixPath(self.file).suffix

    def __str__(self) -> str:
        return f"the Python package {self.distribution} (pip install 'tdpn[{self.extra}]')"


@dataclasses.dataclass(frozen=True)
class ByHand:
    """A file that its owner publishes without a direct URL."""

    where: str
    suffix: str = ".pth"

    def __str__(self) -> str:
        return f"by hand: {self.where}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """One published checkpoint: a row of the zoo."""

    name: str
    family: str
    arch: str
    data: str
    """Training data, named as in papers."""

    frames: int
    """Frames per clip in testing."""

    interval: int | None
    """Interval of these frames in the video; None: they are spread over the entire video."""

    top1: float | None
    """Accuracy in per cent on the validation set of `data`, as published by `reported`; not measured with tdpn."""

    top5: float | None
    reported: str
    """Source of the accuracies."""

    licence: str
    source: Web | Package | ByHand
    checksum: Checksum | None = None
    """None: not published; the digest of the first download is recorded instead."""

    parameters: float
    """Parameters in the file, in millions, including an auxiliary head."""

    note: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of `ModelConfig` that cannot be read from the file, except the number of frames."""

    class_list: str | None
    """Name of its file in the folder `class_lists`; None: the class order is unknown."""

    starts: str | None = None
    """Depth for which `--init imagenet` uses this file; None: it is not used."""

    @property
    def file(self) -> str:
        """File name in the cache."""
        return self.name + self.source.suffix

    @property
    def published_file(self) -> str:
        """File name used by the project; the name in the cache if it is unknown."""
        match self.source:
            case Web(url):
                return PurePosixPath(urlsplit(url).path).name
            case Package(file=file):
                return file
        return self.file

    @property
    def clip(self) -> str:
        """Frames x interval, such as `8x8`, or the number of segments, such as `8`."""
        return f"{self.frames}" if self.interval is None else f"{self.frames}x{self.interval}"

    @property
    def network(self) -> dict[str, Any]:
        """Fields of `ModelConfig` that cannot be read from the file."""
        return {"name": self.family, "num_frames": self.frames, **self.settings}

    @property
    def sampling(self) -> dict[str, Any]:
        """Fields of `SamplingConfig` that differ from the project's defaults."""
        return {"mode": "segments"} if self.interval is None else {"mode": "dense", "interval": self.interval}

    @property
    def megabytes(self) -> float:
        """Size of the file in MB, estimated from its parameters, since most projects do not publish it."""
        return _BYTES * self.parameters

    @property
    def size(self) -> str:
        """`megabytes` as text."""
        return f"about {self.megabytes:.0f} MB"

    @property
    def accuracy(self) -> str:
        """Top-1 and top-5 as text, such as `76.74 / 92.57`, as far as they are known."""
        if self.top1 is None:
            return "–"
        return f"{self.top1:.2f}" + (f" / {self.top5:.2f}" if self.top5 is not None else "")
