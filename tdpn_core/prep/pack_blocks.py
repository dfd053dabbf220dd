"""Blocks of clips become shards: what every executor runs, on this machine or another.

A clip is encoded into a scratch file of its own; a block whose clips are all dealt with is packed into shards from
there. So what a killed process loses is the clips that it was at, whatever the size of a shard, and memory holds a few
tables, whatever the length of a video.
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
from tdpn_core.prep.clip_cache import Scratch
from tdpn_core.prep.journal import BlockRecord, ClipRecord, block_name
from tdpn_core.prep.storage import Place, open_place
from tdpn_core.prep.visual_digest import look_of
from tdpn_core.shards.manifest import Shard, classes_digest
from tdpn_core.shards.repack import unpack
from tdpn_core.shards.writer import Origin, PackedClip, write_shard
from tdpn_core.video.encode import encode_clip
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.source import Source
from tdpn_core.video.subprocess_limits import ChildError, Limits, TooSlowError

_LOOK_AHEAD = 4  # clips in flight or waiting for their turn, for each worker
_TRIES = 2  # of a clip whose decoder died: its own fault, or the machine's

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ClipTask:
    """A clip to be packed."""

    id: str
    source: str
    """As the ledger names it."""

    video: Source
    labels: dict[str, int]
    known: ClipRecord | None = None
    """Its outcome, if that stands: then its frames are taken from the shard that has them."""


@dataclass(frozen=True)
class Block:
    """Clips that are packed and recorded together."""

    split: str
    number: int
    clips: list[ClipTask]
    shards: list[Shard]
    """That hold clips of this block already."""

    @property
    def name(self) -> str:
        """As the ledger names it."""
        return block_name(self.split, self.number)


@dataclass(frozen=True)
class Job:
    """What is the same for all blocks, and all that a process must be told."""

    url: str
    """Of the place where shards go."""

    origin: Origin
    encoding: Encoding
    limits: Limits
    program: Program
    shard_bytes: int


@dataclass(frozen=True)
class Outcome:
    """A clip that has been dealt with; `packed` only if it is done."""

    record: ClipRecord
    packed: PackedClip | None


def pack_blocks(
    blocks: Iterable[Block],
    job: Job,
    scratch: Scratch,
    *,
    workers: int,
    cancel: threading.Event,
    tell: Callable[[ClipRecord], None] = lambda record: None,
) -> Iterator[BlockRecord]:
    """Pack blocks in their order, `workers` clips at a time.

    The scratch files of a block are kept until the next record is asked for: by then, the last one is to be in the
    ledger.

    Args:
        blocks: taken one by one, as there is room.
        job: how.
        scratch: for encoded clips; what an earlier run left there is used.
        workers: decoders at a time.
        cancel: set it, and decoders are killed soon.
        tell: called for every clip that was encoded or failed, in order.

    Raises:
        TdpnError: the disk is full, or ffmpeg cannot be started.
        Stopped: `cancel` was set.
    """
    place = open_place(job.url)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prep")
    packer = ThreadPoolExecutor(1, thread_name_prefix="pack")

    def encode(task: tuple[Block, int, ClipTask]) -> Outcome:
        return _outcome(*task, job, scratch, cancel)

    def tasks() -> Iterator[tuple[Block, int, ClipTask]]:
        for block in blocks:
            _unpack(block, job, scratch, place)
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
                    yield from _recorded(packing.popleft(), scratch)
        while packing:
            yield from _recorded(packing.popleft(), scratch)
    finally:
        cancel.set()  # whatever ended the loop: no child outlives it
        pool.shutdown(wait=True, cancel_futures=True)
        packer.shutdown(wait=True, cancel_futures=True)


def _recorded(packing: tuple[Block, Future[BlockRecord]], scratch: Scratch) -> Iterator[BlockRecord]:
    block, record = packing
    yield record.result()
    scratch.clear(block.name)


def _unpack(block: Block, job: Job, scratch: Scratch, place: Place) -> None:
    """Bring the clips of earlier shards whose outcome stands back to the scratch folder."""
    wanted = {task.id: number for number, task in enumerate(block.clips) if task.known and task.known.status == "done"}
    if not wanted or place.folder is None:
        return
    stamps = {task.id: task.known.stamp for task in block.clips if task.known}
    for shard in block.shards:
        try:
            source = place.folder / shard.file
            digest = classes_digest(job.origin.classes)
            for clip in unpack(source, shard, digest, wanted, lambda name: scratch.items(block.name, wanted[name])):
                scratch.keep(block.name, wanted[clip.id], clip, stamps[clip.id])
        except ShardError:
            continue  # its clips are encoded again


def _outcome(block: Block, number: int, task: ClipTask, job: Job, scratch: Scratch, cancel: threading.Event) -> Outcome:
    """Encode a clip, unless it is there."""
    if task.known is not None and task.known.status != "done":
        return Outcome(task.known, None)
    seen = stamp(task.video.path)
    kept = scratch.kept(block.name, number, task.id, task.known.stamp if task.known else seen)
    if kept is not None:
        packed = replace(kept, source=task.source, labels=task.labels or kept.labels)
        return Outcome(task.known or _done(packed, seen, "", job), packed)
    for attempt in range(1, _TRIES + 1):
        seen = stamp(task.video.path)
        items = scratch.items(block.name, number)
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
        scratch.keep(block.name, number, packed, seen)
        return Outcome(_done(packed, seen, clip.note or "", job), packed)
    raise AssertionError("unreachable")


def _done(clip: PackedClip, seen: str, note: str, job: Job) -> ClipRecord:
    seconds = clip.frames / clip.fps if clip.times is None else float(clip.times[-1]) + 1 / clip.fps
    size = int(clip.sizes.sum())
    look = look_of(clip, job.origin.packing)
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
    """Clips in lots of about `shard_bytes`."""
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
    """Each item and its result in the order of the items, with a bounded number of them under way."""
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
    """Size and modification time of a file or folder; empty if it is not there."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"
