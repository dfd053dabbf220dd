"""Run the blocks of a preparation as tasks on a Ray cluster, for large data sets.

Every node packs blocks in its own scratch folders and writes their shards to the place; only this process writes the
ledger. If a node dies, Ray assigns its blocks to another one. Root folder, place and installed versions must be the
same on all nodes.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tdpn_core.errors import TdpnError, ToolError
from tdpn_core.prep.clip_cache import ClipCache
from tdpn_core.prep.journal import BlockRecord, ClipRecord
from tdpn_core.prep.pack_blocks import Block, Job, pack_blocks

_ATTEMPTS = 3  # for a block whose node or process dies
_CALL_SECONDS = 5.0
_HINT = "check with ray status whether one is running, or give its --ray-address"
_REMEMBERED = Path("ray", "ray_current_cluster")  # below Ray's folder: the address of the last `ray start`
_AHEAD = 2  # tasks submitted per processor of the cluster, to keep all busy


def pack_on_ray(
    blocks: Iterator[Block], job: Job, *, address: str | None, tell: Callable[[ClipRecord], None]
) -> Iterator[BlockRecord]:
    """Pack blocks on a cluster, one per processor; records are yielded in order of completion.

    Args:
        blocks: consumed on demand.
        job: common settings; its place must be reachable from every node.
        address: the cluster (`auto`, `HOST:PORT`, `ray://…`); None: RAY_ADDRESS, or a cluster on this machine.
        tell: called for every clip once its block is done.

    Raises:
        ToolError: Ray is not installed, or the cluster cannot be reached.
        TdpnError: an error of a task, or nodes of a block died repeatedly.
    """
    try:
        import ray
        from ray import exceptions
    except ImportError as error:
        raise ToolError("Ray is not installed", where="--executor ray", hint="pip install 'tdpn[ray]'") from error
    ours = not ray.is_initialized()
    if ours:
        _call(address)
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise ToolError(f"no Ray cluster: {_brief(error)}", where=address, hint=_HINT) from error
    task = ray.remote(_pack).options(num_cpus=1, max_retries=_ATTEMPTS - 1, scheduling_strategy="SPREAD")
    shared = ray.put(job)
    waiting: dict[Any, Block] = {}

    def next_record() -> BlockRecord:
        (done, *_), _ = ray.wait(list(waiting), num_returns=1)
        block = waiting.pop(done)
        try:
            record: BlockRecord = ray.get(done)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, TdpnError):
                raise error.cause from error
            raise
        except exceptions.RayError as error:
            what = f"block {block.name} failed after {_ATTEMPTS} attempts: {_brief(error)}"
            raise TdpnError(what, hint="run tdpn prep again to continue") from error
        known = {clip.id: clip.known for clip in block.clips}
        for clip in record.clips:
            if known[clip.id] is None:
                tell(clip)
        return record

    try:
        for block in blocks:
            waiting[task.remote(block, shared)] = block
            if len(waiting) >= _AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1):
                yield next_record()
        while waiting:
            yield next_record()
    finally:
        for left in waiting:
            ray.cancel(left, force=True)
        if ours:
            ray.shutdown()


def _call(address: str | None) -> None:
    """Fail early if no cluster is listening; Ray itself would wait for minutes.

    Raises:
        ToolError: the host is unknown, or does not answer.
    """
    asked = os.environ.get("RAY_ADDRESS") or address
    asked = _remembered() if asked in (None, "auto") else asked
    host, colon, port = (asked or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # no address, or a form that Ray itself handles
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CALL_SECONDS).close()
    except (OSError, OverflowError) as error:
        what = f"no Ray cluster: no answer ({error.__class__.__name__}: {error})"
        raise ToolError(what, where=asked, hint=_HINT) from error


def _remembered() -> str | None:
    try:
        return (Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / _REMEMBERED).read_text().strip() or None
    except (OSError, ValueError):
        return None


def _pack(block: Block, job: Job) -> BlockRecord:
    """Pack one block, on the node that runs this task."""
    with tempfile.TemporaryDirectory(prefix="tdpn-prep-") as folder:
        (record,) = pack_blocks([block], job, ClipCache(Path(folder), ""), workers=1, cancel=threading.Event())
    return record


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
