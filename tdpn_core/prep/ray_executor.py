"""Run the blocks of a preparation as tasks on a Ray cluster, for large data sets.

Every node packs blocks in its own scratch folders and writes their shards to the place; only this process writes the
ledger. Root folder and place must be the same on all nodes.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from tdpn_core.prep.clip_cache import ClipCache
from tdpn_core.prep.journal import BlockRecord, ClipRecord
from tdpn_core.prep.pack_blocks import Block, Job, pack_blocks
from tdpn_core.ray_cluster import run_tasks


def pack_on_ray(
    blocks: Iterator[Block], job: Job, *, address: str | None, tell: Callable[[ClipRecord], None]
) -> Iterator[BlockRecord]:
    """Pack blocks on a cluster, one per processor; records are yielded in order of completion.

    Args:
        blocks: consumed on demand.
        job: common settings; its place must be reachable from every node.
        address: see `run_tasks`.
        tell: called for every clip once its block is done.

    Raises:
        ToolError, TdpnError: see `run_tasks`.
    """
    done = run_tasks(_pack, blocks, job, address=address, name=lambda block: f"block {block.name}", command="tdpn prep")
    with closing(done):
        for block, record in done:
            known = {clip.id: clip.known for clip in block.clips}
            for clip in record.clips:
                if known[clip.id] is None:
                    tell(clip)
            yield record


def _pack(block: Block, job: Job) -> BlockRecord:
    """Pack one block, on the node that runs this task."""
    with tempfile.TemporaryDirectory(prefix="tdpn-prep-") as folder:
        (record,) = pack_blocks([block], job, ClipCache(Path(folder), ""), workers=1, cancel=threading.Event())
    return record
