"""Large archives: nothing is lost or doubled when a process or a node dies; memory by number of files and by length.

    python benchmarks/archive.py killed FOLDER [--files 200]
    python benchmarks/archive.py ray FOLDER [--files 200]
    python benchmarks/archive.py files FOLDER [--most 100000]
    python benchmarks/archive.py length FOLDER CHECKPOINT

`killed` predicts files, and extracts their features, in two processes; one is killed in the middle, and the same
command runs again. `ray` does it on a Ray cluster of two nodes on this machine: a node dies in the middle; then the
command itself is killed and runs again. The tables must be those of undisturbed runs, byte for byte. `files` lists,
computes (a row of one number each) and joins 1,000 to `--most` empty files in one process. `length` computes timelines
and features of videos of 3 and 30 minutes; see timeline.py for what is measured.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from timeline import WINDOWS, measure, of_lengths

COMMANDS = {"predict": [], "features": ["--stride", "0.5"]}


def network(folder: Path, files: int) -> tuple[Path, list[Path]]:
    """Render clips, and train a tiny network on some of them."""
    from tdpn_core.demo.render import render_dataset

    videos, data, run = folder / "videos", folder / "data", folder / "run"
    if not (run / "best.pt").is_file():
        render_dataset(videos, train_per_class=-(-files // 8), val_per_class=1, seed=0)
        subprocess.run(line("prep", "folder", "--root", videos, "--out", data, "--short-side", 40), check=True)
        tiny = {"model.width": 0.125, "model.num_frames": 2, "sampling.short_side": 36, "train.batch_size": 8}
        settings = [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]
        size = ["--recipe", "small", "--set", "model.arch=r18", "--size", 32, "--epochs", 1, "--gpus", 0]
        subprocess.run(line("train", "--data", data, "--out", run, *size, *settings), check=True)
    return run / "best.pt", sorted((videos / "train").rglob("*.mp4"))[:files]


def line(*words: object) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "tdpn_cli", *map(str, words)]


def killed(folder: Path, files: int) -> None:
    """Kill one of two processes in the middle, and run the command again."""
    checkpoint, clips = network(folder, files)
    for command, words in COMMANDS.items():
        whole = undisturbed(folder, command, checkpoint, clips)
        archive = folder / f"{command}-killed.csv"
        asked = line(command, *clips, "--checkpoint", checkpoint, "--archive", archive, *words, "--processes", 2)
        process = subprocess.Popen(asked, stderr=subprocess.PIPE, text=True)
        parts = archive.with_name(f"{archive.stem}-parts")
        wait_until(partial(has_bytes, parts, len(whole) // 3))
        os.kill(rank(1, process.pid), signal.SIGKILL)
        said = process.communicate()[1].strip().splitlines()
        again(process.returncode, said[-1:], parts, asked, archive, whole, files)


def on_ray(folder: Path, files: int) -> None:
    """Kill one of two nodes in the middle; then kill the command, and run it again."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    checkpoint, clips = network(folder, files)
    cluster = Cluster()
    size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster.add_node(**{**size, "num_cpus": 0})
    nodes = [cluster.add_node(**size) for _ in range(2)]
    cluster.wait_for_nodes()
    for command, words in COMMANDS.items():
        whole = undisturbed(folder, command, checkpoint, clips)
        for dies in ("node", "command"):
            archive = folder / f"{command}-ray-{dies}.csv"
            place = ["--executor", "ray", "--ray-address", cluster.address]
            asked = line(command, *clips, "--checkpoint", checkpoint, "--archive", archive, *words, *place)
            process = subprocess.Popen(asked, stderr=subprocess.PIPE, text=True)
            parts = archive.with_name(f"{archive.stem}-parts")
            wait_until(partial(has_parts, parts, files // 24))
            if dies == "node":
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                said = process.communicate()[1].strip().splitlines()
                print(
                    f"{command}, a node killed: exit code {process.returncode}",
                    said[-1:],
                    verdict(archive, whole, files),
                )
                nodes.append(cluster.add_node(**size))
                cluster.wait_for_nodes()
                continue
            process.kill()
            again(process.wait(), [], parts, asked, archive, whole, files)
    cluster.shutdown()


def undisturbed(folder: Path, command: str, checkpoint: Path, clips: list[Path]) -> bytes:
    """Return the table of a run that nothing disturbs."""
    archive = folder / f"{command}.csv"
    words = ["--checkpoint", checkpoint, "--archive", archive, *COMMANDS[command], "--gpus", 0]
    subprocess.run(line(command, *clips, *words), check=True)
    return archive.read_bytes()


def again(code: int, said: list[str], parts: Path, asked: list[str], archive: Path, whole: bytes, files: int) -> None:
    """Run a command again that was killed, and print what was saved and what the table is."""
    from tdpn_core.archive.parts import read_entries

    saved = sum(len(read_entries(path, None)) for path in parts.glob("*.jsonl"))
    print(f"{archive.stem}: exit code {code}", said, f"{saved} of {files} clips saved", flush=True)
    done = subprocess.run(asked, stderr=subprocess.PIPE, text=True)
    print(f"  again: exit code {done.returncode}", done.stderr.strip().splitlines()[:1], verdict(archive, whole, files))


def verdict(archive: Path, whole: bytes, files: int) -> str:
    """Compare a table with the undisturbed one."""
    with archive.open(newline="") as file:
        rows = Counter(next(iter(row.values())) for row in csv.DictReader(file))
    same = "the same bytes as undisturbed" if archive.read_bytes() == whole else "NOT the undisturbed table"
    return f"{len(rows)} of {files} clips, {sum(rows.values())} rows, {same}"


def has_bytes(parts: Path, least: int) -> bool:
    """Return whether so much was written, saved or not."""
    try:
        return sum(path.stat().st_size for path in parts.iterdir()) > least
    except FileNotFoundError:  # not there yet, or just renamed
        return False


def has_parts(parts: Path, least: int) -> bool:
    """Return whether so many parts were saved."""
    return len(list(parts.glob("*.jsonl"))) >= least


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def rank(number: int, launcher: int) -> int:
    """Return the process of a rank that a launcher started."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if f"RANK={number}".encode() in variables and parent == launcher:
            return int(entry.name)
    raise ProcessLookupError(number)


@dataclass(frozen=True)
class Nothing:
    """Work that costs nothing."""

    doing = "counting"

    @property
    def columns(self) -> list:
        from tdpn_core.archive.table import Column

        return [Column("clip"), Column("value", "number")]

    def key(self) -> str:
        return "nothing"

    def open(self, device: object) -> Callable:
        from tdpn_core.archive import Outcome

        return lambda clip: Outcome([(clip.name, 1)])


def files(folder: Path, most: int) -> None:
    """Print peak memory by number of files."""
    count = 1000
    while count <= most:
        videos = folder / f"{count}"
        for number in range(count):
            path = videos / f"{number // 1000:03d}" / f"video_{number:06d}.mp4"
            if number % 1000 == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        subprocess.run([sys.executable, __file__, "one", str(folder), str(videos)], check=True)
        count *= 10


def one(folder: Path, videos: Path) -> None:
    """List, compute and join the files of one folder, and print the memory."""
    import torch

    from tdpn_core.archive.archive import ArchiveFiles, compute_share, join_archive
    from tdpn_core.datasets import media_index  # noqa: F401 - part of the memory before
    from tdpn_core.video.inputs import find_inputs

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before, began = peak(), time.perf_counter()
    clips = find_inputs([videos])
    listed = peak()
    table = ArchiveFiles(folder / f"{videos.name}.csv")
    compute_share(Nothing(), clips, table, torch.device("cpu"))
    computed = peak()
    result = join_archive(Nothing(), clips, table)
    print(f"{result.clips} files, {result.lacking} lacking: {before:.0f} MB before, {listed:.0f} listed, "
          f"{computed:.0f} computed, {peak():.0f} joined, {time.perf_counter() - began:.1f} s", flush=True)  # fmt: skip


def length(folder: Path, checkpoint: Path) -> None:
    """Print peak memory and speed of videos of 3 and 30 minutes."""
    for minutes, video in of_lengths(folder).items():
        words = [video, "--checkpoint", checkpoint, "--gpus", 0, "--archive"]
        measure(minutes, "features", *words, folder / f"features-{minutes}.parquet", "--stride", 1)
        measure(minutes, "predict", *words, folder / f"predictions-{minutes}.parquet", *WINDOWS)


def main() -> None:
    """Parse the command line and run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("killed", "ray"):
        part = parts.add_parser(name)
        part.add_argument("folder", type=Path)
        part.add_argument("--files", type=int, default=200)
    part = parts.add_parser("files")
    part.add_argument("folder", type=Path)
    part.add_argument("--most", type=int, default=100_000)
    part = parts.add_parser("one")
    part.add_argument("folder", type=Path)
    part.add_argument("videos", type=Path)
    part = parts.add_parser("length")
    part.add_argument("folder", type=Path)
    part.add_argument("checkpoint", type=Path)
    options = vars(parser.parse_args())
    {"killed": killed, "ray": on_ray, "files": files, "one": one, "length": length}[options.pop("part")](**options)


if __name__ == "__main__":
    main()
