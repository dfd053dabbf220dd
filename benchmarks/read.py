"""Clips a second from shards beside decord on the clips they were made of: 8 frames of stride 8, one core.

    python benchmarks/read.py CLASS_FOLDERS [--repeat N]

Both give uint8 RGB frames at the size that preparation keeps; both take the same frames of the same clips, in the same
random order. Clips of fewer than 57 frames are left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import decord
import numpy as np
import simplejpeg

from tdpn_core.prep import PrepConfig, prepare
from tdpn_core.shards import ClipStore

FRAMES = list(range(0, 64, 8))


def timed(work: Callable[[int], None], clips: list[int]) -> float:
    began = time.perf_counter()
    for clip in clips:
        work(clip)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        prepare("folder", arguments.root, Path(folder), settings=PrepConfig())
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(cores)})
        store = ClipStore(Path(folder), "train")

        def from_shards(clip: int) -> None:
            for data in store.read(clip, FRAMES):
                simplejpeg.decode_jpeg(data)

        def bytes_only(clip: int) -> None:
            store.read(clip, FRAMES)

        def from_videos(clip: int) -> None:
            height, width = store.size(clip)
            path = str(arguments.root / store.source(clip))
            reader = decord.VideoReader(path, width=width, height=height, num_threads=1)
            for frame in FRAMES:  # its get_batch fails on narrow pictures
                reader[frame].asnumpy()

        clips = [clip for clip in range(len(store)) if store.counts[clip] > FRAMES[-1]]
        order = np.random.default_rng(0).permutation(clips).tolist()
        kinds = {"shards, bytes only": bytes_only, "shards, decoded": from_shards, "decord": from_videos}
        best = {name: min(timed(work, order) for _ in range(arguments.repeat)) for name, work in kinds.items()}
    print(f"{len(clips)} clips, one core, best of {arguments.repeat}, load {os.getloadavg()[0]:.1f}")
    for name, seconds in best.items():
        rate, each, ratio = len(clips) / seconds, 1e3 * seconds / len(clips), best["decord"] / seconds
        print(f"{name:20} {rate:9.1f} clips/s {each:8.2f} ms a clip {ratio:7.1f} x decord")


if __name__ == "__main__":
    main()
