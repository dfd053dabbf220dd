import numpy as np
import pytest
import torch
from literal import conv_norm, convolve, nearest
from random_statistics import randomise

from tdpn_core.config.families import model_config
from tdpn_core.model.baselines.tdn import SegmentDifference, TDNBackbone, TrainedShift
from tdpn_core.model.baselines.tsm import shift


def mean_of_whole_2x2(x):
    C, T, H, W = x.shape
    if min(H, W) < 2:
        return x
    out = np.zeros((C, T, H // 2, W // 2))
    for i in range(H // 2):
        for j in range(W // 2):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3))
    return out


def literal_difference(module, x):
    """Of one clip (C, T, H, W), segment by segment."""
    T = x.shape[1]
    b = conv_norm(x, module.reduce)
    c = convolve(b, module.smooth, groups=len(b))
    forward, backward = np.zeros_like(b), np.zeros_like(b)
    for t in range(T - 1):
        forward[:, t] = c[:, t + 1] - b[:, t]
        backward[:, t + 1] = c[:, t] - b[:, t + 1]

    def gate(d):
        small = conv_norm(mean_of_whole_2x2(d), module.coarse)
        sum_of_scales = d / 3 + nearest(small, d.shape[1:]) / 3 + conv_norm(d, module.fine) / 3
        return 1 / (1 + np.exp(-conv_norm(sum_of_scales, module.restore))) - 0.5

    return x + x * (0.5 * gate(forward) + 0.5 * gate(backward))


@pytest.mark.parametrize("shape", [(32, 3, 4, 4), (64, 2, 7, 5), (32, 1, 1, 1)])
def test_the_long_term_module_is_the_released_one(shape):
    module = randomise(SegmentDifference(shape[0])).double().eval()
    x = torch.randn(2, *shape, dtype=torch.float64)
    out = module(x).detach().numpy()
    for n in range(2):
        np.testing.assert_allclose(out[n], literal_difference(module, x[n].numpy()), rtol=1e-9, atol=1e-10)


def test_the_trained_shift_starts_as_tsms():
    x = torch.randn(2, 32, 4, 3, 3)
    assert torch.equal(TrainedShift(32)(x), shift(x))


def test_modules_stand_behind_the_first_convolution_of_res3_to_res5():
    with torch.device("meta"):
        backbone = TDNBackbone(model_config(name="tdn"))
    spots = [name for name, part in backbone.named_modules() if isinstance(part, SegmentDifference)]
    assert spots == [f"layer{stage}.{n}.difference" for stage, count in ((2, 4), (3, 6), (4, 3)) for n in range(count)]
    assert not hasattr(backbone.layer1[0], "shift")

    block = randomise(TDNBackbone(model_config(name="tdn", arch="r50", width=0.125))).eval().layer2[1]
    x = torch.randn(1, 64, 3, 4, 4)
    first = torch.relu(block.bn1(block.conv1(x)))
    out = torch.relu(block.bn2(block.conv2(block.shift(block.difference(first)))))
    torch.testing.assert_close(block(x), torch.relu(block.bn3(block.conv3(out)) + x))


@pytest.mark.parametrize(("frames", "share"), [(8, 0.5), (4, 0.25), (16, 0.25)])
def test_the_short_term_module_joins_before_and_behind_res2(frames, share):
    config = model_config(name="tdn", arch="r18", width=0.25, num_frames=frames)
    backbone = randomise(TDNBackbone(config)).eval()
    clip = torch.randn(1, 3, 5 * frames, 64, 64)
    twice = torch.nn.functional.interpolate
    steps = clip.view(1, 3, frames, 5, 64, 64).diff(dim=3).permute(0, 3, 1, 2, 4, 5).reshape(1, 12, frames, 64, 64)
    small = torch.nn.functional.avg_pool3d(steps, (1, 2, 2))
    motion = backbone.motion.maxpool(torch.relu(backbone.motion.bn1(backbone.motion.conv1(small))))
    x = (1 - share) * backbone.stem(clip[:, :, 2::5]) + share * twice(motion, scale_factor=(1, 2, 2))
    x = (1 - share) * backbone.layer1(x) + share * twice(backbone.motion.layer1(motion), scale_factor=(1, 2, 2))
    torch.testing.assert_close(backbone(clip)["res2"], x)
