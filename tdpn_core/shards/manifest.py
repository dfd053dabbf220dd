"""The list of a prepared data set's shards: written last, so only what it names exists."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tdpn_core.config.schema import from_dict
from tdpn_core.errors import ConfigError, ShardError, UsageError

MANIFEST = "manifest.json"
LEDGER = "ledger"
"""Folder of the preparation's records; without a manifest beside it, the preparation has not come to its end."""

SCHEMA = 3
AGAIN = "prepare the data again"
_FILE_NAME = re.compile(r"[a-z]+-\d{5}-\d{2}-[0-9a-f]{8}\.h5")
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True)
class Shard:
    """One file of the data set."""

    __pydantic_config__ = _STRICT

    file: str
    """`<split>-<block>-<part>-<first digits of index_digest>.h5`: other content has another name."""

    split: str
    bytes: int
    sha256: str
    index_digest: str
    """Of the shard's own attribute of that name: a shard that was exchanged is noticed when it is opened."""

    clips: int
    frames: int
    head_bytes: int
    """Bytes before the items: HDF5's own structures and the tables."""

    head_sha256: str
    """Of these bytes; HDF5 reads them only if they match, since damage can make its reader loop forever."""


Evidence = Literal["name", "bytes", "look", "mirror"]
"""By what two clips are taken for one recording: their names, equal bytes, or looks, as they are or mirrored."""


_MEANING = {"name": "by name", "bytes": "the same bytes", "look": "alike", "mirror": "mirrored"}


@dataclass(frozen=True)
class Twin:
    """A clip that shows what another one shows."""

    __pydantic_config__ = _STRICT

    clip: str
    """Its id."""

    split: str
    twin: str
    """The id of the other: across the split if there is one; else an earlier one of the same split."""

    twin_split: str
    how: Evidence


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

    label_order: str
    """Where that order comes from, in words."""

    settings: dict[str, Any]
    """How the frames were made."""

    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = field(default_factory=dict)
    """Parts of a split or of a head's classes that are scored on their own, as the data set's owner defines them."""

    made_with: dict[str, str] = field(default_factory=dict)
    """Versions of the programs that made it; for information only."""

    shards: list[Shard] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """Clips of each split that could not be prepared; the ledger tells why."""

    listed: dict[str, int] = field(default_factory=dict)
    """Clips that the data set's own annotations list, on disk or not, of each split that they list."""

    twins: list[Twin] = field(default_factory=list)
    """Clips of which another one is a copy or nearly so; those across a split come first."""

    def across(self, split: str) -> list[Twin]:
        """Clips of `split` that have a twin in a split before it: `val` and `test` in `train`, `test` in `val`."""
        return [twin for twin in self.twins if twin.split == split != twin.twin_split]

    @property
    def classes_digest(self) -> str:
        """sha256 of the class names in their order."""
        return classes_digest(self.classes)

    @property
    def digest(self) -> str:
        """sha256 of classes, settings and shards: the same digest, the same clips to the last bit."""
        content = [self.dataset, self.classes, self.settings, self.subsets, [asdict(shard) for shard in self.shards]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def of_split(self, split: str) -> list[Shard]:
        """The shards of one split, in order."""
        return [shard for shard in self.shards if shard.split == split]

    def clips(self) -> dict[str, int]:
        """Number of clips in each split."""
        splits = dict.fromkeys(shard.split for shard in self.shards)
        return {split: sum(shard.clips for shard in self.of_split(split)) for split in splits}

    def to_json(self) -> bytes:
        """The content of its file."""
        values = {**asdict(self), "classes_digest": self.classes_digest, "digest": self.digest}
        return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()


def across_notes(manifest: Manifest, split: str) -> list[str]:
    """A line on the clips of `split` that show what one of a split before it shows; none where there are none."""
    across = manifest.across(split)
    if not across:
        return []
    some = "; ".join(f"{twin.clip} and {twin.twin} ({_MEANING[twin.how]})" for twin in across[:3])
    others = " or ".join(dict.fromkeys(twin.twin_split for twin in across))
    what = f"{len(across)} of {manifest.clips()[split]} {split} clips show what a {others} clip shows"
    return [f"{what}, so that scores on {split} are too high: {some}{'; …' if len(across) > 3 else ''}"]


def twin_notes(manifest: Manifest) -> list[str]:
    """What is known about clips that show the same, in words."""
    notes = [note for split in manifest.clips() for note in across_notes(manifest, split)]
    within = [twin for twin in manifest.twins if twin.split == twin.twin_split]
    if within:
        first = within[0]
        some = f"{first.clip} and {first.twin} ({_MEANING[first.how]})"
        notes.append(f"{len(within)} clips show what another clip of their split shows: {some}")
    return notes


def classes_digest(classes: Mapping[str, Sequence[str]]) -> str:
    """sha256 of the class names of each head, in their order."""
    return hashlib.sha256(json.dumps({head: list(names) for head, names in classes.items()}).encode()).hexdigest()


def is_shard_name(name: str) -> bool:
    """Whether a file is named as `Shard.file` says."""
    return _FILE_NAME.fullmatch(name) is not None


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prepared data set.

    Raises:
        ShardError: there is none, it is damaged or of another version, or the preparation was interrupted.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if (folder / LEDGER).is_dir():
            hint = "run the same tdpn prep command again to finish"
            raise ShardError("its preparation was interrupted", where=folder, hint=hint) from None
        raise ShardError("no prepared data set here", where=folder, hint="run tdpn prep …") from None
    except OSError as error:
        raise ShardError(f"cannot be read: {error.strerror}", where=path) from error
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: Path | str) -> Manifest:
    """The manifest in the `content` of the file `path`.

    Raises:
        ShardError: it is damaged or of another version.
    """
    try:
        values = json.loads(content)
        schema = values["schema"]
        if schema != SCHEMA:
            raise ShardError(f"is of schema {schema}, not {SCHEMA}", where=path, hint=AGAIN)
        stated = [values.pop(name) for name in ("classes_digest", "digest")]
        manifest = from_dict(Manifest, values)
    except (ValueError, KeyError, AttributeError, TypeError, ConfigError) as error:
        raise ShardError(f"damaged manifest: {str(error)[:160]}", where=path, hint=AGAIN) from error
    for shard in manifest.shards:
        if not is_shard_name(shard.file):
            raise ShardError(f"names {shard.file!r}, which is not a shard of this folder", where=path)
    if stated != [manifest.classes_digest, manifest.digest]:
        raise ShardError("damaged manifest: its content does not match its digest", where=path)
    return manifest


def find_prepared(data: Path | None = None) -> Path:
    """The folder of a prepared data set: `data`, else the only one under ./data.

    Raises:
        UsageError: there is none, or more than one.
    """
    if data is not None:
        if (data / MANIFEST).is_file():
            return data
        hint = "prepare it with tdpn prep, or name another folder"
        raise UsageError("no prepared data set here", where=data, hint=hint)
    found = sorted(path.parent for path in Path("data").glob(f"*/{MANIFEST}"))
    if not found:
        raise UsageError("no prepared data set under data/", hint="run tdpn prep …")
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found)
        raise UsageError(f"several prepared data sets: {names}", hint="choose one with --data")
    return found[0]
