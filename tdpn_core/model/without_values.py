"""Networks without values: only shapes, for weights that come from a file and for counting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode


@contextmanager
def without_values() -> Iterator[None]:
    """Create modules and tensors on the meta device, and initialise none of them.

    torch would import its compiler for that, which takes two seconds, and run each operation in Python.
    """
    with torch.device("meta"), _Unfilled():
        yield


_FILLERS = {
    *(Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_, init.normal_, init.uniform_),
    *(Tensor.erfinv_, Tensor.mul_, Tensor.add_, Tensor.clamp_),  # of `trunc_normal_`
}


class _Unfilled(TorchFunctionMode):
    """Leaves tensors of the meta device as they are."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _FILLERS:
            target = args[0] if args else given["tensor"]
            if target.is_meta:
                return target
        return func(*args, **given)
