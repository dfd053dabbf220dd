"""A network as an ONNX file, float and int8: accuracy, agreement with the network, and speed in onnxruntime.

    python benchmarks/export.py CHECKPOINT [--data FOLDER] [--clips 512] [--calibrate 32] [--rounds 20]

Accuracy is for one view per validation clip. Speed is for one clip at a time, float and int8 alternating within each
round: medians, the median of the rounds' ratios, and the ratio of the shortest times, which other jobs on the machine
affect least.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.schema import RunConfig
from tdpn_core.exporting import ExportOptions
from tdpn_core.exporting.clips import RealClip, RealClips, real_clips
from tdpn_core.exporting.export import export
from tdpn_core.exporting.verify import reference
from tdpn_core.prediction.exported import INPUT


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def scores(path: Path, clips: RealClips) -> dict[str, np.ndarray]:
    opened = session(path, torch.get_num_threads())
    heads = [output.name for output in opened.get_outputs()]
    rows = [opened.run(None, {INPUT: clip.frames[None].numpy()}) for clip in clips]
    return {head: np.concatenate([row[place] for row in rows]) for place, head in enumerate(heads)}


def accuracy(values: dict[str, np.ndarray], clips: RealClips) -> dict[str, float]:
    result = {}
    for head, found in values.items():
        labels = np.array([clip.labels.get(head, -1) for clip in clips])
        result[head] = float((found.argmax(1) == labels)[labels >= 0].mean())
    return result


def speed(files: dict[str, Path], clip: RealClip, threads: int, rounds: int) -> None:
    opened = {name: session(path, threads) for name, path in files.items()}
    frames = {INPUT: clip.frames[None].numpy()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for number in range(rounds + 1):
        for name, each in opened.items():
            began = time.perf_counter()
            each.run(None, frames)
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - began)
    ratios = [one / other for one, other in zip(times["float"], times["int8"], strict=True)]
    shown = ", ".join(f"{name} {statistics.median(values) * 1000:.1f} ms" for name, values in times.items())
    shortest = min(times["float"]) / min(times["int8"])
    print(f"  {threads} threads: {shown}; int8 {statistics.median(ratios):.2f} times as fast, at best {shortest:.2f}")


def exported(checkpoint: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Path]:
    files = {}
    for name, int8 in (("float", False), ("int8", True)):
        options = ExportOptions(int8=int8, compared=2, calibrated=arguments.calibrate)
        files[name] = export(checkpoint, folder / f"{name}.onnx", options=options).path
    return files


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--calibrate", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    loaded = load_checkpoint(arguments.checkpoint)
    config: RunConfig = loaded.config
    clips = real_clips(config, None, arguments.clips, data=arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        files = exported(arguments.checkpoint, Path(folder), arguments)
        own = reference(loaded.build(torch.device("cpu")), config, clips)
        found = {"network": own} | {name: scores(path, clips) for name, path in files.items()}
        model = config.model
        print(f"{model.name} {model.arch}, {model.num_frames} x {model.input_size}², {len(clips)} clips")
        for name, values in found.items():
            size = f"{files[name].stat().st_size / 1e6:.1f} MB" if name in files else ""
            same = {head: float((values[head].argmax(1) == own[head].argmax(1)).mean()) for head in own}
            for head, share in accuracy(values, clips).items():
                print(f"  {name:8} {head} top-1 {share:.1%}, as the network {same[head]:.1%} {size}")
        for threads in range(1, min(2, os.cpu_count() or 1) + 1):
            speed(files, clips.read(0), threads, arguments.rounds)


if __name__ == "__main__":
    main()
