"""Find the fastest memory layout: the measurement behind `tdpn_core.model.cpu`.

    python benchmarks/layout.py [--device cuda] [--rounds 7] [--threads 2] [--case r50]     whole networks
    python benchmarks/layout.py --convolutions                                              kinds of convolution

Variants alternate within each round, so that other jobs on the machine slow all of them alike. For networks, seconds
are the medians over the rounds, `ratio` is the median of the rounds' times relative to `plain`, and `cpu` the
processor time, over all threads, relative to `plain`. For convolutions, milliseconds are the minimum processor time
over the rounds: `plain`, `3D` (channels-last) and `folded`, forward and backward, and for inference `folded`, `packed`
and, over space, `product`.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch

from tdpn_core import create_model
from tdpn_core.model.base import Network
from tdpn_core.model.cpu import packed_conv as packed
from tdpn_core.model.cpu.malloc import keep_freed_memory
from tdpn_core.model.cpu.memory_layout import FoldingConv, Layout, set_layout
from tdpn_core.model.layers import FRAME, POINT, TIME, Conv, Kernel

LAYOUTS: tuple[Layout, ...] = ("plain", "channels_last", "folded")
CASES = {
    "tdpn r50 8x224² batch 2": ("tdpn", {"arch": "r50"}, 224, 2),
    "tpn r50 8x224² batch 2": ("tpn", {"arch": "r50"}, 224, 2),
    "tdpn r50 8x112² batch 2": ("tdpn", {"arch": "r50"}, 112, 2),
    "tpn r50 8x112² batch 2": ("tpn", {"arch": "r50"}, 112, 2),
    "tsn r50 8x112² batch 2": ("tsn", {"arch": "r50"}, 112, 2),
    "tdpn r18 w0.5 8x112² batch 8": ("tdpn", {"arch": "r18", "width": 0.5, "num_classes": 6}, 112, 8),
    "tdpn r18 w0.5 8x64² batch 16": ("tdpn", {"arch": "r18", "width": 0.5, "num_classes": 6}, 64, 16),
}
CONVOLUTIONS: tuple[tuple[Kernel, int, int, int, int, int], ...] = (
    # kernel, channels, out_channels, stride, groups, side; of 2 clips of 8 frames
    (POINT, 64, 256, 1, 1, 56),
    (POINT, 1024, 256, 1, 1, 14),
    (POINT, 512, 2048, 1, 1, 7),
    (TIME, 1024, 256, 1, 1, 14),
    (TIME, 2048, 512, 1, 1, 7),
    (TIME, 2048, 1024, 1, 32, 7),
    (FRAME, 64, 64, 1, 1, 56),
    (FRAME, 256, 256, 1, 1, 14),
    (FRAME, 256, 512, 2, 1, 56),
    (FRAME, 512, 512, 1, 1, 7),
    (FRAME, 512, 1024, 2, 1, 28),
    (FRAME, 512, 1024, 2, 1, 14),
    (FRAME, 1024, 2048, 2, 1, 14),
    (FRAME, 1024, 2048, 2, 1, 7),
)


def forward(model: Network, clip: torch.Tensor) -> None:
    with torch.inference_mode():
        model.eval()(clip)


def forward_backward(model: Network, clip: torch.Tensor) -> None:
    output = model.train()(clip)
    model.zero_grad()
    heads = [*output.logits.values(), *output.auxiliary.values()]
    torch.stack([logits.square().mean() for logits in heads]).sum().backward()


def seconds(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Return wall-clock and processor time of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def networks(options: argparse.Namespace) -> None:
    for name, (family, settings, size, batch) in CASES.items():
        if options.case not in name:
            continue
        print(name)
        model = create_model(family, input_size=size, **settings).to(options.device)
        frames = model.config.num_frames * model.config.frames_per_step
        clip = torch.randn(batch, 3, frames, size, size, device=options.device)
        for step in (forward, forward_backward):
            measure(model, clip, step, options.rounds)


def measure(model: Network, clip: torch.Tensor, step: Callable[[Network, torch.Tensor], None], rounds: int) -> None:
    times: dict[Layout, list[tuple[float, float]]] = {layout: [] for layout in LAYOUTS}
    for number in range(rounds + 1):
        for name in LAYOUTS:
            set_layout(model, name)
            taken = seconds(lambda: step(model, clip), clip.device.type)
            if number:  # the first round warms up
                times[name].append(taken)
    for name in LAYOUTS:
        wall = statistics.median(taken[0] for taken in times[name])
        ratio, cpu = (
            statistics.median(mine[kind] / plain[kind] for mine, plain in zip(times[name], times["plain"], strict=True))
            for kind in (0, 1)
        )
        print(f"    {step.__name__:17s} {name:14s} {wall:8.3f} s   ratio {ratio:5.2f}   cpu {cpu:5.2f}", flush=True)


def convolutions(options: argparse.Namespace) -> None:
    print(f"{'kernel':12}{'channels':>16}{'stride':>8}{'groups':>8}{'side':>6}", end="")
    print(f"{'plain':>9}{'3D':>9}{'folded':>9}  |{'folded':>9}{'packed':>9}{'product':>9}  ms")
    for kernel, channels, out, stride, groups, side in CONVOLUTIONS:
        works = convolution_works(Conv(channels, out, kernel, stride=stride, groups=groups), side)
        least = dict.fromkeys(works, float("inf"))
        for number in range(options.rounds + 1):
            for name, work in works.items():
                taken = seconds(work, "cpu")[1]
                least[name] = min(least[name], taken) if number else least[name]
        figures = [f"{1e3 * least[name]:9.1f}" if name in least else f"{'-':>9}" for name in COLUMNS]
        shape = f"{channels} to {out}"
        print(f"{'x'.join(map(str, kernel)):12}{shape:>16}{stride:8}{groups:8}{side:6}", end="")
        print(*figures[:3], "  |", *figures[3:], sep="", flush=True)


EVERYTHING_FOLDS = {"is_faster_plain": False, "is_faster_over_time": True}
"""Rules that always fold, to measure the cost of folding."""

COLUMNS = ("plain", "channels_last", "folded", "inference", "packed", "product")


def convolution_works(conv: Conv, side: int) -> dict[str, Callable[[], object]]:
    """Return the functions to time for one kind of convolution, by column."""
    x = torch.randn(2, conv.in_channels, 8, side, side, requires_grad=True)
    inner = x.detach().clone(memory_format=torch.channels_last_3d).requires_grad_()
    model = torch.nn.Sequential(conv)
    out = torch.randn_like(conv(x))
    out_inner = out.clone(memory_format=torch.channels_last_3d)

    def trained(name: Layout) -> Callable[[], object]:
        def work() -> None:
            set_layout(model, name)
            into, gradient = (x, out) if name == "plain" else (inner, out_inner)
            torch.autograd.grad(model(into), (into, *model.parameters()), gradient)

        return work

    def run(part: torch.nn.Module) -> Callable[[], object]:
        def work() -> None:
            with torch.inference_mode():
                part(inner)

        return work

    def packing(large: int) -> torch.nn.Module:
        part = copy.deepcopy(model)
        packed.pack_convolutions(part)
        usual, packed.LARGE = packed.LARGE, large
        run(part)()
        packed.LARGE = usual
        return part

    works: dict[str, Callable[[], object]] = {name: trained(name) for name in LAYOUTS}
    works |= {"inference": run(model), "packed": run(packing(1 << 40))}
    return works | ({"product": run(packing(0))} if conv.kernel_size == FRAME and conv.groups == 1 else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--case", default="", help="only the networks whose name contains this")
    parser.add_argument("--convolutions", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    if not options.convolutions:
        networks(options)
        return
    wide, slow = (patch.object(FoldingConv, name, return_value=value) for name, value in EVERYTHING_FOLDS.items())
    with wide, slow:
        convolutions(options)


if __name__ == "__main__":
    main()
