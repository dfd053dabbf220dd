"""Fold batch normalisation into the preceding convolutions, for inference.

In eval mode a normalisation scales and shifts each channel, which a convolution can do itself: w' = w * s,
b' = beta - mean * s with s = gamma / sqrt(variance + eps). That saves a pass over every activation.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from tdpn_core.model.cpu.memory_layout import choose, set_layout
from tdpn_core.model.cpu.packed_conv import pack_convolutions

Model = TypeVar("Model", bound=nn.Module)


def for_inference(model: Model, device: torch.device) -> Model:
    """Return a copy of `model` on `device` for inference, with folded normalisations and the fastest layout.

    `model` is unchanged. Both share the tensors that folding does not change.
    """
    fast = fold_normalisations(model).to(device)
    layout = choose(device.type, training=False)
    set_layout(fast, layout)
    if layout == "folded" and device.type == "cpu":
        pack_convolutions(fast)
    return fast


def fold_normalisations(model: Model) -> Model:
    """Return a copy of `model` in eval mode, with every normalisation that follows a convolution folded into it.

    Outputs are equal within rounding (scales and shifts are computed in float64). The copy is only for inference: its
    state dict differs, and it cannot be trained. Tensors that folding does not change are shared.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    folded = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()
    for module in list(folded.modules()):
        for conv, place in list(_pairs(module)):
            norm = module.get_submodule(place)
            assert isinstance(norm, _BatchNorm)
            _fold(conv, norm)
            setattr(module, place, nn.Identity())
    return folded


def _pairs(module: nn.Module) -> Iterator[tuple[_ConvNd, str]]:
    """Yield each convolution of `module` with the name of the normalisation that directly follows it.

    In this package, children are declared in the order in which they run: a normalisation declared after a convolution
    takes that convolution's output, and nothing else does.
    """
    for (_, conv), (place, norm) in pairwise(module.named_children()):
        if isinstance(conv, _ConvNd) and isinstance(norm, _BatchNorm) and norm.running_var is not None:
            yield conv, place


@torch.no_grad()
def _fold(conv: _ConvNd, norm: _BatchNorm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -mean.double() * scale if conv.bias is None else (conv.bias.double() - mean.double()) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    dtype = conv.weight.dtype
    weight = conv.weight * scale.to(dtype).view(-1, *[1] * (conv.weight.ndim - 1))
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = nn.Parameter(shift.to(dtype), requires_grad=False)
