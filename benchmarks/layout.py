"""Which memory layout is fastest: the measurement behind `tdpn_core.model.layout.DECISION`.

    python benchmarks/layout.py [--device cuda] [--rounds 7] [--threads 2] [--case r50]

The layouts take turns within each round, so that another job on the machine slows all of them alike. Seconds are
the medians over the rounds, `ratio` is the median of each round's time to that of `plain` in the same round, and
`cpu` the processor time, over all threads, to that of `plain`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch

from tdpn_core import create_model
from tdpn_core.model.layout import Layout
from tdpn_core.model.network import Network

LAYOUTS: tuple[Layout, ...] = ("plain", "channels_last", "folded")
CASES = {
    "r50 8x224² batch 2": ({"arch": "r50"}, 224, 2),
    "r18 w0.5 64² batch 8": ({"arch": "r18", "width": 0.5, "num_classes": 6}, 64, 8),
    "r18 w0.5 64² batch 16": ({"arch": "r18", "width": 0.5, "num_classes": 6}, 64, 16),
    "r18 w0.5 112² batch 8": ({"arch": "r18", "width": 0.5, "num_classes": 6}, 112, 8),
    "r18 w0.5 112² batch 16": ({"arch": "r18", "width": 0.5, "num_classes": 6}, 112, 16),
}


def forward(model: Network, clip: torch.Tensor) -> None:
    with torch.inference_mode():
        model.eval()(clip)


def forward_backward(model: Network, clip: torch.Tensor) -> None:
    output = model.train()(clip)
    model.zero_grad()
    (output.logits["action"].square().mean() + output.auxiliary["action"].square().mean()).backward()


def seconds(work: Callable[[], None], device: str) -> tuple[float, float]:
    """Wall and processor time of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(model: Network, clip: torch.Tensor, step: Callable[[Network, torch.Tensor], None], rounds: int) -> None:
    times: dict[Layout, list[tuple[float, float]]] = {layout: [] for layout in LAYOUTS}
    for number in range(rounds + 1):
        for layout in LAYOUTS:
            model.layout = layout
            taken = seconds(lambda: step(model, clip), clip.device.type)
            if number:  # the first round warms up
                times[layout].append(taken)
    for layout in LAYOUTS:
        wall = statistics.median(taken[0] for taken in times[layout])
        ratio, cpu = (
            statistics.median(
                mine[kind] / plain[kind] for mine, plain in zip(times[layout], times["plain"], strict=True)
            )
            for kind in (0, 1)
        )
        print(f"    {step.__name__:17s} {layout:14s} {wall:8.3f} s   ratio {ratio:5.2f}   cpu {cpu:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--case", default="", help="only the cases whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    for name, (settings, size, batch) in CASES.items():
        if options.case not in name:
            continue
        print(name)
        model = create_model("tdpn", input_size=size, **settings).to(options.device)
        frames = model.config.num_frames * model.config.frames_per_step
        clip = torch.randn(batch, 3, frames, size, size, device=options.device)
        for step in (forward, forward_backward):
            measure(model, clip, step, options.rounds)


if __name__ == "__main__":
    main()
