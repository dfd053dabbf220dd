"""Memory of a preparation's bookkeeping as a function of the number of clips: table, ledger, manifest.

    python benchmarks/scale.py [--clips 60000 600000]

A ledger and empty shards are created as after a finished preparation, without any video. Each step then runs in its own
process, and its peak is reported relative to a process that only imports. The table is the result of `read_dataset`;
the memory of other steps should grow with the number of clips only by their results: positions and shards.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tdpn_core.datasets.clip_table import HEAD, Dataset, Rows, make_dataset
from tdpn_core.datasets.clip_table import Source as Place
from tdpn_core.prep.inspect.status import open_folder
from tdpn_core.prep.journal import BlockRecord, ClipRecord, Ledger, Plan
from tdpn_core.prep.options import PrepConfig
from tdpn_core.prep.pack_blocks import stamp
from tdpn_core.prep.pending_work import find_work
from tdpn_core.prep.prepare import _finished
from tdpn_core.prep.storage import LocalPlace
from tdpn_core.shards.manifest import Shard

BLOCK = 256
CLASSES = [f"class {number}" for number in range(400)]
PLAN = Plan(dataset="kinetics400", classes={HEAD: CLASSES}, label_order="sorted", settings=PrepConfig().recorded())


def name(number: int) -> str:
    """Return a clip name as long as those of Kinetics."""
    return f"{number:011d}_000000_000010"


def table(root: Path, clips: int) -> Dataset:
    rows = Rows([HEAD])
    for number in range(clips):
        rows.add(name(number), "train", [number % 400], Place("x.mp4", "video"))
    return make_dataset("kinetics400", root, rows, {HEAD: CLASSES}, label_order="sorted", notes=[])


def fill(root: Path, out: Path, clips: int) -> None:
    """Write the records of a finished preparation in which all clips have the same source and 1 % have failed."""
    (root / "x.mp4").touch()
    seen = stamp(root / "x.mp4")
    ledger = Ledger(LocalPlace(out))
    ledger.begin(PLAN)
    for block in range(-(-clips // BLOCK)):
        file = f"train-{block:05d}-00-{block:08x}.h5"
        (out / file).touch()
        numbers = range(block * BLOCK, min((block + 1) * BLOCK, clips))
        records = [
            ClipRecord(name(n), "x.mp4", "failed", "truncated: 90 of 150 frames", seen)
            if n % 100 == 0
            else ClipRecord(name(n), "x.mp4", "done", "", seen, file, 300, 10.0, 4_000_000)
            for n in numbers
        ]
        shard = Shard(
            file, "train", 0, "0" * 64, f"{block:08x}".ljust(64, "0"), len(records), 300 * len(records), 0, "0" * 64
        )
        ledger.record(BlockRecord("train", block, [shard], records))


def step(which: str, root: Path, out: Path, clips: int) -> None:
    """Run one step and print its seconds and this process's peak in MB."""
    ledger, place = Ledger(LocalPlace(out)), LocalPlace(out)
    began = time.perf_counter()
    dataset = table(root, clips) if which in ("table", "find work") else None
    if which == "find work" and dataset is not None:
        work = find_work(dataset, ledger, place, BLOCK)
        assert (work.clips, work.redo, work.fresh, work.lost) == (0, [], [], [])
    elif which == "manifest":
        assert len(_finished(PLAN, root, ledger, place, "7")[0].shards) == -(-clips // BLOCK)
    elif which == "tdpn data":
        assert open_folder(out).told.left_out["train"] == -(-clips // 100)
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[60_000, 600_000])
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        which, root, out, clips = options.step
        step(which, Path(root), Path(out), int(clips))
        return
    print(f"{'clips':>8} {'step':12}{'seconds':>9}{'peak MB':>9}{'beyond imports':>16}")
    for clips in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            root, out = Path(folder, "root"), Path(folder, "out")
            root.mkdir()
            out.mkdir()
            fill(root, out, clips)
            bare = 0.0
            for which in ("imports", "table", "find work", "manifest", "tdpn data"):
                command = [sys.executable, __file__, "--step", which, str(root), str(out), str(clips)]
                answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                seconds, peak = map(float, answer.split())
                bare = bare or peak
                print(f"{clips:8} {which:12}{seconds:9.1f}{peak:9.0f}{peak - bare:16.0f}", flush=True)


if __name__ == "__main__":
    main()
