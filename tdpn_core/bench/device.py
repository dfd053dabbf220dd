"""Peak rates of a device, and measuring work on it: seconds, processor time, memory."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch.nn import functional as F

from tdpn_core.distributed.runtime import Runtime

KNOWN_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bf16 operations per second according to the manufacturer, by part of the GPU's name."""


@dataclasses.dataclass(frozen=True)
class Peak:
    """Operations per second (two per multiply-accumulate), and the source of the figure."""

    operations: float
    source: str


@dataclasses.dataclass(frozen=True)
class Taken:
    """Measurement of one run of some work."""

    seconds: float
    processor: float
    """Processor seconds over all threads, which other jobs affect less."""


def measure_peak(runtime: Runtime) -> Peak:
    """Return the device's peak rate: bf16 for a GPU, from the manufacturer if known; measured float32 for a CPU.

    For a CPU, the faster of a matrix product and a convolution is used, since the libraries for the two differ in
    efficiency between processors.
    """
    device = runtime.device
    if runtime.device_type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, operations in KNOWN_PEAKS.items():
            if part in name:
                return Peak(operations, f"{name}'s dense bf16 peak as its maker states it")
        a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
        return Peak(2 * 8192**3 / best(lambda: a @ a, device), "a bf16 matrix product of 8192², measured")
    a, x, w = torch.randn(1024, 1024), torch.randn(8, 256, 28, 28), torch.randn(256, 256, 3, 3)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        product = 2 * 1024**3 / best(lambda: a @ a, device)
        convolution = 2 * 8 * 28 * 28 * 256 * 256 * 9 / best(lambda: F.conv2d(x, w, padding=1), device)
    kind = "matrix product of 1024²" if product > convolution else "3x3 convolution of 256 channels"
    return Peak(max(product, convolution), f"a float32 {kind}, measured")


def best(work: Callable[[], object], device: torch.device, rounds: int = 7) -> float:
    """Return the minimum seconds of `work`."""
    return min(take(work, device).seconds for _ in range(rounds + 1))


def take(work: Callable[[], object], device: torch.device) -> Taken:
    """Run `work` once and wait for the device."""
    wait(device)
    seconds, processor = time.perf_counter(), time.process_time()
    work()
    wait(device)
    return Taken(time.perf_counter() - seconds, time.process_time() - processor)


def wait(device: torch.device) -> None:
    """Wait until the device has finished its pending work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def memory_of(work: Callable[[], object], device: torch.device) -> int | None:
    """Return the bytes that `work` needs in addition to current memory; None if the system does not report it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        take(work, device)
        return torch.cuda.max_memory_allocated(device) - before
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps back would hide what is needed again
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        with reset.open("w") as file:
            file.write("5")  # the high-water mark is reset
        before = _kilobytes(status, "VmRSS")
        work()
        return 1024 * (_kilobytes(status, "VmHWM") - before)
    except (OSError, ValueError):
        work()
        return None


def peak_memory(device: torch.device) -> int | None:
    """Return the bytes that were allocated at most on a GPU, else by this process; None if the system hides it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # not getrusage, whose peak includes that of the process that started this one
        return 1024 * _kilobytes(Path("/proc/self/status"), "VmHWM")
    except (OSError, StopIteration):
        return None


def _kilobytes(status: Path, entry: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1])
