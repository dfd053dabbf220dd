"""Both forms of I3D, and C2D: how time is strided and pooled."""

import numpy as np
import pytest
import torch
from literal import convolve

from tdpn_core.config.families import LEVELS, model_config
from tdpn_core.errors import ConfigError
from tdpn_core.model.baselines.inception import STEM, pad, pool
from tdpn_core.model.baselines.resnets import c2d
from tdpn_core.model.layers import Conv
from tdpn_core.model.registry import build_model, create_model


def same(length, size, stride):
    """TensorFlow's SAME: how many zeros before, and how many windows."""
    windows = -(-length // stride)
    total = max((windows - 1) * stride + size - length, 0)
    return total // 2, windows


def literal_pool(x, kernel, stride):
    """Of one clip (C, T, H, W) of values that are not negative."""
    before, windows = zip(*(same(n, k, s) for n, k, s in zip(x.shape[1:], kernel, stride, strict=True)), strict=True)
    out = np.zeros((len(x), *windows))
    for t, i, j in np.ndindex(*windows):
        spans = [
            slice(max(at * s - b, 0), at * s - b + k)
            for at, s, b, k in zip((t, i, j), stride, before, kernel, strict=True)
        ]
        out[:, t, i, j] = x[:, spans[0], spans[1], spans[2]].max((1, 2, 3))
    return out


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
@pytest.mark.parametrize("size", [(4, 6, 8), (3, 5, 7), (1, 1, 1)])
def test_pools_pad_as_tensorflow_does(kernel, stride, size):
    x = torch.rand(2, 3, *size)
    out = pool(x, kernel, stride)
    for n in range(2):
        np.testing.assert_array_equal(out[n].numpy(), literal_pool(x[n].numpy(), kernel, stride))


@pytest.mark.parametrize("size", [(4, 8, 10), (5, 7, 9)])
def test_the_first_convolution_pads_as_tensorflow_does(size):
    conv = Conv(2, 3, STEM, stride=2, temporal_stride=2).double()
    conv.padding = (0, 0, 0)
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    starts, windows = zip(*(same(length, 7, 2) for length in size), strict=True)
    padded = np.zeros((2, *(2 * n + 5 for n in windows)))
    padded[:, *(slice(start, start + n) for start, n in zip(starts, size, strict=True))] = x[0].numpy()
    inner = convolve(padded, conv)[:, 3:-3:2, 3:-3:2, 3:-3:2]
    np.testing.assert_allclose(conv(pad(x, STEM, (2, 2, 2)))[0].detach().numpy(), inner, rtol=1e-9, atol=1e-12)


def test_stages_of_inception_have_the_releases_shapes():
    with torch.device("meta"):
        model = create_model("i3d", num_frames=16).eval()
        levels = model.feature_maps(torch.empty(2, 3, 16, 224, 224)).levels
    shapes = [tuple(levels[level].shape[1:4]) for level in LEVELS]
    assert shapes == [(192, 8, 56), (480, 8, 28), (832, 4, 14), (1024, 2, 7)]
    assert {part.eps for part in model.modules() if isinstance(part, torch.nn.BatchNorm3d)} == {1e-3}


def test_inception_averages_the_logits_of_each_two_steps():
    model = create_model("i3d", width=0.125, num_frames=32, num_classes=3).eval()
    clip = torch.randn(1, 3, 32, 32, 32)
    top = model.feature_maps(clip).levels["res5"]
    linear = model.head.linear["action"]
    steps = [linear(top[:, :, t : t + 2].mean((2, 3, 4))) for t in range(3)]
    assert top.shape[2] == 4
    torch.testing.assert_close(model(clip), torch.stack(steps).mean(0))


def test_the_residual_i3d_looks_at_three_frames_in_every_other_block():
    with torch.device("meta"):
        backbone = build_model(model_config(name="i3d", arch="r50")).backbone
        levels = backbone(torch.empty(1, 3, 32, 64, 64))
    kernels = [[block.conv1.kernel_size[0] for block in backbone.get_submodule(f"layer{n}")] for n in (1, 2, 3, 4)]
    assert kernels == [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    assert [levels[level].shape[2] for level in LEVELS] == [8, 4, 4, 4]


def test_c2d_pools_pairs_of_frames_behind_res2():
    backbone = c2d(model_config(name="c2d", arch="r18", width=0.25)).eval()
    frames = torch.randn(1, 3, 4, 32, 32)
    levels = backbone(frames)
    pairs = levels["res2"].unflatten(2, (2, 2)).amax(3)
    torch.testing.assert_close(levels["res3"], backbone.layer2(pairs))
    assert {part.kernel_size[0] for part in backbone.modules() if isinstance(part, torch.nn.Conv3d)} == {1}


def test_inception_has_its_own_strides():
    with pytest.raises(ConfigError, match="the Inception i3d has its own temporal_strides; give --arch r50"):
        model_config(name="i3d", temporal_strides=(1, 1, 2))
