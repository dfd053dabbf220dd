"""Training steps on a GPU: a profile, the share of time waiting for clips, and fine-tuning for a minute.

    python benchmarks/gpu_step.py profile             # the 15 slowest kernels of a step, and the idle gaps
    python benchmarks/gpu_step.py data FOLDER         # render clips and pack them into FOLDER/data
    python benchmarks/gpu_step.py waiting FOLDER/data # share of time spent waiting for clips, by workers
    python benchmarks/gpu_step.py finetune FOLDER     # tdpn train for 60 seconds, into FOLDER/run

With --rehearse they run on the CPU with a tiny network, as a test of the script.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from tdpn_core.bench.device import wait
from tdpn_core.bench.subject import Subject, choose_subject
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.demo.render import render_dataset
from tdpn_core.distributed.runtime import Runtime, set_up
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.sampling.loader import Batch, TrainingLoader
from tdpn_core.shards import ClipStore
from tdpn_core.training.device import on_device
from tdpn_core.training.train_step import Learner
from tdpn_core.video.encode_options import Encoding

WORKERS = (0, 1, 2, 4, 8, 14)
TINY = {"arch": "r18", "frames": 2, "size": 32, "settings": {"model.width": "0.125"}}


def subject_of(runtime: Runtime, rehearse: bool) -> Subject:
    return choose_subject(
        batch=2 if rehearse else 16,
        runtime=runtime,
        overrides=TrainOverrides(**(TINY if rehearse else {"arch": "r50"})),
    )


def random_batch(subject: Subject) -> Batch:
    model, count = subject.config.model, subject.batch
    frames = model.num_frames * model.frames_per_step
    clips = torch.randint(0, 256, (count, 3, frames, model.input_size, model.input_size), dtype=torch.uint8)
    labels = {head: torch.zeros(count, dtype=torch.long) for head in model.num_classes}
    return Batch(clips, labels, torch.arange(count), torch.zeros(count, dtype=torch.long))


def profile_step(runtime: Runtime, rehearse: bool) -> None:
    """Print the kernels of two steps, and the idle gaps of the GPU."""
    subject = subject_of(runtime, rehearse)
    learner = Learner(subject.config, [str(number) for number in range(subject.batch)], runtime)
    batch = random_batch(subject)
    if runtime.device_type == "cuda":
        batch = batch._replace(clips=batch.clips.pin_memory())
    batches = on_device(iter([batch] * 7), runtime.device)
    for number in range(5):
        learner.step(next(batches), number=number, lr=1e-4)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (runtime.device_type == "cuda")
    with profile(activities=activities) as found:
        for number in range(5, 7):
            learner.step(next(batches), number=number, lr=1e-4)
        wait(runtime.device)
    own = "self_device_time_total" if runtime.device_type == "cuda" else "self_cpu_time_total"
    print(found.key_averages().table(sort_by=own, row_limit=15, max_name_column_width=70))
    kernels = [event for event in found.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    gaps(sorted((event.time_range.start, event.time_range.end) for event in kernels))


def gaps(spans: list[tuple[float, float]]) -> None:
    """Print the share of time without a kernel, and the longest gaps; spans in microseconds."""
    if not spans:
        print("no GPU kernels were recorded, so there are no gaps")
        return
    joined = [spans[0]]
    for start, end in spans[1:]:
        last = joined[-1]
        joined[-1:] = [(last[0], max(last[1], end))] if start <= last[1] else [last, (start, end)]
    whole, idle = joined[-1][1] - joined[0][0], [after[0] - before[1] for before, after in pairwise(joined)]
    longest = ", ".join(f"{gap:.0f}" for gap in sorted(idle, reverse=True)[:10])
    print(f"idle {sum(idle) / whole:.1%} of {whole / 1e3:.1f} ms in {len(idle)} gaps; the longest, µs: {longest}")


def make_data(folder: Path, rehearse: bool) -> None:
    """Render motions and prepare them at the training size."""
    render_dataset(folder / "clips", train_per_class=2 if rehearse else 8, val_per_class=1, seed=0)
    encoding = Encoding(short_side=40 if rehearse else 256)
    prepare("folder", folder / "clips", folder / "data", settings=PrepConfig(encoding=encoding))
    print(f"{len(ClipStore(folder / 'data', 'train'))} training clips in {folder / 'data'}")


def waiting(data: Path, runtime: Runtime, rehearse: bool) -> None:
    """Train on prepared clips with each number of workers; the first step is not counted."""
    subject = subject_of(runtime, rehearse)
    store = ClipStore(data, "train")
    dataset = TrainingClips(store, subject.config.model, subject.config.sampling, seed=0)
    for workers in (count for count in WORKERS if not rehearse or count < 2):
        learner = Learner(subject.config, store.ids, runtime)
        loader = TrainingLoader(
            dataset, batch_size=subject.batch, seed=0, workers=workers, pin=runtime.device_type == "cuda"
        )
        waited = clips = 0.0
        began = first = time.perf_counter()
        number = 0
        for epoch in range(100):
            batches = on_device(loader.epoch(epoch), runtime.device)
            while (asked := time.perf_counter()) and (batch := next(batches, None)) is not None:
                waited += time.perf_counter() - asked if number else 0.0
                clips += len(batch.indices) if number else 0
                learner.step(batch._replace(labels=known(batch)), number=number, lr=1e-4)
                began = began if number else time.perf_counter()
                number += 1
            if time.perf_counter() - first > 8:
                break
        seconds = time.perf_counter() - began
        print(f"{subject.name}, {workers:2} workers: waits {waited / seconds:6.1%}, {clips / seconds:7.1f} clips/s")


def known(batch: Batch) -> dict[str, torch.Tensor]:
    """Map labels of the prepared clips to those of a network with more classes."""
    return {"action": next(iter(batch.labels.values()))}


def finetune(folder: Path, rehearse: bool) -> None:
    """Run `tdpn train` on the prepared clips for a minute; it then saves a checkpoint and exits, as on any SIGTERM."""
    words = ["--recipe", "small", "--epochs", "500", "--out", str(folder / "run"), "--data", str(folder / "data")]
    if rehearse:
        words += ["--arch", "r18", "--frames", "2", "--size", "32", "--set", "model.width=0.125"]
    command = [sys.executable, "-m", "tdpn_cli", "train", *words]
    with subprocess.Popen(command, env=os.environ) as process:
        try:
            code = process.wait(20 if rehearse else 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            code = process.wait()
    print(f"tdpn train ended with {code} (3: stopped and saved)")
    sys.exit(0 if code in (0, 3) else code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("profile", "data", "waiting", "finetune"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rehearse", action="store_true", help="run with a tiny network on the CPU")
    options = parser.parse_args()
    if not (options.rehearse or torch.cuda.is_available() or options.what == "data"):
        sys.exit("no CUDA GPU here: nothing was measured")
    if options.what == "data":
        return make_data(options.folder, options.rehearse)
    if options.what == "finetune":
        return finetune(options.folder, options.rehearse)
    runtime = set_up(0 if options.rehearse else 1)
    if options.what == "profile":
        return profile_step(runtime, options.rehearse)
    return waiting(options.folder, runtime, options.rehearse)


if __name__ == "__main__":
    main()
