"""Slow, literal arithmetic in numpy for one clip (C, T, H, W), written from the formulas and not from the library."""

import numpy as np
from torch import nn


def convolve(x: np.ndarray, conv: nn.Conv3d, stride: int = 1, groups: int = 1) -> np.ndarray:
    kernel = conv.weight.detach().numpy()
    out_channels, per_group, *size = kernel.shape
    x = np.pad(x, [(0, 0), *((side // 2, side // 2) for side in size)])
    times = x.shape[1] - size[0] + 1
    rows, columns = ((x.shape[axis] - size[axis - 1]) // stride + 1 for axis in (2, 3))
    out = np.zeros((out_channels, times, rows, columns))
    for o in range(out_channels):
        first = o // (out_channels // groups) * per_group
        for t in range(times):
            for i in range(rows):
                for j in range(columns):
                    y, z = i * stride, j * stride
                    patch = x[first : first + per_group, t : t + size[0], y : y + size[1], z : z + size[2]]
                    out[o, t, i, j] = (patch * kernel[o]).sum()
    return out


def normalise(x: np.ndarray, bn: nn.BatchNorm3d) -> np.ndarray:
    mean, var, gamma, beta = (
        value.detach().numpy()[:, None, None, None] for value in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
    )
    return (x - mean) / np.sqrt(var + bn.eps) * gamma + beta


def rectify(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def conv_norm(x: np.ndarray, part: nn.Sequential, stride: int = 1, groups: int = 1) -> np.ndarray:
    return normalise(convolve(x, part.conv, stride, groups), part.bn)


def mean_of_2x2(x: np.ndarray) -> np.ndarray:
    """Odd sizes keep a last window of what is left."""
    C, T, H, W = x.shape
    out = np.zeros((C, T, (H + 1) // 2, (W + 1) // 2))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3))
    return out


def max_of_3x3(x: np.ndarray) -> np.ndarray:
    """Stride 2, padding 1."""
    C, T, H, W = x.shape
    out = np.zeros((C, T, (H + 1) // 2, (W + 1) // 2))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            rows, columns = slice(max(2 * i - 1, 0), 2 * i + 2), slice(max(2 * j - 1, 0), 2 * j + 2)
            out[:, :, i, j] = x[:, :, rows, columns].max((2, 3))
    return out


def max_over_time(x: np.ndarray, rate: int) -> np.ndarray:
    return np.stack([x[:, start : start + rate].max(1) for start in range(0, x.shape[1], rate)], 1)


def nearest(x: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Each output position takes the input's at floor(position * input / output)."""
    for axis, length in enumerate(size, start=1):
        x = np.take(x, [position * x.shape[axis] // length for position in range(length)], axis)
    return x
