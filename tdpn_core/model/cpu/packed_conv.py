"""Convolutions for inference on a CPU: oneDNN operators with weights reordered once for all calls.

An ordinary convolution reorders its weights in every call, which for small inputs takes longer than the products. These
are the operators that torch's compiler generates for a frozen network.
"""

from __future__ import annotations

import dataclasses
import math
import platform
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.model.cpu.memory_layout import FoldingConv, convolutions, with_parameters_of

LARGE = 16 << 20
"""Bytes of weights that no cache holds. A convolution reads them again for every few rows of its output, so above this
size the windows of the input are copied out and all of them are multiplied in one product, which reads them once."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Geometry of a kernel by axis: two axes (H, W) or three (T, H, W)."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int


def pack_convolutions(model: nn.Module) -> None:
    """Replace every 3D convolution in `model`, in place, with one that packs its weights if possible.

    Only for inference: a packed convolution has no gradient. Changes of its weights (`load_state_dict`, a move to
    another device or type) unpack it; `state_dict`, copies and pickles contain the ordinary weights.
    """
    for parent, name, conv in convolutions(model):
        packed = with_parameters_of(conv, PackedConv)
        packed.layout = "folded"
        setattr(parent, name, packed)


class PackedConv(FoldingConv):
    """A folding convolution that stores its weights in oneDNN's format instead of the ordinary one.

    An input that oneDNN's packed operators do not support (another type or device, a gradient) uses the ordinary
    convolution.
    """

    _packed: PackedConvolution | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T', H', W')."""
        if self.layout != "folded" or not can_run(x):
            self.unpack()
        return super().forward(x)

    def is_faster_plain(self, x: Tensor) -> bool:
        """Return False: with packed weights, folding is always faster."""
        return not can_run(x) and super().is_faster_plain(x)

    def is_faster_over_time(self, x: Tensor) -> bool:
        """Return False: with packed weights, folding is always faster."""
        return can_run(x) or super().is_faster_over_time(x)

    def convolve(self, x: Tensor, axes: slice) -> Tensor:
        """Convolve over these axes of (T, H, W); the kernel has size 1 on the remaining one."""
        if self.layout != "folded" or not can_run(x):
            return super().convolve(x, axes)
        if self._packed is None:
            weight = self.weight.reshape(*self.weight.shape[:2], *self.kernel_size[axes])
            geometry = Geometry(self.stride[axes], self.padding[axes], self.groups)  # type: ignore[arg-type]
            self._packed = PackedConvolution(weight.detach(), self.bias, geometry)
            self.register_parameter("weight", None)  # one copy is enough
        return self._packed(x)

    def unpack(self) -> None:
        """Convert back to ordinary weights."""
        if self._packed is not None:
            self.weight = nn.Parameter(self._ordinary(self._packed), requires_grad=False)
            self._packed = None

    def _ordinary(self, packed: PackedConvolution) -> Tensor:
        return packed.unpacked().view(self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self._packed is not None:  # before the bias, as an ordinary convolution
            destination[prefix + "weight"] = self._ordinary(self._packed)
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self.unpack()
        super()._load_from_state_dict(*args, **options)

    def _apply(self, fn: Any, recurse: bool = True) -> PackedConv:
        self.unpack()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the ordinary weights, for copies and serialisation, which do not support packed ones."""
        self.unpack()
        return self.__dict__.copy()


def can_run(x: Tensor) -> bool:
    """Return whether packing supports `x`: float32 on an x86 CPU, no gradient, not being traced."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and _supported()
    )


class PackedConvolution:
    """A convolution of channels-last inputs with packed weights (C', C / groups, *kernel).

    Weights are reordered in the second call, since a single call would not regain the time; results are bit-identical
    either way. For products, it pays off at once.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, geometry: Geometry):
        self.geometry = geometry
        self.bias = bias
        self.shape = weight.shape
        self.as_product = is_large(weight, geometry)
        self._weight = weight
        self._laid_out = False
        self._called = False

    def __call__(self, x: Tensor) -> Tensor:
        """Map (N, C, *sizes), channels innermost, to (N, C', *sizes')."""
        if not self._laid_out and (self._called or self.as_product):
            weight = self._weight
            self._weight = _for_product(weight) if self.as_product else _for_convolution(weight, self.geometry, x.shape)
            self._laid_out = True
        self._called = True
        return self._product(x) if self.as_product else self._convolve(plainly_channels_last(x))

    def unpacked(self) -> Tensor:
        """Return the original weights."""
        dense = self._weight.to_dense() if self._laid_out else self._weight
        if not self._laid_out or not self.as_product:
            return dense.reshape(self.shape)
        out_channels, channels, *kernel = self.shape
        return dense.view(out_channels, *kernel, channels).permute(0, 3, 1, 2).contiguous()

    def _convolve(self, x: Tensor) -> Tensor:
        padding, stride = self.geometry.padding, self.geometry.stride
        once = (1,) * len(stride)
        out: Tensor = _operators()._convolution_pointwise(
            x, self._weight, self.bias, padding, stride, once, self.geometry.groups, "none", [], ""
        )
        return out

    def _product(self, x: Tensor) -> Tensor:
        rows = windows(x, tuple(self.shape[2:]), self.geometry)  # (N, H', W', kernel * C)
        out: Tensor = _operators()._linear_pointwise(rows.flatten(0, 2), self._weight, self.bias, "none", [], "")
        return out.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)


def plainly_channels_last(x: Tensor) -> Tensor:
    """Return the same channels-last tensor (N, C, *sizes) with canonical strides.

    Strides of axes of size 1 are arbitrary, so that torch may take a tensor for either layout.
    """
    stride, strides = x.shape[1], [1]
    for size in reversed(x.shape[2:]):
        strides.insert(1, stride)
        stride *= size
    return x.as_strided(x.shape, (stride, *strides))


def is_large(weight: Tensor, geometry: Geometry) -> bool:
    """Return whether a convolution over two axes is faster as a matrix product of its windows."""
    over_space = weight.ndim == 4 and math.prod(weight.shape[2:]) > 1
    return over_space and geometry.groups == 1 and weight.numel() * weight.element_size() >= LARGE


def windows(x: Tensor, kernel: tuple[int, ...], geometry: Geometry) -> Tensor:
    """Return the kernel's windows: (N, C, H, W) to (N, H', W', rows * columns * C)."""
    (rows, columns), (down, across) = kernel, geometry.stride
    above, beside = geometry.padding
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, beside, beside, above, above))
    height = (x.shape[1] - rows) // down + 1
    width = (x.shape[2] - columns) // across + 1
    parts = [
        x[:, row : row + (height - 1) * down + 1 : down, column : column + (width - 1) * across + 1 : across]
        for row in range(rows)
        for column in range(columns)
    ]
    return torch.cat(parts, -1)


def _for_convolution(weight: Tensor, geometry: Geometry, shape: torch.Size) -> Tensor:
    functions: Any = torch._C._nn
    reorder = functions.mkldnn_reorder_conv2d_weight if weight.ndim == 4 else functions.mkldnn_reorder_conv3d_weight
    padding, stride = list(geometry.padding), list(geometry.stride)
    once = [1] * len(stride)
    out: Tensor = reorder(weight.contiguous().to_mkldnn(), padding, stride, once, geometry.groups, list(shape))
    return out


def _for_product(weight: Tensor) -> Tensor:
    flat = weight.permute(0, 2, 3, 1).flatten(1)  # (C', kernel * C), as `windows` orders them
    # not for a number of rows: unlike a convolution, a product would let its bits depend on it
    out: Tensor = _operators()._reorder_linear_weight(flat.contiguous())
    return out


def _operators() -> Any:
    return torch.ops.mkldnn


@cache
def _supported() -> bool:
    names = ("_convolution_pointwise", "_linear_pointwise", "_reorder_linear_weight")
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and torch.backends.mkldnn.is_available() and all(hasattr(_operators(), name) for name in names)
