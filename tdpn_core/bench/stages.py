"""Time of each part of a network's forward pass, and traces for chrome://tracing or Perfetto."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdpn_core.bench.device import wait
from tdpn_core.files import atomic_path

REST = "between"
"""Name of the stage for operations outside of all parts."""


def parts(model: nn.Module) -> dict[str, list[nn.Module]]:
    """Return the stages of a network: `stem`, `res2` to `res5` and others of the backbone, then its other parts."""
    stages: dict[str, list[nn.Module]] = {}
    for name, child in model.named_children():
        if name != "backbone":
            stages.setdefault(name.replace("_", " "), []).append(child)
            continue
        for inner, part in child.named_children():
            stage = f"res{int(inner[-1]) + 1}" if inner[:-1] == "layer" and inner[-1].isdecimal() else inner
            stages.setdefault("stem" if isinstance(part, LEAVES) else stage, []).append(part)
    return stages


LEAVES = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.MaxPool3d, nn.Identity)


def stage_seconds(model: nn.Module, work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return the seconds of each stage in one run of `work`, which calls `model`, synchronising at every boundary."""
    seconds: dict[str, float] = {}
    handles, began = [], {}
    for stage, modules in parts(model).items():
        for module in modules:

            def before(part: nn.Module, *_: Any) -> None:
                wait(device)
                began[part] = time.perf_counter()

            def after(part: nn.Module, *_: Any, stage: str = stage) -> None:
                wait(device)
                seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began[part]

            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        whole = time.perf_counter() - start
    finally:
        for handle in handles:
            handle.remove()
    return {**seconds, REST: max(0.0, whole - sum(seconds.values()))}


@contextmanager
def traced(path: Path | None) -> Iterator[None]:
    """Write a Chrome trace of operators and kernels inside the block to `path`; do nothing without a path."""
    if path is None:
        yield
        return
    with torch.profiler.profile(record_shapes=True) as profile:
        yield
    with atomic_path(path) as temporary:
        profile.export_chrome_trace(str(temporary))
