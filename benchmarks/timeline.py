"""From annotated long videos to a measured timeline, each step by its command; and memory by length of a video.

    python benchmarks/timeline.py rendered FOLDER [--videos 12] [--minutes 3] [--epochs 20]
    python benchmarks/timeline.py fights FOLDER CLIPS [--per-class 30] [--epochs 10]
    python benchmarks/timeline.py memory FOLDER CHECKPOINT

`rendered` makes videos of moving objects with gaps, prepares their segments with background clips, trains, and scores
the predicted segments of four other videos. `fights` does the same with two class folders of real clips, `fight` and
`noFight`, which is background: of a fifth of them it makes long videos with known cut times. `memory` predicts
timelines of 3 and 30 minutes, with a window every 4 s, and prints memory and speed. The memory is the peak resident
set of one process: the command's own, or that of its largest child process if it is larger. It is not their sum: the
decoder, which runs at the same time, is not added. The processor time includes child processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tdpn_core.demo.long_videos import render_long_videos
from tdpn_core.video.ffmpeg_binary import find_ffmpeg
from tdpn_core.video.probe import probe

SEGMENTS = {"one class at each moment": [], "each class by itself": ["--nms", "0.5"]}
WINDOWS = ["--window", "4", "--stride", "4"]


def tdpn(*words: object) -> str:
    """Run a command and return what it prints."""
    line = ["tdpn", *map(str, words)]
    print("$", *line, flush=True)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tdpn_cli", *line[1:]], stdout=subprocess.PIPE, text=True, check=True)
    print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    return done.stdout


def score(checkpoint: Path, annotations: Path, folder: Path) -> None:
    """Print the metrics of a network on annotated videos, and of the segments read back from its CSV."""
    for name, words in SEGMENTS.items():
        out = folder / f"timeline-{name.replace(' ', '-')}"
        asked = ["--timeline", annotations, "--videos", annotations.parent, "--out", out]
        found = json.loads(tdpn("eval", checkpoint, *asked, *words, "--json"))
        print(f"{name}: mAP {found['average_map']:.3f}, at 0.50 {found['mean_average_precision']['0.50']:.3f}, "
              f"F1 {found['f1']}, edit {found['edit']:.3f}, accuracy {found['accuracy']:.3f}, "
              f"of labelled time {found['labelled_accuracy']:.3f}")  # fmt: skip


def rendered(folder: Path, videos: int, minutes: float, epochs: int) -> None:
    """Train on rendered videos, and score four others."""
    render_long_videos(folder / "train", videos=videos, seconds=60 * minutes, seed=0)
    annotations = render_long_videos(folder / "test", videos=4, seconds=60 * minutes, seed=1)
    data, run = folder / "data", folder / "run"
    tdpn("prep", "auto", "--root", folder / "train", "--out", data, "--short-side", 72, "--background")
    size = ["--recipe", "small", "--size", 64, "--interval", 4, "--set", "sampling.mode=dense"]
    tdpn("train", "--data", data, "--out", run, *size, "--epochs", epochs)
    tdpn("eval", run / "best.pt")
    found = folder / "found.csv"
    clips = sorted(annotations.parent.glob("*.mp4"))
    tdpn("predict", *clips, "--checkpoint", run / "best.pt", "--timeline", "--csv", found, "--force")
    tdpn("eval", found, "--timeline", annotations, "--out", folder / "timeline-of-file")
    score(run / "best.pt", annotations, folder)


def fights(folder: Path, clips: Path, per_class: int, epochs: int) -> None:
    """Train on clips of two classes, and score long videos that are made of others."""
    test: dict[str, list[Path]] = {"fight": [], "noFight": []}
    for name, left in test.items():
        every = sorted((clips / name).iterdir())
        left += every[::5]
        for clip in [clip for clip in every if clip not in left][:per_class]:
            label = "background" if name == "noFight" else name
            link = folder / "train" / label / clip.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.exists() or link.symlink_to(clip.resolve())
    annotations = join(list(zip(test["noFight"], test["fight"], strict=False)), folder / "test", 10)
    data, run = folder / "data", folder / "run"
    tdpn("prep", "folder", "--root", folder / "train", "--out", data, "--short-side", 72)
    size = ["--recipe", "small", "--size", 64, "--interval", 4, "--set", "sampling.mode=dense"]
    tdpn("train", "--data", data, "--out", run, *size, "--epochs", epochs)
    tdpn("eval", run / "best.pt")
    score(run / "best.pt", annotations, folder)


def join(pairs: list[tuple[Path, Path]], out: Path, each: int) -> Path:
    """Join clips, `each` pairs to a video, and return a list with the times of the second of each pair."""
    out.mkdir(parents=True, exist_ok=True)
    rows = ["video,start,end,label"]
    for first in range(0, len(pairs), each):
        files = [clip for pair in pairs[first : first + each] for clip in pair]
        video = out / f"{first // each:02d}.mp4"
        at = 0.0
        for place, file in enumerate(files):
            length = round(probe(file).video.seconds or probe(file).end, 3)
            if place % 2:
                rows.append(f"{video.name},{at:.3f},{at + length:.3f},fight")
            at += length
        inputs = [word for file in files for word in ("-i", str(file))]
        alike = "".join(f"[{number}:v]scale=160:120,setsar=1,fps=25[v{number}];" for number in range(len(files)))
        chain = alike + "".join(f"[v{number}]" for number in range(len(files))) + f"concat=n={len(files)}[out]"
        command = [find_ffmpeg().path, "-v", "error", "-y", *inputs, "-filter_complex", chain, "-map", "[out]", video]
        subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)
    path = out / "annotations.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def memory(folder: Path, checkpoint: Path) -> None:
    """Print peak memory and speed of predicting videos of 3 and 30 minutes."""
    for minutes, video in of_lengths(folder).items():
        words = [video, "--checkpoint", checkpoint, "--csv", folder / "out.csv", "--force", *WINDOWS]
        measure(minutes, "predict", *words)


def of_lengths(folder: Path) -> dict[int, Path]:
    """Make videos of 3 and 30 minutes, the second of ten copies of the first."""
    (short,) = render_long_videos(folder / "3", videos=1, seconds=180, seed=2).parent.glob("*.mp4")
    long = folder / "30.mp4"
    copies = ["-stream_loop", "9", "-i", str(short), "-c", "copy"]
    subprocess.run([find_ffmpeg().path, "-v", "error", "-y", *copies, str(long)], check=True, stdin=subprocess.DEVNULL)
    return {3: short, 30: long}


def measure(minutes: float, *words: object) -> None:
    """Run a command on a video of this length, and print its peak memory and speed."""
    began = time.perf_counter()
    line = [sys.executable, "-m", "tdpn_cli", *map(str, words)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    processor = usage.ru_utime + usage.ru_stime
    print(f"{minutes} min, {words[0]}: {usage.ru_maxrss / 1024:.0f} MB, {seconds:.0f} s, {processor:.0f} s of a core, "
          f"{minutes * 60 / processor:.1f} times real time on one, status {status}", flush=True)  # fmt: skip


def main() -> None:
    """Parse the command line and run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("rendered")
    part.add_argument("folder", type=Path)
    part.add_argument("--videos", type=int, default=12)
    part.add_argument("--minutes", type=float, default=3.0)
    part.add_argument("--epochs", type=int, default=20)
    part = parts.add_parser("fights")
    part.add_argument("folder", type=Path)
    part.add_argument("clips", type=Path)
    part.add_argument("--per-class", type=int, default=30)
    part.add_argument("--epochs", type=int, default=10)
    part = parts.add_parser("memory")
    part.add_argument("folder", type=Path)
    part.add_argument("checkpoint", type=Path)
    options = vars(parser.parse_args())
    {"rendered": rendered, "fights": fights, "memory": memory}[options.pop("part")](**options)


if __name__ == "__main__":
    main()
