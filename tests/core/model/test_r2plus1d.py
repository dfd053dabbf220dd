import numpy as np
import torch
from literal import convolve, normalise, rectify
from random_statistics import randomise

from tdpn_core.config.families import LEVELS, model_config
from tdpn_core.model.baselines.r2plus1d import R2Plus1D, SpaceTime, TimeSpace


def test_the_deep_form_has_the_shapes_of_pytorchvideos():
    with torch.device("meta"):
        levels = R2Plus1D(model_config(name="r2plus1d"))(torch.empty(1, 3, 16, 224, 224))
    shapes = [tuple(levels[level].shape[1:4]) for level in LEVELS]
    assert shapes == [(256, 16, 56), (512, 16, 28), (1024, 8, 14), (2048, 4, 7)]


def test_the_shallow_form_has_the_shapes_of_the_paper():
    with torch.device("meta"):
        levels = R2Plus1D(model_config(name="r2plus1d", arch="r18"))(torch.empty(1, 3, 16, 112, 112))
    shapes = [tuple(levels[level].shape[1:4]) for level in LEVELS]
    assert shapes == [(64, 16, 56), (128, 8, 28), (256, 4, 14), (512, 2, 7)]


def test_channels_between_make_up_for_a_3x3x3():
    with torch.device("meta"):
        block = R2Plus1D(model_config(name="r2plus1d", arch="r18")).layer2[0]
    pair = block.conv2.space.weight.numel() + block.conv2.time.weight.numel()
    assert block.conv1.space.out_channels == 27 * 64 * 128 // (9 * 64 + 3 * 128)
    assert block.conv1.space.out_channels == block.conv2.space.out_channels
    assert 0.6 < pair / (27 * 128 * 128) < 1


def literal_pair(first, norm, second, x, spatial_first):
    """Of one clip: space strided by 2, time by 2."""

    def over(part, value):
        every = convolve(value, part)
        return every[:, :, ::2, ::2] if part.kernel_size[1] > 1 else every[:, ::2]

    assert (first.kernel_size[0] == 1) == spatial_first
    return over(second, rectify(normalise(over(first, x), norm)))


def test_space_and_time_are_convolved_one_after_the_other():
    x = torch.randn(1, 4, 4, 6, 6, dtype=torch.float64)
    paper = randomise(SpaceTime(4, 5, 3, stride=2, temporal_stride=2)).double().eval()
    expected = literal_pair(paper.space, paper.bn, paper.time, x[0].numpy(), True)
    np.testing.assert_allclose(paper(x)[0].detach().numpy(), expected, rtol=1e-9, atol=1e-10)
    other = randomise(TimeSpace(4, stride=2, temporal_stride=2)).double().eval()
    expected = literal_pair(other.time, other.bn, other.space, x[0].numpy(), False)
    np.testing.assert_allclose(other(x)[0].detach().numpy(), expected, rtol=1e-9, atol=1e-10)
