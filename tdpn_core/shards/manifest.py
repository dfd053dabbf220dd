"""Manifest of a prepared data set: the list of its shards, written last."""

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
from tdpn_core.wording import agree, counted

MANIFEST = "manifest.json"
LEDGER = "ledger"
"""Folder of the preparation's records; without a manifest next to it, the preparation is unfinished."""

SCHEMA = 3
AGAIN = "prepare the data again"
_FILE_NAME = re.compile(r"[a-z]+-\d{5}-\d{2}-[0-9a-f]{8}\.h5")
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True)
class Shard:
    """One shard file of a data set."""

    __pydantic_config__ = _STRICT

    file: str
    """`<split>-<block>-<part>-<first digits of index_digest>.h5`: different content has a different name."""

    split: str
    bytes: int
    sha256: str
    index_digest: str
    """The shard's attribute of that name, to detect an exchanged shard when it is opened."""

    clips: int
    frames: int
    head_bytes: int
    """Bytes before the items: HDF5 structures and tables."""

    head_sha256: str
    """SHA-256 of these bytes; HDF5 reads them only if it matches, since damage can cause an endless loop."""


Evidence = Literal["name", "bytes", "look", "mirror"]
"""How two clips were identified as one recording: by name, equal bytes, or appearance, unchanged or mirrored."""


_MEANING = {"name": "by name", "bytes": "the same bytes", "look": "alike", "mirror": "mirrored"}


@dataclass(frozen=True)
class Twin:
    """A clip that shows the same as another clip."""

    __pydantic_config__ = _STRICT

    clip: str
    """Its id."""

    split: str
    twin: str
    """Id of the other: in another split if possible; else an earlier one in the same split."""

    twin_split: str
    how: Evidence


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A prepared data set."""

    __pydantic_config__ = _STRICT

    schema: int = SCHEMA
    dataset: str
    root: str
    """Folder of the clips; for information only."""

    classes: dict[str, list[str]]
    """Class names by head, in label order."""

    label_order: str
    """Origin of that order, as text."""

    settings: dict[str, Any]
    """How the frames were encoded."""

    multilabel: bool = False
    """Whether a clip may belong to several classes, or to none."""

    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = field(default_factory=dict)
    """Subsets of a split or of a head's classes that the data set's protocol evaluates separately."""

    made_with: dict[str, str] = field(default_factory=dict)
    """Program versions used; for information only."""

    shards: list[Shard] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of clips by split that could not be prepared; the ledger has the reasons."""

    listed: dict[str, int] = field(default_factory=dict)
    """Number of clips in the data set's annotations, on disk or not, by split, for splits that they list."""

    twins: list[Twin] = field(default_factory=list)
    """Clips that are copies of others or nearly so, those across a split first."""

    def across(self, split: str) -> list[Twin]:
        """Return clips of `split` with a twin in an earlier split: `val` and `test` in `train`, `test` in `val`."""
        return [twin for twin in self.twins if twin.split == split != twin.twin_split]

    @property
    def classes_digest(self) -> str:
        """SHA-256 of the class names in order."""
        return classes_digest(self.classes)

    @property
    def digest(self) -> str:
        """SHA-256 of classes, settings and shards: equal digests mean bit-identical clips."""
        content = [self.dataset, self.classes, self.settings, self.subsets, [asdict(shard) for shard in self.shards]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def of_split(self, split: str) -> list[Shard]:
        """Return the shards of a split, in order."""
        return [shard for shard in self.shards if shard.split == split]

    def clips(self) -> dict[str, int]:
        """Return the number of clips by split."""
        splits = dict.fromkeys(shard.split for shard in self.shards)
        return {split: sum(shard.clips for shard in self.of_split(split)) for split in splits}

    def on_disk(self, split: str) -> int:
        """Return the number of clips of a split whose file existed when the data was prepared."""
        return self.clips().get(split, 0) + self.left_out.get(split, 0)

    def to_json(self) -> bytes:
        """Return the content of its file."""
        values = {**asdict(self), "classes_digest": self.classes_digest, "digest": self.digest}
        return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()


def across_notes(manifest: Manifest, split: str) -> list[str]:
    """Return a line on clips of `split` that show the same as clips of an earlier split; empty if there are none."""
    across = manifest.across(split)
    if not across:
        return []
    some = "; ".join(f"{twin.clip} and {twin.twin} ({_MEANING[twin.how]})" for twin in across[:3])
    others = " or ".join(dict.fromkeys(twin.twin_split for twin in across))
    total = manifest.clips()[split]
    clips = f"{len(across)} of {counted(total, f'{split} clip')} {agree(len(across), 'shows', 'show')}"
    what = f"{clips} what a {others} clip shows"
    return [f"{what}, so that scores on {split} are too high: {some}{'; …' if len(across) > 3 else ''}"]


def twin_notes(manifest: Manifest) -> list[str]:
    """Describe clips that show the same as others."""
    notes = [note for split in manifest.clips() for note in across_notes(manifest, split)]
    within = [twin for twin in manifest.twins if twin.split == twin.twin_split]
    if within:
        first = within[0]
        some = f"{first.clip} and {first.twin} ({_MEANING[first.how]})"
        show, their = agree(len(within), "shows", "show"), agree(len(within), "its", "their")
        notes.append(f"{counted(len(within), 'clip')} {show} what another clip of {their} split shows: {some}")
    return notes


def classes_digest(classes: Mapping[str, Sequence[str]]) -> str:
    """Return the SHA-256 of the class names by head, in order."""
    return hashlib.sha256(json.dumps({head: list(names) for head, names in classes.items()}).encode()).hexdigest()


def is_shard_name(name: str) -> bool:
    """Return whether a file name has the form of `Shard.file`."""
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
    """Parse the manifest in `content` of the file `path`.

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


def known_data() -> list[Path]:
    """The folders of all prepared data sets under ./data."""
    return sorted(path.parent for path in Path("data").glob(f"*/{MANIFEST}"))


def find_prepared(data: Path | None = None) -> Path:
    """Return the folder of a prepared data set: `data`, else the only one under ./data.

    Raises:
        UsageError: there is none, or more than one.
    """
    if data is not None:
        if (data / MANIFEST).is_file():
            return data
        hint = "prepare it with tdpn prep, or give another folder"
        raise UsageError("no prepared data set here", where=data, hint=hint)
    found = known_data()
    if not found:
        raise UsageError("no prepared data set under data/", hint="run tdpn prep …")
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found)
        raise UsageError(f"several prepared data sets: {names}", hint="choose one with --data")
    return found[0]
