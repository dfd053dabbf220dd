"""Diving48: videos, and JSON files that number 48 dives. Only version 2, with corrected labels, is supported."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.datasets.annotation_io import fault, read_json
from tdpn_core.datasets.class_names import read_class_list
from tdpn_core.datasets.clip_table import HEAD, Dataset, Rows, Tally, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.remote import ByHand
from tdpn_core.datasets.scan import Found
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError

_SPLITS = {"train": "train", "test": "val"}  # the official test set is what the field validates on


def annotation_files(texts: list[Path], version: str = "_V2") -> dict[str, Path]:
    """Return split and vocabulary files by role: train, test, vocab."""
    wanted = {f"diving48{version}_{role}.json".lower(): role for role in _SPLITS}
    wanted["diving48_vocab.json"] = "vocab"
    files: dict[str, Path] = {}
    for path in texts:
        if role := wanted.get(path.name.lower()):
            files.setdefault(role, path)
    return files


def read_diving48(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of a copy of Diving48; its test set is the split `val`.

    Raises:
        DatasetError: there are no version 2 files, vocabulary or clips, or an annotation file has an error.
    """
    files = annotation_files(texts)
    if not files.keys() & set(_SPLITS):
        if annotation_files(texts, version="").keys() & set(_SPLITS):
            what = "these are the annotations of Diving48's first version, many of whose labels are wrong"
            raise DatasetError(what, where=found.root, hint="get Diving48_V2_train.json and Diving48_V2_test.json")
        raise DatasetError("no Diving48_V2_train.json or Diving48_V2_test.json", where=found.root)
    if "vocab" not in files:
        raise DatasetError("no Diving48_vocab.json, which names the classes", where=found.root)
    names = read_class_list(files["vocab"])
    rows, tally, sources = Rows([HEAD]), Tally(), Sources(found, options.sources)
    for role, split in _SPLITS.items():
        if role in files:
            _read_split(files[role], split, len(names), rows, tally, sources)
    notes = found.notes(list(files.values())) + tally.notes() + sources.notes()
    listed = [split for role, split in _SPLITS.items() if role in files]
    reading = Reading("Diving48, version 2", tuple(files.values()))
    return make_dataset(
        "diving48",
        found.root,
        rows,
        {HEAD: names},
        reading=reading,
        label_order="file",
        notes=notes,
        listed=listed,
    )


def _read_split(path: Path, split: str, classes: int, rows: Rows, tally: Tally, sources: Sources) -> None:
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError("is not a list of clips", where=path)
    for place, entry in enumerate(content, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("vid_name"), str):
            raise fault(path, place, "has no vid_name", entry)
        clip, label = entry["vid_name"], entry.get("label")
        if not isinstance(label, int) or not 0 <= label < classes:
            raise fault(path, place, f"label of {clip} is not one of {classes}", label)
        if clip in rows:
            if rows.labels(clip) != (label,):
                raise fault(path, place, "clip is listed twice with different labels", clip)
            tally.repeated(clip)
            continue
        source = sources.find(clip)
        if source is None:
            if rows.lack(clip, split):
                tally.absent(split, "annotation file", clip)
        else:
            rows.add(clip, split, [label], source)


def detect_diving48(found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect annotation files of either version; version 1 is detected, too, but refused when read."""
    for version in ("_V2", ""):
        if roles := annotation_files(texts, version).keys() & set(_SPLITS):
            return f"Diving48{version}_{max(roles)}.json is here"
    return None


DIVING48 = DatasetSpec(
    name="diving48",
    title="Diving48",
    read=read_diving48,
    detect=detect_diving48,
    num_classes={HEAD: 48},
    download=ByHand(
        "www.svcl.ucsd.edu/projects/resound/dataset.html",
        "rgb/*.mp4, Diving48_V2_{train,test}.json and Diving48_vocab.json",
    ),
)
