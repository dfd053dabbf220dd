"""Measure what a row costs: speed of training and inference, and memory, alone in a process."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tdpn_core.ablation.cells import is_finished, prepare_cell, result_of
from tdpn_core.bench.compute import Stepper
from tdpn_core.bench.device import peak_memory, take
from tdpn_core.bench.subject import Subject
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.model.cpu.fold_bn import for_inference
from tdpn_core.model.flops import cost
from tdpn_core.sampling.loader import Batch
from tdpn_core.training.train_step import Learner

FOLDER = "cost"
"""Folder of a row's measurement, next to its seeds."""

_STEPS = 7
_SECONDS = 60.0
"""Measurements end after that many steps or seconds, whichever is first; the first step is not counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Cost of a network with its recipe, on random clips in memory: without reading data."""

    train_clips_per_second: float
    """Training steps as in a run, by the fastest of them: other jobs on the machine only make a step slower."""

    infer_clips_per_second: float
    """Forward passes as in evaluation, in batches of the training batch, by the fastest of them."""

    memory: int | None
    """Peak memory in bytes of training: allocated on a GPU, else of the process; None if unknown."""

    machine: str


def prepare_measurement(folder: Path, call: Mapping[str, Any]) -> Path:
    """Return the cell that measures the row whose runs are described by `call`, below the row's `folder`."""
    return prepare_cell(folder / FOLDER, {**call, "measure": True})


def measured(cell: Path) -> Measured | None:
    """Return the measurement of a row; None if its cell is not finished."""
    return Measured(**result_of(cell)) if is_finished(cell) else None


def measure(config: RunConfig, runtime: Runtime) -> Measured:
    """Measure training, then inference, of the network and recipe `config`; this process should do nothing else."""
    batch = min(config.train.batch_size, max(2, -(-config.train.batch_size // config.train.accumulate)))
    subject = Subject(config=config, batch=batch, runtime=runtime, cost=cost(config.model))
    training = _seconds(_training_step(subject), runtime.device)
    memory = peak_memory(runtime.device)
    inference = Stepper(for_inference(subject.build(), runtime.device), subject)
    return Measured(
        train_clips_per_second=batch / training,
        infer_clips_per_second=batch / _seconds(inference.forward, runtime.device),
        memory=memory,
        machine=machine(runtime),
    )


def machine(runtime: Runtime) -> str:
    """Return the device in words, such as `CPU of 2 cores (x86_64), 2 threads`."""
    if runtime.device_type == "cuda":
        return str(torch.cuda.get_device_name(runtime.device))
    return f"CPU of {os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads"


def _training_step(subject: Subject) -> Callable[[], object]:
    model, count, config = subject.config.model, subject.batch, subject.config
    single = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=count, accumulate=1))
    learner = Learner(single, [str(clip) for clip in range(count)], subject.runtime)
    frames, side = model.num_frames * model.frames_per_step, model.input_size
    clips = torch.randint(256, (count, model.channels, frames, side, side), dtype=torch.uint8)
    batch = Batch(
        clips=clips.to(subject.runtime.device),
        labels=subject.labels(),
        indices=torch.arange(count),
        visits=torch.zeros(count, dtype=torch.int64),
    )
    return lambda: learner.step(batch, number=0, lr=config.train.lr / 1000)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the least seconds of `work`, after a first run that allocates memory and chooses algorithms."""
    take(work, device)
    taken: list[float] = []
    while len(taken) < _STEPS and sum(taken) < _SECONDS:
        taken.append(take(work, device).seconds)
    return min(taken)
