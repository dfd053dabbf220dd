"""The table of a GPU: TDPN-R50 and R101, 8 and 32 frames of 224², bf16, training and inference.

    python benchmarks/gpu.py [--data PREPARED] [--batch-size 8] [--rounds 10] [--only r50]

For each network: the plain form (NCTHW, 3D convolutions) under the same autocast, channels-last 3D convolutions, frames
folded into 2D convolutions, and the faster of the two through torch.compile; clips/s, share of the GPU's dense bf16
peak, memory, ratio to the plain form. With --data it then trains the last network for some steps on prepared clips and
prints the share of the time that it waits for them. Without a GPU it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from tdpn_core.bench.compute import Bench, bench_inference, bench_training
from tdpn_core.bench.device import measure_peak, wait
from tdpn_core.bench.subject import Subject, choose_subject
from tdpn_core.model import layout
from tdpn_core.runtime import set_up
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.sampling.loader import TrainingLoader, loader_workers
from tdpn_core.shards import ClipStore

AIM_PEAK, AIM_RATIO, AIM_WAITING = 0.45, 1.5, 0.02


def forms(subject: Subject, what: str, rounds: int) -> None:
    """A line for each layout, and one for the fastest compiled."""
    bench = bench_training if what == "train" else bench_inference
    peak = measure_peak(subject.runtime)
    results: dict[layout.Layout, Bench] = {}
    for name in ("channels_last", "folded"):
        layout.DECISION["cuda", what == "train"] = name
        results[name] = bench(subject, rounds=rounds, peak=peak)
        line(subject, what, name, results[name])
    layout.DECISION["cuda", what == "train"] = fastest = max(results, key=lambda name: results[name].ratio)
    line(subject, what, f"{fastest}, compiled", bench(subject, rounds=rounds, peak=peak, compiled=True))


def line(subject: Subject, what: str, form: str, result: Bench) -> None:
    memory = (result.chosen.memory or 0) / 2**30
    print(
        f"{subject.name:32}{what:7}{form:24}{result.clips_per_second:9.1f} clips/s{result.share_of_peak:7.1%} of peak"
        f"{memory:7.1f} GiB{result.ratio:7.2f} x plain   difference {result.difference:.1e}",
        flush=True,
    )


def waiting(subject: Subject, data: Path, steps: int = 50) -> None:
    """The share of a training step that is spent waiting for prepared clips."""
    dataset = TrainingClips(ClipStore(data, "train"), subject.config.model, subject.config.sampling, seed=0)
    loader = TrainingLoader(dataset, batch_size=subject.batch, seed=0, workers=loader_workers("cuda"), pin=True)
    model, device = subject.build().train(), subject.runtime.device
    batches, waited, began = iter(loader.epoch(0)), 0.0, time.perf_counter()
    for number in range(steps):
        asked = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            break
        waited += (time.perf_counter() - asked) if number else 0
        began = began if number else time.perf_counter()
        clips = batch.clips.to(device, non_blocking=True).float() / 255
        with torch.autocast("cuda", torch.bfloat16):
            loss = sum(logits.square().mean() for logits in model(clips).logits.values())
        loss.backward()
        wait(device)
    share = waited / (time.perf_counter() - began)
    print(f"{subject.name}: {share:.1%} of the time waiting for clips of {data} (aim: under {AIM_WAITING:.0%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="only networks whose name contains this")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA GPU here: nothing was measured")
    runtime = set_up(1)
    print(f"{runtime}, torch {torch.__version__}; aims: {AIM_PEAK:.0%} of peak, {AIM_RATIO} x plain")
    subject = None
    for arch in ("r50", "r101"):
        for frames in (8, 32):
            batch = max(1, options.batch_size * 8 // frames)
            subject = choose_subject(batch=batch, runtime=runtime, arch=arch, frames=frames)
            if options.only in subject.name:
                for what in ("infer", "train"):
                    forms(subject, what, options.rounds)
    if options.data and subject is not None:
        waiting(subject, options.data)


if __name__ == "__main__":
    main()
