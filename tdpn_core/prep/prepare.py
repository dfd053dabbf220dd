"""Prepare a data set from a folder of clips: decode once, scale, pack, verify, with resume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tdpn_core import defaults, files
from tdpn_core.claim import claimed
from tdpn_core.datasets import AUTO, Dataset, DatasetOptions, read_dataset
from tdpn_core.datasets.registry import detect
from tdpn_core.download.download import download as download_dataset
from tdpn_core.errors import ConfigError, DatasetError
from tdpn_core.labels import clips_per_class
from tdpn_core.prep.clip_cache import ClipCache
from tdpn_core.prep.disk_space import SAMPLE, check_room
from tdpn_core.prep.duplicates import (
    background_parts,
    by_content,
    by_look,
    by_name,
    load_seen,
    moved,
    on_one_side,
    pair_up,
    recorded_splits,
    save_seen,
    without_validation,
)
from tdpn_core.prep.journal import BlockRecord, ClipRecord, Ledger, Plan
from tdpn_core.prep.options import PrepConfig
from tdpn_core.prep.overview import Overview, overview
from tdpn_core.prep.pack_blocks import Block, Job, pack_blocks
from tdpn_core.prep.pending_work import AGAIN, Work, find_work
from tdpn_core.prep.ray_executor import pack_on_ray
from tdpn_core.prep.segment_times import fit_segments
from tdpn_core.prep.storage import Place, open_place
from tdpn_core.progress import SILENT, Progress
from tdpn_core.ray_cluster import RAY, check_executor
from tdpn_core.shards.manifest import LEDGER, MANIFEST, Manifest, Shard, Twin, is_shard_name, twin_notes
from tdpn_core.shards.writer import Origin
from tdpn_core.signals import stoppable
from tdpn_core.version import __version__
from tdpn_core.video.ffmpeg_binary import find_ffmpeg
from tdpn_core.video.optical_flow import flow_method
from tdpn_core.wording import counted

_DEFAULTS = PrepConfig()
_SCRATCH = ".work"
_KEPT_FAILURES = 1000  # in a report; the ledger has all


@dataclass(frozen=True, kw_only=True)
class PrepReport:
    """Result of a preparation."""

    path: str
    """Folder or address of the prepared data set."""

    dataset: str
    """Its name."""

    clips: dict[str, int]
    """Number of clips by split."""

    listed: dict[str, int]
    """Number of clips in the data set's annotations, on disk or not, by split, for splits that they list."""

    added: int
    """Number of clips packed by this run; the others existed."""

    failures: list[ClipRecord]
    """Clips left out, with reasons: the first thousand."""

    failed: int
    """Number of clips left out."""

    notes: list[str]
    twins: list[Twin]
    """Clips that show the same as another clip, those across the split first."""

    seconds: float
    bytes: int
    """Size of all shards."""

    digest: str
    """Digest of the manifest."""


def prepare(
    dataset: str,
    root: Path,
    out: Path | str | None = None,
    *,
    settings: PrepConfig = _DEFAULTS,
    download: bool = False,
    check: Callable[[Overview], None] | None = None,
    workers: int | None = None,
    ffmpeg: str | Path | None = None,
    executor: str = defaults.EXECUTOR,
    ray_address: str | None = None,
    progress: Progress = SILENT,
) -> PrepReport:
    """Encode every clip of a data set and pack it into shards. What `tdpn prep` does.

    A clip that cannot be decoded is recorded with its reason, and the others continue. Another run with the same
    arguments processes what is missing: clips without a record, those whose source has changed, and those whose
    decoder died or timed out. Shards contain clips in table order, independent of the order of completion, so that an
    interrupted preparation ends with the same bytes as an uninterrupted one.

    Args:
        dataset: name of a layout that `read_dataset` supports, or `auto`.
        root: folder of the clips.
        out: folder or fsspec address of the result; default: data/<dataset>.
        settings: sizes and limits.
        download: download what is missing under `root` first.
        check: called with what is understood of the files, before a clip is decoded; what it raises ends the call.
        workers: number of concurrent clips; default: one per core.
        ffmpeg: ffmpeg program to use instead of the bundled one.
        executor: `local`, or `ray` for a Ray cluster; `root` and `out` must be the same on all its nodes.
        ray_address: address of the cluster; default: from RAY_ADDRESS, or a cluster on this machine.
        progress: receives a progress bar over the clips, and lines about what was detected or downloaded.

    Returns:
        What was packed, and what was left out with the reason; sizes in bytes.

    Raises:
        UsageError: unknown data set or executor, or another preparation is writing to `out`.
        ConfigError: `out` was prepared with other settings, classes or splits.
        DatasetError: `root` contains no clips, or none that can be decoded.
        ToolError: there is no suitable ffmpeg.
        TdpnError: `out` is full or cannot be written.
        Stopped: received SIGTERM; finished work is kept.
    """
    place = root.absolute() if executor == RAY else root
    table = _read(dataset, place, settings.dataset, download=download, progress=progress)
    if check is not None:
        check(overview(table))
    return pack_dataset(
        table,
        out,
        settings=settings,
        workers=workers,
        ffmpeg=ffmpeg,
        executor=executor,
        ray_address=ray_address,
        progress=progress,
    )


def understand(
    dataset: str,
    root: Path,
    *,
    options: DatasetOptions = _DEFAULTS.dataset,
    download: bool = False,
    progress: Progress = SILENT,
) -> Overview:
    """Read the files of a data set without decoding a clip: classes, splits, counts, doubts. `tdpn prep --dry-run`.

    Args:
        dataset: a name that `read_dataset` knows, or `auto`.
        root: where its clips lie.
        options: how the data set is read.
        download: download what is missing under `root` first.
        progress: gets lines about what was detected or downloaded.

    Returns:
        What was understood, and what is doubtful in it.

    Raises:
        UsageError, DatasetError: see `read_dataset`.
    """
    return overview(_read(dataset, root, options, download=download, progress=progress))


def _read(dataset: str, root: Path, options: DatasetOptions, *, download: bool, progress: Progress) -> Dataset:
    if download:
        for note in download_dataset(dataset, root, progress=progress).notes:
            progress.say(f"note: {note}")
    if dataset == AUTO:
        found = detect(root, options=options)
        progress.say(found.sentence())
        dataset = found.name
    return fit_segments(read_dataset(dataset, root, options=options), options.background)


def pack_dataset(
    table: Dataset,
    out: Path | str | None = None,
    *,
    settings: PrepConfig = _DEFAULTS,
    workers: int | None = None,
    ffmpeg: str | Path | None = None,
    executor: str = defaults.EXECUTOR,
    ray_address: str | None = None,
    progress: Progress = SILENT,
) -> PrepReport:
    """Encode and pack the clips of a table read before; see `prepare`.

    If we drew the split between training and validation, clips that look alike are moved to one side of it before the
    manifest is written.
    """
    began = time.monotonic()
    table = fit_segments(table, settings.dataset.background)
    program = find_ffmpeg(str(ffmpeg) if ffmpeg else None)
    method = flow_method(settings.encoding)
    if method is not None:  # recorded by name, so that later runs use the same
        settings = replace(settings, encoding=replace(settings.encoding, flow_method=method))
    if executor == RAY:  # tasks start in another folder
        table = replace(table, root=table.root.absolute())
    with ExitStack() as stack:
        stack.enter_context(
            stoppable(progress, note="the decoders are ended, and what is packed is kept", command="tdpn prep")
        )
        equal, named = by_content(table), by_name(table)
        drawn = on_one_side(table, equal)
        place = open_place(out if out is not None else Path("data") / settings.default_name(table.name))
        plan = _plan(drawn, settings)
        cache = ClipCache(stack.enter_context(_scratch_folder(place)), _key(settings, program.version))
        ledger = Ledger(place)
        _begin(ledger, plan, place)
        job = Job(
            url=place.url,
            origin=Origin(table.name, settings.packing, table.classes, plan.settings, table.multilabel),
            encoding=settings.encoding,
            limits=settings.limits,
            program=program,
            shard_bytes=settings.shard_bytes,
        )
        count = workers or len(os.sched_getaffinity(0))
        execute = partial(_executed, executor, job=job, cache=cache, workers=count, ray_address=ray_address)
        packing = _Packing(ledger, place, job, settings.block_clips, execute, _Tally(progress))
        seen = load_seen(place, drawn.groups)
        table = on_one_side(drawn, [*equal, *seen.pairs])
        packing.run(table, seen.moved)
        added, now = packing.tally.packed, by_look(ledger, seen, background_parts(table))
        if now is not seen:
            final = on_one_side(drawn, [*equal, *now.pairs])
            changed = moved(table, final)
            seen = replace(now, moved=now.moved | changed)
            save_seen(place, seen)
            if changed:
                table = final
                packing.run(table, seen.moved)
        cache.clear()
        twins = pair_up([*equal, *seen.pairs, *named], recorded_splits(ledger))
        manifest, failures = _finished(_plan(table, settings), table, ledger, place, program.version, twins)
    if not manifest.shards:
        first = failures[0]
        what = f"none of {len(table.clips)} clips can be decoded; {first.source}: {first.reason}"
        raise DatasetError(what, where=table.root)
    notes = [*table.notes, *packing.notes(table.root), *_empty_classes(table, ledger), *twin_notes(manifest)]
    notes += without_validation(table)
    return PrepReport(
        path=str(out) if out is not None else str(place.folder),
        dataset=table.name,
        clips=manifest.clips(),
        listed=manifest.listed,
        added=added,
        failures=failures,
        failed=sum(manifest.left_out.values()),
        notes=notes,
        twins=twins,
        seconds=time.monotonic() - began,
        bytes=sum(shard.bytes for shard in manifest.shards),
        digest=manifest.digest,
    )


def _plan(table: Dataset, settings: PrepConfig) -> Plan:
    return Plan(
        dataset=table.name,
        classes=table.classes,
        label_order=table.label_order,
        settings=settings.recorded(),
        multilabel=table.multilabel,
        subsets=table.subsets,
        listed=_listed(table),
    )


@dataclass
class _Packing:
    """The passes over a table's clips: one, and a second one if clips move to another split."""

    ledger: Ledger
    place: Place
    job: Job
    block_clips: int
    execute: Callable[[Iterator[Block], Callable[[ClipRecord], None]], Iterator[BlockRecord]]
    tally: _Tally
    gone: int = 0
    changed: int = 0
    lost: list[str] = field(default_factory=list)

    def run(self, table: Dataset, movable: Collection[str]) -> None:
        """Process what the ledger lacks."""
        work = find_work(table, self.ledger, self.place, self.block_clips, movable)
        if self.place.folder is not None and work.clips:
            sample = work.sample(SAMPLE)
            warning = check_room(self.place.folder, work.clips, sample, self.job.encoding)
            if warning:
                self.tally.progress.say(f"note: {warning}")
        self.gone = work.gone
        self.changed += work.changed
        self.lost += work.lost
        self.tally.progress.begin("prep", work.clips)
        try:
            for record in self.execute(self._blocks(work), self.tally.add):
                self.ledger.record(record)
        finally:
            self.tally.progress.end()

    def _blocks(self, work: Work) -> Iterator[Block]:
        """Yield the blocks to pack; a block that lost all its clips is recorded as empty."""
        for block in work.blocks(self.ledger):
            if block.clips:
                yield block
            else:
                self.ledger.record(BlockRecord(block.split, block.number, [], []))

    def notes(self, root: Path) -> list[str]:
        """Return notes on the state left by an earlier run."""
        return _notes(self.gone, self.changed, self.lost, root)


@dataclass
class _Tally:
    """Progress of this run."""

    progress: Progress
    began: float = field(default_factory=time.monotonic)
    packed: int = 0
    failed: int = 0

    def add(self, record: ClipRecord) -> None:
        self.packed += record.status == "done"
        self.failed += record.status != "done"
        rate = (self.packed + self.failed) / (time.monotonic() - self.began)
        self.progress.advance(speed=f"{rate:.1f} clips/s", failures=f"{self.failed} failed")


def _executed(
    executor: str,
    blocks: Iterator[Block],
    tell: Callable[[ClipRecord], None],
    *,
    job: Job,
    cache: ClipCache,
    workers: int,
    ray_address: str | None,
) -> Iterator[BlockRecord]:
    check_executor(executor)
    if executor == RAY:
        return pack_on_ray(blocks, job, address=ray_address, tell=tell)
    return pack_blocks(blocks, job, cache, workers=workers, cancel=threading.Event(), tell=tell)


def _begin(ledger: Ledger, plan: Plan, place: Place) -> None:
    """Store the plan, or refuse one that differs from the first run's."""
    before = ledger.plan()
    if before is None:
        ledger.begin(plan)
        return
    if before.dataset != plan.dataset:
        raise ConfigError(f"contains {before.dataset}, not {plan.dataset}", where=place.url, hint=AGAIN)
    for name, value in _flat(plan.settings).items():
        was = _flat(before.settings).get(name)
        if was != value:
            raise ConfigError(f"was prepared with {name} {was}, not {value}", where=place.url, hint=AGAIN)
    if before.classes != plan.classes:
        raise ConfigError("was prepared with other classes", where=place.url, hint=AGAIN)
    if before != plan:
        ledger.begin(plan)


def _flat(settings: dict[str, object]) -> dict[str, object]:
    options = settings["dataset"]
    assert isinstance(options, dict)
    return {**{name: value for name, value in settings.items() if name != "dataset"}, **options}


def _listed(table: Dataset) -> dict[str, int]:
    """Return the number of clips that annotations list, by split."""
    there = Counter(table.clips["split"].tolist())
    return {split: there[split] + len(absent) for split, absent in table.absent.items()}


def _finished(
    plan: Plan, table: Dataset, ledger: Ledger, place: Place, ffmpeg_version: str, twins: list[Twin]
) -> tuple[Manifest, list[ClipRecord]]:
    """Write the manifest of all recorded clips, and remove shards that are no longer recorded."""
    shards: list[Shard] = []
    failures: list[ClipRecord] = []
    left_out: Counter[str] = Counter()
    recorded: Counter[str] = Counter()
    absent = {split: set(clips) for split, clips in table.absent.items()}
    for record in ledger.blocks():
        shards += record.shards
        failed = [clip for clip in record.clips if clip.status != "done"]
        failures += failed[: _KEPT_FAILURES - len(failures)]
        left_out[record.split] += len(failed)
        recorded[record.split] += len(record.clips)
        if record.split in absent:  # a prepared clip whose source was removed later is not absent
            absent[record.split].difference_update(clip.id for clip in record.clips)
    manifest = Manifest(
        dataset=plan.dataset,
        root=str(table.root),
        classes=plan.classes,
        label_order=plan.label_order,
        settings=plan.settings,
        multilabel=plan.multilabel,
        subsets=plan.subsets,
        made_with={"tdpn": __version__, "ffmpeg": ffmpeg_version},
        shards=shards,
        left_out=dict(left_out),
        listed={split: recorded[split] + len(clips) for split, clips in absent.items()},
        twins=twins,
    )
    before = place.load(MANIFEST)
    content = manifest.to_json()
    if content != before and shards:
        place.save(MANIFEST, [content])
    listed = {shard.file for shard in shards}
    for name in place.sizes("", ".h5"):  # from an earlier state, or from a kill between shard and record
        if is_shard_name(name) and name not in listed:
            place.remove(name)
    return manifest, failures


def _notes(gone: int, changed: int, lost: list[str], root: Path) -> list[str]:
    notes = []
    if gone:
        notes.append(f"{counted(gone, 'prepared clip is', 'prepared clips are')} no longer under {root} and kept")
    if changed:
        notes.append(f"{counted(changed, 'prepared clip has', 'prepared clips have')} changed: prepared again")
    if lost:
        shards = counted(len(lost), "shard was", "shards were")
        notes.append(f"{shards} missing or truncated and written again, for example {lost[0]}")
    return notes


def _empty_classes(table: Dataset, ledger: Ledger) -> list[str]:
    """Return a note for every head with classes of which no clip could be prepared."""
    failed = [clip.id for record in ledger.blocks() for clip in record.clips if clip.status != "done"]
    if not failed:
        return []
    alive = ~table.clips["id"].isin(failed).to_numpy()
    notes = []
    for head, names in table.classes.items():
        labels = table.labels(head)
        listed, left = (clips_per_class(labels[chosen], len(names)).tolist() for chosen in (slice(None), alive))
        empty = [name for name, before, after in zip(names, listed, left, strict=True) if before and not after]
        if empty:
            classes = counted(len(empty), "class", "classes")
            notes.append(f"no clip of {classes} could be prepared: {', '.join(empty[:5])}")
    return notes


def _key(settings: PrepConfig, ffmpeg_version: str) -> str:
    """Return what an encoded clip depends on besides its source."""
    text = json.dumps([settings.recorded(), ffmpeg_version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _scratch_folder(place: Place) -> Iterator[Path]:
    """Yield a folder for encoded clips: within `place` if it supports locks, so that a later run finds them."""
    if place.folder is None:
        with tempfile.TemporaryDirectory(prefix="tdpn-prep-") as temporary:
            yield Path(temporary)
        return
    with claimed(place.folder, "preparing clips", hint="wait for it, or stop it") as alone:
        folder = place.folder / (_SCRATCH if alone else f"{_SCRATCH}-{uuid.uuid4().hex[:8]}")
        if alone:
            files.sweep(place.folder)
            files.sweep(place.folder / LEDGER)
        try:
            yield folder
        finally:
            if not alone:
                shutil.rmtree(folder, ignore_errors=True)
