"""Clips per second of `prepare`, compared with plain ffmpeg: same filters, files and number of processes.

    python benchmarks/prep.py CLASS_FOLDERS [--workers N] [--repeat N]

Plain ffmpeg decodes, scales and encodes as JPEG and discards its output; `prepare` also checks every clip, and packs,
checksums and writes the shards. Both alternate, and the best of each is compared.
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
    """Return the seconds of ffmpeg alone."""
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
    """Return the seconds of `prepare`."""
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
