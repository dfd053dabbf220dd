"""GPU measurements: TDPN-R50 and R101, 8 and 32 frames of 224², bf16, training and inference.

    python benchmarks/gpu.py [--batch-size 8] [--rounds 10] [--only r50] [--seconds 100] [--rehearse]

For each network: the plain form (NCTHW, 3D convolutions) under the same autocast, channels-last 3D convolutions, frames
folded into 2D convolutions, and the faster of the two through torch.compile; clips/s, share of the GPU's dense bf16
peak, memory, ratio to the plain form. Compiled forms take longest and are measured last; after --seconds no further
measurement starts. `gpu_step.py` profiles a step and measures the share of time waiting for clips. Without a GPU the
script exits without measuring; --rehearse runs everything on the CPU with a tiny network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tdpn_core.bench.compute import Bench, bench_inference, bench_training
from tdpn_core.bench.device import Peak, measure_peak
from tdpn_core.bench.subject import Subject, choose_subject
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.distributed.runtime import set_up
from tdpn_core.model.cpu import memory_layout as layout

AIM_PEAK, AIM_RATIO = 0.45, 1.5
TINY = {"arch": "r18", "size": 32, "settings": {"model.width": "0.125"}}
BENCH: dict[str, Callable[..., Bench]] = {"train": bench_training, "infer": bench_inference}


@dataclass
class Table:
    """Measures forms until the time limit; for a form that fails, prints a line with the error."""

    peak: Peak
    rounds: int
    until: float
    fastest: dict[tuple[str, str], tuple[float, layout.Layout]] = field(default_factory=dict)

    def measure(self, subject: Subject, what: str, form: layout.Layout, *, compiled: bool = False) -> None:
        """Print a line for a layout, preceded by one for the plain form if it is a network's first layout."""
        name = f"{form}{', compiled' if compiled else ''}"
        if time.monotonic() > self.until:
            print(f"{subject.name:32}{what:7}{name:24}not measured: no time left", flush=True)
            return
        layout.DECISION[subject.runtime.device_type, what == "train"] = form
        try:
            result = BENCH[what](subject, rounds=self.rounds, peak=self.peak, compiled=compiled)
        except Exception as error:  # continue with the other forms
            print(f"{subject.name:32}{what:7}{name:24}{type(error).__name__}: {str(error)[:200]}", flush=True)
            return
        key = (subject.name, what)
        if key not in self.fastest:
            plain(subject, what, result)
        self.fastest[key] = max(self.fastest.get(key, (0.0, form)), (result.ratio, form))
        line(subject, what, name, result)


def plain(subject: Subject, what: str, result: Bench) -> None:
    step, memory = result.plain.step, (result.plain.memory or 0) / 2**30
    share = result.operations / step / result.peak.operations
    print(
        f"{subject.name:32}{what:7}{'plain':24}{result.batch / step:9.1f} clips/s{share:7.1%} of peak{memory:7.1f} GiB",
        flush=True,
    )


def line(subject: Subject, what: str, form: str, result: Bench) -> None:
    memory = (result.chosen.memory or 0) / 2**30
    print(
        f"{subject.name:32}{what:7}{form:24}{result.clips_per_second:9.1f} clips/s{result.share_of_peak:7.1%} of peak"
        f"{memory:7.1f} GiB{result.ratio:7.2f} x plain   difference {result.difference:.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="only networks whose name contains this")
    parser.add_argument("--seconds", type=float, default=3600.0, help="time limit after which no measurement starts")
    parser.add_argument("--rehearse", action="store_true", help="run with a tiny network on the CPU")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.rehearse):
        sys.exit("no CUDA GPU here: nothing was measured")
    until = time.monotonic() + options.seconds
    runtime = set_up(0 if options.rehearse else 1)
    print(f"{runtime}, torch {torch.__version__}; targets: {AIM_PEAK:.0%} of peak, {AIM_RATIO} x plain", flush=True)
    table = Table(measure_peak(runtime), 1 if options.rehearse else options.rounds, until)
    kinds = [TINY] if options.rehearse else [{"arch": "r50"}, {"arch": "r101"}]
    subjects = []
    for kind in kinds:
        for frames in (2,) if options.rehearse else (8, 32):
            batch = max(1, options.batch_size * 8 // frames)
            subjects.append(
                choose_subject(batch=batch, runtime=runtime, overrides=TrainOverrides(frames=frames, **kind))
            )
    subjects = [subject for subject in subjects if options.only in subject.name]
    for subject in subjects:
        for what in BENCH:
            for form in ("channels_last", "folded"):
                table.measure(subject, what, form)
    for subject in subjects[:1] + subjects[2:3]:
        for what in BENCH:
            if (subject.name, what) in table.fastest:
                table.measure(subject, what, table.fastest[subject.name, what][1], compiled=True)


if __name__ == "__main__":
    main()
