"""Clips a second of `prepare` beside the bare ffmpeg command: same filters, files and number of processes.

    python benchmarks/prep.py CLASS_FOLDERS [--workers N] [--repeat N]

The bare command decodes, scales and encodes as JPEG with its output thrown away; what `prepare` does beyond that is
to check every clip, and to pack, checksum and write the shards. Both are run alternately, and the best of each counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tdpn_core.datasets import read_dataset
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

SCALE = "scale=w='if(lte(iw,ih),min(iw,256),-1)':h='if(lte(iw,ih),-1,min(ih,256))':out_range=full,format=yuvj420p"


def bare(paths: list[str], workers: int) -> float:
    """Seconds that ffmpeg alone takes."""
    program = find_ffmpeg().path
    encode = ["-map", "0:v:0", "-vf", SCALE, "-fps_mode", "passthrough", "-c:v", "mjpeg", "-q:v", "3", "-threads", "1"]

    def run(path: str) -> None:
        command = [program, "-nostdin", "-loglevel", "quiet", "-threads", "1", "-i", f"file:{path}", *encode]
        subprocess.run([*command, "-f", "null", "-"], check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, paths))
    return time.perf_counter() - began


def packed(root: Path, workers: int) -> float:
    """Seconds that `prepare` takes."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        prepare("folder", root, Path(folder), settings=PrepConfig(), workers=workers)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    paths = [str(arguments.root / name) for name in read_dataset("folder", arguments.root).clips["source"]]
    alone, whole = [], []
    for _ in range(arguments.repeat):
        alone.append(bare(paths, arguments.workers))
        whole.append(packed(arguments.root, arguments.workers))
    count = len(paths)
    print(f"{count} clips, {arguments.workers} processes, best of {arguments.repeat}, load {os.getloadavg()[0]:.1f}")
    print(f"bare ffmpeg  {count / min(alone):7.2f} clips/s")
    print(f"tdpn prep    {count / min(whole):7.2f} clips/s   ratio {min(alone) / min(whole):.2f}")


if __name__ == "__main__":
    main()
