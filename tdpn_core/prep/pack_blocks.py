"""Pack blocks of clips into shards; run by every executor, on this machine or another.

Each clip is encoded into its own scratch file; when all clips of a block are processed, they are packed into shards.
So a killed process loses only the clips in progress, whatever the shard size, and memory use is a few tables,
whatever the length of a video.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tdpn_core.errors import ClipError, ClipRefused, ShardError
from tdpn_core.labels import Label
from tdpn_core.prep.clip_cache import ClipCache
from tdpn_core.prep.journal import BlockRecord, ClipRecord, block_name
from tdpn_core.prep.storage import Place, open_place
from tdpn_core.prep.visual_digest import visual_digest
from tdpn_core.shards.manifest import Shard, classes_digest
from tdpn_core.shards.repack import unpack
from tdpn_core.shards.writer import Origin, PackedClip, write_shard
from tdpn_core.video.encode import encode_clip
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.source import Source
from tdpn_core.video.subprocess_limits import ChildError, Limits, TooSlowError

_LOOK_AHEAD = 4  # clips in progress or queued per worker
_TRIES = 2  # attempts for a clip whose decoder died, because of the clip or the machine

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ClipTask:
    """A clip to pack."""

    id: str
    source: str
    """Its name in the ledger."""

    video: Source
    labels: dict[str, Label]
    known: ClipRecord | None = None
    """Its outcome if still valid; its frames are then copied from the existing shard."""


@dataclass(frozen=True)
class Block:
    """Clips packed and recorded together."""

    split: str
    number: int
    clips: list[ClipTask]
    shards: list[Shard]
    """Existing shards with clips of this block."""

    @property
    def name(self) -> str:
        """Its name in the ledger."""
        return block_name(self.split, self.number)


@dataclass(frozen=True)
class Job:
    """Settings common to all blocks, and all that a process needs."""

    url: str
    """Address of the place for shards."""

    origin: Origin
    encoding: Encoding
    limits: Limits
    program: Program
    shard_bytes: int


@dataclass(frozen=True)
class Outcome:
    """A processed clip; `packed` only if it succeeded."""

    record: ClipRecord
    packed: PackedClip | None


def pack_blocks(
    blocks: Iterable[Block],
    job: Job,
    cache: ClipCache,
    *,
    workers: int,
    cancel: threading.Event,
    tell: Callable[[ClipRecord], None] = lambda record: None,
) -> Iterator[BlockRecord]:
    """Pack blocks in order, `workers` clips at a time.

    The scratch files of a block are kept until the next record is requested; by then, the caller must have stored the
    previous one in the ledger.

    Args:
        blocks: consumed on demand.
        job: common settings.
        cache: cache of encoded clips; content of an earlier run is reused.
        workers: number of concurrent decoders.
        cancel: if set, decoders are killed soon.
        tell: called for every clip that was encoded or failed, in order.

    Raises:
        TdpnError: the disk is full, or ffmpeg cannot be started.
        Stopped: `cancel` was set.
    """
    place = open_place(job.url)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prep")
    packer = ThreadPoolExecutor(1, thread_name_prefix="pack")

    def encode(task: tuple[Block, int, ClipTask]) -> Outcome:
        return _outcome(*task, job, cache, cancel)

    def tasks() -> Iterator[tuple[Block, int, ClipTask]]:
        for block in blocks:
            _unpack(block, job, cache, place)
            yield from ((block, number, task) for number, task in enumerate(block.clips))

    packing: deque[tuple[Block, Future[BlockRecord]]] = deque()
    gathered: list[Outcome] = []
    try:
        for (block, _, task), outcome in _in_order(pool, encode, tasks(), workers * _LOOK_AHEAD):
            if task.known is None or outcome.record != task.known:
                tell(outcome.record)
            gathered.append(outcome)
            if len(gathered) == len(block.clips):
                packing.append((block, packer.submit(_packed, block, gathered, job, place)))
                gathered = []
                if len(packing) > 1:
                    yield from _recorded(packing.popleft(), cache)
        while packing:
            yield from _recorded(packing.popleft(), cache)
    finally:
        cancel.set()  # whatever ended the loop, no child process survives
        pool.shutdown(wait=True, cancel_futures=True)
        packer.shutdown(wait=True, cancel_futures=True)


def _recorded(packing: tuple[Block, Future[BlockRecord]], cache: ClipCache) -> Iterator[BlockRecord]:
    block, record = packing
    yield record.result()
    cache.clear(block.name)


def _unpack(block: Block, job: Job, cache: ClipCache, place: Place) -> None:
    """Copy clips with a valid outcome from earlier shards back to the scratch folder."""
    wanted = {task.id: number for number, task in enumerate(block.clips) if task.known and task.known.status == "done"}
    if not wanted or place.folder is None:
        return
    stamps = {task.id: task.known.stamp for task in block.clips if task.known}
    for shard in block.shards:
        try:
            source = place.folder / shard.file
            digest = classes_digest(job.origin.classes)
            for clip in unpack(source, shard, digest, wanted, lambda name: cache.items(block.name, wanted[name])):
                cache.keep(block.name, wanted[clip.id], clip, stamps[clip.id])
        except ShardError:
            continue  # its clips are encoded again


def _outcome(block: Block, number: int, task: ClipTask, job: Job, cache: ClipCache, cancel: threading.Event) -> Outcome:
    """Encode a clip, unless it is cached."""
    if task.known is not None and task.known.status != "done":
        return Outcome(task.known, None)
    seen = stamp(task.video.path)
    kept = cache.kept(block.name, number, task.id, task.known.stamp if task.known else seen)
    if kept is not None:
        packed = replace(kept, source=task.source, labels=task.labels or kept.labels)
        return Outcome(task.known or _done(packed, seen, "", job), packed)
    for attempt in range(1, _TRIES + 1):
        seen = stamp(task.video.path)
        items = cache.items(block.name, number)
        try:
            clip = encode_clip(task.video, items, job.program, job.encoding, limits=job.limits, cancel=cancel)
            if stamp(task.video.path) != seen:
                raise ChildError("changed while it was read", where=task.video.path)
        except ChildError as error:
            if attempt == _TRIES or isinstance(error, TooSlowError):
                return Outcome(ClipRecord(task.id, task.source, "failed", error.what), None)
            continue
        except ClipRefused as error:
            return Outcome(ClipRecord(task.id, task.source, "skipped", error.what, seen), None)
        except ClipError as error:
            return Outcome(ClipRecord(task.id, task.source, "failed", error.what, seen), None)
        packed = PackedClip(
            task.id, task.source, task.labels, items, clip.sizes, clip.crc32, clip.sha256,
            clip.frames, clip.times, clip.fps, clip.width, clip.height,
        )  # fmt: skip
        cache.keep(block.name, number, packed, seen)
        return Outcome(_done(packed, seen, clip.note or "", job), packed)
    raise AssertionError("unreachable")


def _done(clip: PackedClip, seen: str, note: str, job: Job) -> ClipRecord:
    seconds = clip.frames / clip.fps if clip.times is None else float(clip.times[-1]) + 1 / clip.fps
    size = int(clip.sizes.sum())
    look = visual_digest(clip, job.origin.packing)
    return ClipRecord(clip.id, clip.source, "done", note, seen, "", clip.frames, round(seconds, 3), size, look)


def _packed(block: Block, outcomes: list[Outcome], job: Job, place: Place) -> BlockRecord:
    """Write a block's shards."""
    shards: list[Shard] = []
    home: dict[str, str] = {}
    for part, clips in enumerate(_shards_of([o.packed for o in outcomes if o.packed is not None], job.shard_bytes)):
        shard = write_shard(clips, job.origin, block.split, block.number, part, place.save)
        shards.append(shard)
        home |= {clip.id: shard.file for clip in clips}
    records = [replace(outcome.record, shard=home.get(outcome.record.id, "")) for outcome in outcomes]
    return BlockRecord(block.split, block.number, shards, records)


def _shards_of(clips: Iterable[PackedClip], shard_bytes: int) -> Iterator[list[PackedClip]]:
    """Group clips into lots of about `shard_bytes`."""
    lot: list[PackedClip] = []
    size = 0
    for clip in clips:
        lot.append(clip)
        size += int(clip.sizes.sum())
        if size >= shard_bytes:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], look_ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item and its result in order, with a bounded number in progress."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) >= look_ahead:
            first, result = waiting.popleft()
            yield first, result.result()
    while waiting:
        first, result = waiting.popleft()
        yield first, result.result()


def stamp(path: Path) -> str:
    """Return size and modification time of a file or folder; empty if it does not exist."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"
