"""What `torch.compile` says when it cannot compile: it does so at the first step, in its own words."""

from __future__ import annotations

from tdpn_core.errors import DeviceError


def compiler_fault(error: RuntimeError) -> DeviceError | None:
    """What to tell of an error of `torch.compile`; None if it is none."""
    from torch._dynamo.exc import TorchDynamoException  # seconds, but where a network was compiled it is there

    if not isinstance(error, TorchDynamoException):
        return None
    first = next(line for line in str(error).splitlines() if line.strip())
    hint = "it needs a C++ compiler such as g++, and Triton on a GPU; --no-compile trains without it, resumed runs too"
    return DeviceError(f"the network cannot be compiled here ({first.strip()})", where="--compile", hint=hint)
