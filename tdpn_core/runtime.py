"""The process that trains, evaluates or predicts: its device. The one place for process set-up."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

from tdpn_core.errors import DeviceError


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Where one process computes."""

    device: torch.device

    @property
    def device_type(self) -> Literal["cpu", "cuda"]:
        """What kind of device it is."""
        return "cuda" if self.device.type == "cuda" else "cpu"

    def __str__(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"CPU, {torch.get_num_threads()} threads"


def set_up(gpus: int | None = None) -> Runtime:
    """Take the device: `gpus` None is one GPU where there is one, 0 the CPU, N that many GPUs.

    Raises:
        DeviceError: more GPUs than this machine has, or more than one, which this version cannot use together.
    """
    found = torch.cuda.device_count()
    wanted = min(found, 1) if gpus is None else gpus
    if wanted < 0:
        raise DeviceError(f"--gpus must not be negative, not {wanted}")
    if wanted > found:
        hint = f"use --gpus {found}" if found else "use --gpus 0 to train on the CPU"
        raise DeviceError(f"{wanted} {_noun(wanted)} asked for, {found} found", where="--gpus", hint=hint)
    if wanted > 1:
        raise DeviceError("this version trains on one GPU", where="--gpus", hint="use --gpus 1")
    if wanted == 1:
        torch.backends.cudnn.benchmark = True  # clips have one size
        return Runtime(torch.device("cuda", 0))
    return Runtime(torch.device("cpu"))


def _noun(count: int) -> str:
    return "GPU" if count == 1 else "GPUs"
