"""Compute the clips of an archive on a Ray cluster.

Each task computes a few clips and saves them as a part of its own, like a process on this machine; a task that is run
again because its node died may compute clips a second time, of which the table has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from tdpn_core.archive.archive import BUSY, ArchiveFiles, Outcome, Pending, Todo, Work, save
from tdpn_core.claim import claimed
from tdpn_core.progress import SILENT, Progress
from tdpn_core.ray_cluster import run_tasks
from tdpn_core.video.inputs import Input, Inputs
from tdpn_core.wording import counted

_CLIPS_AT_ONCE = 8  # of a task, so that a lost node costs little and the files of results are few


class _Shared(NamedTuple):
    work: Work
    key: str
    folder: Path


def compute_on_ray(
    work: Work,
    clips: Inputs,
    files: ArchiveFiles,
    *,
    address: str | None,
    command: str,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> int:
    """Compute clips on a cluster; all its nodes must see the clips and the archive under the same paths.

    Args:
        work: what is computed, with absolute paths.
        clips: all clips.
        files: where results are saved.
        address: see `run_tasks`.
        command: what continues the work, such as `tdpn predict`.
        gpus: see `run_tasks`.
        progress: receives notes and the number of clips.

    Returns:
        The number of clips that were computed.

    Raises:
        InUseError: another command computes this archive.
        ToolError, TdpnError: see `run_tasks`.
    """
    with claimed(files.parts, work.doing, hint=BUSY, option="--archive"):
        key = work.key()
        todo = Todo(clips, files, key, progress=progress)
        if len(todo):
            shared = _Shared(work, key, files.parts.absolute())
            _run(todo, shared, address=address, command=command, gpus=gpus, progress=progress)
    return len(todo)


def _run(
    todo: Todo, shared: _Shared, *, address: str | None, command: str, gpus: int | None, progress: Progress
) -> None:
    left = map(_placed, todo)
    blocks = iter(lambda: list(islice(left, _CLIPS_AT_ONCE)), [])
    progress.begin("clips", len(todo))
    try:
        done = run_tasks(
            _compute,
            blocks,
            shared,
            address=address,
            name=lambda block: f"the block of {counted(len(block), 'clip', 'clips')} from {block[0].clip.name}",
            command=command,
            gpus=gpus,
        )
        with closing(done):
            for block, _ in done:
                progress.advance(len(block))
    finally:
        progress.end()


def _placed(entry: Pending) -> Pending:
    """Return a clip with an absolute path: tasks start in another folder."""
    clip, source = entry.clip, entry.clip.source
    if source is None:
        return entry
    return entry._replace(clip=replace(clip, source=replace(source, path=source.path.absolute())))


def _compute(block: Sequence[Pending], shared: _Shared) -> None:
    """Compute and save a few clips, on the node that runs this task."""
    compute = _opened(shared.work)
    save(block, compute, shared.work.columns, shared.folder, shared.key)


@lru_cache(maxsize=1)
def _opened(work: Work) -> Callable[[Input], Outcome]:
    """Load the network once for the tasks that run in this process."""
    import ray

    gpu = bool(ray.get_gpu_ids())
    return work.open(torch.device("cuda" if gpu else "cpu"))
