"""The number format of a network on a device: half precision on a GPU that is good at it, float32 on a CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from tdpn_core.errors import ConfigError

Format = Literal["float32", "bf16", "fp16"]
Asked = Literal["auto", "float32", "bf16", "fp16"]
"""A run's `train.precision`."""

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

SMALLEST_SCALE = 1.0
"""A loss scaled by less than this, and gradients still not finite: it is not the format's narrow range."""


class Precision:
    """A number format on a device, with the loss scaling that fp16 needs."""

    def __init__(self, name: Format, device_type: str) -> None:
        """`name` is taken as it is; `choose_precision` knows what a device can do."""
        self.name = name
        self.device_type = device_type
        self.scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(self.device_type, _TYPES[self.name])

    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite only means that the next loss must be scaled by less."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > SMALLEST_SCALE


def scoring_precision(asked: Asked, device: torch.device) -> Precision:
    """The format in which a network that was trained in `asked` scores clips on `device`.

    float32 stays float32; the half formats are whichever the device has, which may not be the one of training.
    """
    return choose_precision("float32" if asked == "float32" or device.type != "cuda" else "auto", device)


def choose_precision(asked: Asked, device: torch.device) -> Precision:
    """The format for `device`: `asked`, or with `auto` the fastest that trains well.

    bf16 has float32's range and needs no scaling. On a CPU both half formats are 10 to 100 times slower than float32
    (measured on one without instructions for them), so they are refused.

    Raises:
        ConfigError: the device cannot compute in the format that was asked for, or not sensibly.
    """
    if device.type != "cuda":
        if asked in _TYPES:
            raise ConfigError(
                f"precision {asked} needs a GPU", hint="leave train.precision at auto: a CPU takes float32"
            )
        return Precision("float32", device.type)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if asked == "bf16" and not has_bf16:
        name = torch.cuda.get_device_name(device)
        raise ConfigError(f"{name} has no bf16", hint="leave train.precision at auto, which takes fp16 here")
    torch.backends.cuda.matmul.allow_tf32 = asked != "float32"
    torch.backends.cudnn.allow_tf32 = asked != "float32"
    if asked == "auto":
        return Precision("bf16" if has_bf16 else "fp16", device.type)
    return Precision(asked, device.type)
