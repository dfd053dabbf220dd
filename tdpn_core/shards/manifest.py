"""The list of a prepared data set's shards: written last, so only what it names exists."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tdpn_core import files
from tdpn_core.config import from_dict
from tdpn_core.errors import ConfigError, ShardError, UsageError

MANIFEST = "manifest.json"
SCHEMA = 1
_FILE_NAME = re.compile(r"[a-z]+-\d{5}\.h5")
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True)
class Shard:
    """One file of the data set."""

    __pydantic_config__ = _STRICT

    file: str
    split: str
    bytes: int
    sha256: str
    index_digest: str
    """Of the shard's own attribute of that name: a shard that was exchanged is noticed when it is opened."""

    clips: int
    frames: int


@dataclass(frozen=True)
class Failure:
    """A clip that is not in the data set, and why."""

    __pydantic_config__ = _STRICT

    id: str
    source: str
    reason: str
    stamp: str
    """Size and modification time of the file when it failed: while they stay, so does the failure. Empty: try again."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A prepared data set."""

    __pydantic_config__ = _STRICT

    schema: int = SCHEMA
    dataset: str
    root: str
    """Where the clips were; for information only."""

    classes: dict[str, list[str]]
    """Class names of each head, in the order of the labels."""

    settings: dict[str, Any]
    """How the frames were made."""

    shards: list[Shard] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    complete: bool = False
    """False while `prep` has not come to its end."""

    @property
    def classes_digest(self) -> str:
        """sha256 of the class names in their order."""
        return classes_digest(self.classes)

    @property
    def digest(self) -> str:
        """sha256 of classes, settings and shards: the same digest, the same clips to the last bit."""
        content = [self.dataset, self.classes, self.settings, [asdict(shard) for shard in self.shards]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def of_split(self, split: str) -> list[Shard]:
        """The shards of one split, in order."""
        return [shard for shard in self.shards if shard.split == split]

    def clips(self) -> dict[str, int]:
        """Number of clips in each split."""
        splits = dict.fromkeys(shard.split for shard in self.shards)
        return {split: sum(shard.clips for shard in self.of_split(split)) for split in splits}

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""
        values = {**asdict(self), "classes_digest": self.classes_digest, "digest": self.digest}
        files.write_text(folder / MANIFEST, json.dumps(values, indent=1, allow_nan=False) + "\n")


def classes_digest(classes: Mapping[str, Sequence[str]]) -> str:
    """sha256 of the class names of each head, in their order."""
    return hashlib.sha256(json.dumps({head: list(names) for head, names in classes.items()}).encode()).hexdigest()


def load_manifest(folder: Path, *, unfinished: bool = False) -> Manifest:
    """Read the manifest of a prepared data set.

    Args:
        folder: of the data set.
        unfinished: accept one whose preparation was interrupted.

    Raises:
        ShardError: there is none, it is damaged, of another version, or unfinished.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        stated = [values.pop(name) for name in ("classes_digest", "digest")]
        manifest = from_dict(Manifest, values)
    except FileNotFoundError:
        raise ShardError("no prepared data set here", where=folder, hint="run tdpn prep …") from None
    except (ValueError, KeyError, AttributeError, TypeError, ConfigError) as error:
        raise ShardError(f"damaged manifest: {str(error)[:160]}", where=path, hint="prepare the data again") from error
    except OSError as error:
        raise ShardError(f"cannot be read: {error.strerror}", where=path) from error
    if manifest.schema != SCHEMA:
        raise ShardError(f"is of schema {manifest.schema}, not {SCHEMA}", where=path, hint="prepare the data again")
    for shard in manifest.shards:
        if not _FILE_NAME.fullmatch(shard.file):
            raise ShardError(f"names {shard.file!r}, which is not a shard of this folder", where=path)
    if stated != [manifest.classes_digest, manifest.digest]:
        raise ShardError("damaged manifest: its content does not match its digest", where=path)
    if not (manifest.complete or unfinished):
        hint = "run the same tdpn prep command again to finish"
        raise ShardError("its preparation was interrupted", where=folder, hint=hint)
    return manifest


def find_prepared(data: Path | None = None) -> Path:
    """The folder of a prepared data set: `data`, else the only one under ./data.

    Raises:
        UsageError: there is none, or more than one.
    """
    if data is not None:
        if (data / MANIFEST).is_file():
            return data
        raise UsageError("no prepared data set here", where=data, hint="run tdpn prep …, or give another --data")
    found = sorted(path.parent for path in Path("data").glob(f"*/{MANIFEST}"))
    if not found:
        raise UsageError("no prepared data set under data/", hint="run tdpn prep …")
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found)
        raise UsageError(f"several prepared data sets: {names}", hint="choose one with --data")
    return found[0]
