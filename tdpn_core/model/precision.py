"""Number format of a network on a device: half precision on GPUs that support it well, float32 on CPUs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from tdpn_core.errors import ConfigError

Format = Literal["float32", "bf16", "fp16"]
Asked = Literal["auto", "float32", "bf16", "fp16"]
"""Value of `train.precision`."""

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

SMALLEST_SCALE = 1.0
"""If the loss scale is below this and gradients are still not finite, the format's range is not the cause."""


class Precision:
    """A number format on a device, with the loss scaling that fp16 needs."""

    def __init__(self, name: Format, device_type: str) -> None:
        """`name` is used as given; `choose_precision` checks what a device supports."""
        self.name = name
        self.device_type = device_type
        self.scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for a forward pass."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(self.device_type, _TYPES[self.name])

    def may_overflow(self) -> bool:
        """Whether a non-finite gradient only means that the next loss must be scaled down."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > SMALLEST_SCALE


def scoring_precision(asked: Asked, device: torch.device) -> Precision:
    """Return the format in which a network trained in `asked` scores clips on `device`.

    float32 stays float32; of the half formats, the one that the device supports, which may differ from training.
    """
    return choose_precision("float32" if asked == "float32" or device.type != "cuda" else "auto", device)


def choose_precision(asked: Asked, device: torch.device) -> Precision:
    """Return the format for `device`: `asked`, or with `auto` the fastest that trains well.

    bf16 has float32's range and needs no scaling. On a CPU both half formats are 10 to 100 times slower than float32
    (measured on one without instructions for them), so they are refused.

    Raises:
        ConfigError: the device does not support the requested format, or only very slowly.
    """
    if device.type != "cuda":
        if asked in _TYPES:
            raise ConfigError(
                f"precision {asked} needs a GPU", hint="leave train.precision at auto: a CPU uses float32"
            )
        return Precision("float32", device.type)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if asked == "bf16" and not has_bf16:
        name = torch.cuda.get_device_name(device)
        raise ConfigError(f"{name} has no bf16", hint="leave train.precision at auto, which uses fp16 here")
    torch.backends.cuda.matmul.allow_tf32 = asked != "float32"
    torch.backends.cudnn.allow_tf32 = asked != "float32"
    if asked == "auto":
        return Precision("bf16" if has_bf16 else "fp16", device.type)
    return Precision(asked, device.type)
