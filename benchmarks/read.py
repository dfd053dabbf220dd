"""Clips per second from shards, compared with decord on H.264 files of the same frames, one core.

    python benchmarks/read.py PREPARED [--videos FOLDER] [--clips N] [--rounds N]

PREPARED is a folder written by `tdpn prep`. Without --videos, its frames are encoded at their stored size with x264's
defaults, and decord reads those files; with it, decord reads the source files of the clips at their original size.
Both read the same random frames of the same clips, drawn as in training; clips that decord cannot read in a batch
(narrow ones) are excluded. The tables of `tdpn_core.bench.data`, which does not use decord, are printed first.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

import decord

from tdpn_core.bench.data import PROTOCOLS, Stages, alternate, bench_reading, one_core, ratio_of
from tdpn_core.rng import derive
from tdpn_core.shards import ClipStore
from tdpn_core.video.ffmpeg_binary import find_ffmpeg


def encode(store: ClipStore, clip: int, path: Path) -> None:
    """Encode a clip's frames as H.264, with even sides as required by 4:2:0."""
    read = ["-f", "image2pipe", "-c:v", "mjpeg", "-framerate", f"{store.fps[clip]:.3f}", "-i", "pipe:0"]
    write = ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-threads", "1"]
    command = [find_ffmpeg().path, "-loglevel", "error", *read, *write, f"file:{path}"]
    frames = store.read(clip, range(int(store.counts[clip])))
    subprocess.run(command, input=b"".join(frames), check=True)


def in_a_batch(path: Path, frames: list[int]) -> None:
    """Read some frames of a file with decord in its fastest way."""
    decord.VideoReader(str(path), num_threads=1).get_batch(frames).asnumpy()


def readable(path: Path) -> bool:
    try:
        in_a_batch(path, [0, 1])
    except decord.DECORDError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--videos", type=Path, help="root folder of the data set, whose files decord reads")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(*bench_reading(options.prepared, clips=options.clips, rounds=options.rounds).lines(), sep="\n", flush=True)

    store = ClipStore(options.prepared, "train")
    clips = derive(0).permutation(len(store))[: options.clips].tolist()
    with tempfile.TemporaryDirectory() as folder, one_core():
        if options.videos:
            videos = {clip: options.videos / store.source(clip) for clip in clips}
        else:
            videos = {clip: Path(folder) / f"{clip}.mp4" for clip in clips}
            for clip, path in videos.items():
                encode(store, clip, path)
        clips = [clip for clip in clips if readable(videos[clip])]
        print(f"\n{len(clips)} clips that decord reads")
        print(f"{'clips/s':15}{'read+decode':>13}{'decord':>9}{'ratio':>7}")
        for protocol in PROTOCOLS:
            stages = Stages(protocol.dataset(store, seed=0), store, clips)

            def from_videos(stages: Stages = stages) -> None:
                for clip, draw in stages.draws.items():
                    in_a_batch(videos[clip], draw.frames.tolist())

            taken = alternate({"shards": stages.read_decode, "decord": from_videos}, options.rounds)
            rates = [len(clips) / statistics.median(seconds) for seconds in taken.values()]
            ratio = ratio_of(taken["shards"], taken["decord"])
            print(f"{protocol.name:15}{rates[0]:13.1f}{rates[1]:9.1f}{ratio:7.1f}", flush=True)


if __name__ == "__main__":
    main()
