"""From a root folder of videos to a prepared data set: decoded once, scaled, packed, checked, resumable."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tdpn_core import files
from tdpn_core.datasets import Dataset, read_dataset
from tdpn_core.errors import ClipError, ConfigError, DatasetError, Stopped, UsageError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.shards.manifest import MANIFEST, Failure, Manifest, load_manifest
from tdpn_core.shards.store import clip_ids
from tdpn_core.shards.write import PackedClip, ShardWriter
from tdpn_core.video.child import ChildError, Limits
from tdpn_core.video.program import Program, find_ffmpeg
from tdpn_core.video.transcode import Encoding, transcode

_LOOK_AHEAD = 4  # clips in flight or waiting for their turn, for each worker: bounds memory
_LOCK = ".lock"
_AGAIN = "give another --out, or remove this folder to start anew"


@dataclass(frozen=True, kw_only=True)
class PrepConfig:
    """How clips are prepared; all but `clip_seconds` is part of the result and cannot change between two runs."""

    short_side: int = 256
    """Pixels of the shorter side; smaller frames are not enlarged."""

    quality: int = 3
    """ffmpeg's JPEG scale, 2 (best) to 31."""

    seed: int = 0
    """Of the split, where the data set has none."""

    max_pixels: int = 4096 * 2304
    """A larger picture is refused."""

    max_frames: int = 36_000
    """A longer clip is refused."""

    shard_bytes: int = 256 << 20
    """A shard is closed when it has this much."""

    clip_seconds: float = 120.0
    """Wall-clock time after which the decoder of one clip is killed."""

    def __post_init__(self) -> None:
        if self.short_side < 16:
            raise ConfigError(f"--short-side must be at least 16 pixels, not {self.short_side}")
        if not (2 <= self.quality <= 31):
            raise ConfigError(f"--quality must lie in 2 to 31, not {self.quality}")
        if min(self.seed, self.max_pixels - 1, self.max_frames - 1, self.shard_bytes - 1) < 0 or self.clip_seconds <= 0:
            raise ConfigError(f"limits of a preparation must be positive, not {self}")

    def encoding(self) -> Encoding:
        """What the transcoder needs of it."""
        return Encoding(
            short_side=self.short_side,
            quality=self.quality,
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
        )


@dataclass(frozen=True, kw_only=True)
class PrepReport:
    """What a preparation came to."""

    path: Path
    """The folder of the prepared data set."""

    clips: dict[str, int]
    """Clips of each split."""

    added: int
    """Clips that this run packed; the others were there."""

    failures: list[Failure]
    notes: list[str]
    seconds: float
    bytes: int
    """Of all shards."""

    digest: str
    """Of the manifest."""


def prepare(
    dataset: str,
    root: Path,
    out: Path | None = None,
    *,
    settings: PrepConfig = PrepConfig(),
    workers: int | None = None,
    ffmpeg: str | Path | None = None,
    progress: Progress = SILENT,
) -> PrepReport:
    """Transcode every clip of a data set and pack it into shards.

    A clip that cannot be decoded is recorded with its reason, and the others go on. Run again with the same
    arguments, it does what is missing: clips that are in no listed shard, and failed ones whose file has changed
    since or whose decoder died or timed out. Shards hold clips in the table's order, whatever order they are finished
    in, so that an interrupted preparation ends with the same bytes as one that was not.

    Args:
        dataset: `kinetics400` or `folder`.
        root: where its videos lie.
        out: folder of the result; data/<dataset> by default.
        settings: sizes and limits.
        workers: clips at a time; one a core by default.
        ffmpeg: the program to use instead of the bundled one.
        progress: told of every clip.

    Raises:
        UsageError: no such data set, or another preparation writes to `out`.
        ConfigError: `out` was prepared with other settings, classes or splits.
        DatasetError: `root` holds no clips, or none that can be decoded.
        ToolError: no fit ffmpeg.
        Stopped: SIGTERM came; what is finished is kept.
    """
    began = time.monotonic()
    program = find_ffmpeg(str(ffmpeg) if ffmpeg else None)
    table = read_dataset(dataset, root, seed=settings.seed)
    folder = out if out is not None else Path("data") / dataset
    with _locked(folder), _stoppable():
        manifest, done = _resume(folder, table, root, settings)
        todo = _missing(table, manifest, done)
        before = sum(manifest.clips().values())
        if len(todo) or not manifest.complete:
            writer = ShardWriter(folder, manifest, settings.shard_bytes)
            _pack(todo, writer, root, program, settings, workers or os.cpu_count() or 1, progress)
            manifest = writer.finish()
    if not manifest.shards:
        first = manifest.failures[0]
        what = f"not one of {len(table.clips)} clips can be decoded; {first.source}: {first.reason}"
        raise DatasetError(what, where=root)
    return PrepReport(
        path=folder,
        clips=manifest.clips(),
        added=sum(manifest.clips().values()) - before,
        failures=manifest.failures,
        notes=table.notes + _empty_classes(table, manifest),
        seconds=time.monotonic() - began,
        bytes=sum(shard.bytes for shard in manifest.shards),
        digest=manifest.digest,
    )


def _resume(folder: Path, table: Dataset, root: Path, settings: PrepConfig) -> tuple[Manifest, dict[str, str]]:
    """The manifest to go on with, and the split of each clip that is done."""
    files.sweep(folder)
    wanted = {name: value for name, value in asdict(settings).items() if name != "clip_seconds"}
    fresh = Manifest(dataset=table.name, root=str(root), classes=table.classes, settings=wanted)
    if not (folder / MANIFEST).exists():
        return fresh, {}
    manifest = load_manifest(folder, unfinished=True)
    for name, value in wanted.items():
        if manifest.settings.get(name) != value:
            was = manifest.settings.get(name)
            raise ConfigError(f"was prepared with {name} {was}, not {value}", where=folder, hint=_AGAIN)
    if manifest.dataset != table.name:
        raise ConfigError(f"holds {manifest.dataset}, not {table.name}", where=folder, hint=_AGAIN)
    if manifest.classes != table.classes:
        raise ConfigError("was prepared with other classes than there are now", where=folder, hint=_AGAIN)
    done = {clip: shard.split for shard in manifest.shards for clip in clip_ids(folder, shard, manifest)}
    now = dict(zip(table.clips["id"], table.clips["split"], strict=True))
    moved = [clip for clip, split in done.items() if now.get(clip, split) != split]
    if moved:
        what = f"{len(moved)} prepared clips, {moved[0]!r} for one, belong to another split now"
        raise ConfigError(what, where=folder, hint=_AGAIN)
    gone = len(done.keys() - now.keys())
    if gone:
        table.notes.append(f"{gone} prepared clips are no longer under {root}; they are kept")
    return manifest, done


def _missing(table: Dataset, manifest: Manifest, done: dict[str, str]) -> pd.DataFrame:
    """The rows still to do: not packed, and not failed with the file as it still is."""
    failed = {failure.id: failure.stamp for failure in manifest.failures}
    rows = zip(table.clips["id"], table.clips["source"], strict=True)
    todo = [clip not in done and (clip not in failed or failed[clip] != _stamp(Path(source))) for clip, source in rows]
    return table.clips[todo]


def _pack(
    todo: pd.DataFrame,
    writer: ShardWriter,
    root: Path,
    program: Program,
    settings: PrepConfig,
    workers: int,
    progress: Progress,
) -> None:
    cancel = threading.Event()
    limits, encoding = Limits(seconds=settings.clip_seconds), settings.encoding()
    heads = list(writer.manifest.classes)

    def work(row: Any) -> PackedClip | Failure:
        return _transcoded(row, heads, root, program, encoding, limits, cancel)

    began, failures, clips = time.monotonic(), 0, 0
    progress.begin("prep", len(todo))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prep")
    try:
        rows = list(todo.itertuples(index=False))
        for row, outcome in zip(rows, _in_order(pool, work, rows, workers * _LOOK_AHEAD), strict=True):
            writer.begin(str(row.split))
            if isinstance(outcome, Failure):
                writer.fail(outcome)
                failures += 1
            else:
                writer.add(outcome)
            clips += 1
            rate = clips / (time.monotonic() - began)
            progress.advance(speed=f"{rate:.1f} clips/s", failures=f"{failures} failed")
    finally:
        cancel.set()  # whatever ended the loop: no child outlives it
        pool.shutdown(wait=True, cancel_futures=True)
        progress.end()


def _transcoded(
    row: Any,
    heads: list[str],
    root: Path,
    program: Program,
    encoding: Encoding,
    limits: Limits,
    cancel: threading.Event,
) -> PackedClip | Failure:
    """One clip, or why not."""
    path = Path(row.source)
    source = os.path.relpath(path, root)
    try:
        clip = transcode(path, program, encoding, limits=limits, start=row.start, stop=row.stop, cancel=cancel)
    except ClipError as error:
        return Failure(row.id, source, error.what, "" if isinstance(error, ChildError) else _stamp(path))
    labels = {head: int(getattr(row, f"label_{head}")) for head in heads}
    return PackedClip(row.id, source, labels, clip.data, clip.sizes, clip.times, clip.fps, clip.width, clip.height)


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Any], PackedClip | Failure],
    rows: Iterable[Any],
    look_ahead: int,
) -> Iterator[PackedClip | Failure]:
    """The outcome of each row in the order of the rows, with a bounded number of them under way."""
    waiting: deque[Future[PackedClip | Failure]] = deque()
    for row in rows:
        waiting.append(pool.submit(work, row))
        if len(waiting) >= look_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _stamp(path: Path) -> str:
    """Size and modification time of a file; empty if it is not there."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"


def _empty_classes(table: Dataset, manifest: Manifest) -> list[str]:
    """A note on every head with classes of which no clip survived."""
    alive = table.clips[~table.clips["id"].isin([failure.id for failure in manifest.failures])]
    notes = []
    for head, names in table.classes.items():
        listed, left = Counter(table.clips[f"label_{head}"]), Counter(alive[f"label_{head}"])
        empty = [name for label, name in enumerate(names) if listed[label] and not left[label]]
        if empty:
            notes.append(f"no clip of {len(empty)} classes could be prepared: {', '.join(empty[:5])}")
    return notes


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second preparation out of `folder`. Only a courtesy: two would write the same bytes, whole or not at all.

    The lock is the system's, so a killed process leaves none behind; where the file system knows no locks, there is
    none.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+")
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=folder, hint="choose another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise UsageError(
                f"{owner} is preparing clips here", where=folder, hint="wait for it, or stop it"
            ) from error
        except OSError:
            pass
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGTERM into `Stopped`, so that children are ended and the last shard is either whole or absent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Stopped("stopped on request", hint="run the same tdpn prep command again to go on")

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
