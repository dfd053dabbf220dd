"""Predict the clips of large archives: results are saved on the way, and a repeated command continues."""

from __future__ import annotations

import csv
import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import DatasetError
from tdpn_core.files import atomic_path, digest_file, make_folder, write_text
from tdpn_core.prediction.inputs import Input, find_inputs
from tdpn_core.prediction.models import open_model
from tdpn_core.prediction.options import PredictOptions
from tdpn_core.prediction.outputs import check_new
from tdpn_core.prediction.predict import predict_with
from tdpn_core.prediction.results import Prediction, to_csv
from tdpn_core.progress import SILENT, Progress
from tdpn_core.wording import counted

TABLE, FAILURES, PARTS = "predictions.csv", "failed.csv", "parts"

_SAVE_EVERY_SECONDS = 20.0
_SAVE_EVERY_CLIPS = 500


@dataclass(frozen=True, kw_only=True)
class ArchiveResult:
    """The tables of an archive."""

    clips: int
    failed: int
    lacking: int
    """Clips without a result, since a process was stopped."""

    table: Path
    failures: Path
    """CSV with the clips that failed and the reasons."""


def check_archive(folder: Path) -> None:
    """
    Raises:
        UsageError: the files of an archive cannot be written to `folder`.
    """
    check_new([folder / TABLE, folder / FAILURES, folder / PARTS / TABLE], option="--archive", force=True)


def predict_share(
    words: Sequence[Path | str],
    folder: Path,
    *,
    checkpoint: Path,
    runtime: Runtime,
    options: PredictOptions,
    rank: int = 0,
    world: int = 1,
    progress: Progress = SILENT,
) -> int:
    """Predict the clips of one process, and save the results in `folder` while it goes on.

    A clip with a result of the same network and options is skipped, unless it failed or its file has changed.

    Args:
        words: inputs, see `find_inputs`.
        folder: where results are saved.
        checkpoint: the network's file.
        runtime: the device.
        options: see `PredictOptions`.
        rank: number of the process, which predicts every `world`-th clip from there.
        world: number of processes.
        progress: receives notes and the number of clips.

    Returns:
        The number of clips that were predicted.

    Raises:
        CheckpointError: the network's file is damaged.
        UsageError: there are no inputs, or the network does not support an option.
    """
    inputs = _inputs(words, options)
    key = _key(checkpoint, options)
    done = {(one["clip"], one["stamp"]) for one, _, _ in _records(folder, key) if not one["error"]}
    todo = [found for found in inputs[rank::world] if (found.name, _stamp(found)) not in done]
    if done:
        progress.say(f"{folder}: {counted(len(done), 'clip has', 'clips have')} a result already")
    if not todo:
        return 0
    model = open_model(
        checkpoint, device=runtime.device, classes=options.classes, ema=options.ema, trusted=options.trusted
    )
    make_folder(folder / PARTS)
    part = _Part(folder / PARTS, key)
    count = 0
    progress.begin("clips", len(todo))
    try:
        found = predict_with(model, checkpoint, todo, options=options)
        for place, prediction in zip(todo, found, strict=True):
            part.add(prediction, _stamp(place))
            progress.advance()
            count += 1
    finally:
        part.save()
        progress.end()
    return count


def join_archive(
    words: Sequence[Path | str], folder: Path, *, checkpoint: Path, options: PredictOptions
) -> ArchiveResult:
    """Write the results of all processes as one table in the order of the clips, and one of the clips that failed.

    Memory grows with the names of the clips only.

    Raises:
        DatasetError: there is no result.
    """
    stamps = {found.name: _stamp(found) for found in _inputs(words, options)}
    places: dict[str, tuple[Path, int, bool]] = {}
    for one, path, offset in _records(folder, _key(checkpoint, options)):
        if stamps.get(one["clip"]) != one["stamp"]:
            continue  # of another archive, or of a file that has changed
        known = places.get(one["clip"])
        if known is None or known[2]:
            places[one["clip"]] = (path, offset, bool(one["error"]))
    names = list(stamps)
    if not places:
        raise DatasetError("has no result of these clips and this network", where=folder, hint="run the command again")
    failed = [name for name in names if name in places and places[name][2]]
    with atomic_path(folder / TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(to_csv([]))
        for name in names:
            if name in places:
                file.write(_read(*places[name][:2])["rows"])
    with atomic_path(folder / FAILURES) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip", "reason"))
        writer.writerows((name, _read(*places[name][:2])["error"]) for name in failed)
    return ArchiveResult(
        clips=len(names),
        failed=len(failed),
        lacking=sum(name not in places for name in names),
        table=folder / TABLE,
        failures=folder / FAILURES,
    )


def _inputs(words: Sequence[Path | str], options: PredictOptions) -> list[Input]:
    return find_inputs(words, fps=options.fps, start=options.start, stop=options.stop)


def _key(checkpoint: Path, options: PredictOptions) -> str:
    """Return a digest of the network and of all options that change a result."""
    values = asdict(options)
    for name in ("force", "fetch_limits", "clip_timeout", "max_pixels"):
        del values[name]
    text = json.dumps([digest_file(checkpoint), values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(found: Input) -> str:
    """Return size and modification time of a clip's file; empty if it is no file."""
    try:
        state = Path(found.name).stat()
    except (OSError, ValueError):
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"


class _Part:
    """Results of a process that are not saved yet; each save is a file of its own, so that a kill damages none."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._lines: list[str] = []
        self._saved_at = time.monotonic()

    def add(self, prediction: Prediction, stamp: str) -> None:
        rows = to_csv([prediction]).partition("\n")[2]
        error = str(prediction.error) if prediction.error else ""
        record = {"key": self._key, "clip": prediction.name, "stamp": stamp, "error": error, "rows": rows}
        self._lines.append(json.dumps(record) + "\n")
        late = time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS
        if late or len(self._lines) >= _SAVE_EVERY_CLIPS:
            self.save()

    def save(self) -> None:
        if self._lines:
            write_text(self._folder / f"{uuid.uuid4().hex}.jsonl", "".join(self._lines))
        self._lines, self._saved_at = [], time.monotonic()


def _records(folder: Path, key: str) -> Iterator[tuple[dict[str, Any], Path, int]]:
    """Yield the saved results of one network and set of options, with their places."""
    for path in sorted((folder / PARTS).glob("*.jsonl")):
        with path.open("rb") as file:
            offset = 0
            for line in file:
                record = json.loads(line)
                if record["key"] == key:
                    yield record, path, offset
                offset += len(line)


def _read(path: Path, offset: int) -> dict[str, Any]:
    with path.open("rb") as file:
        file.seek(offset)
        found: dict[str, Any] = json.loads(file.readline())
    return found
