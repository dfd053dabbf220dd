import numpy as np
import pytest
import torch
from literal import conv_norm, convolve, max_of_3x3, mean_of_2x2, nearest, normalise, rectify
from random_statistics import randomise

from tdpn_core.model.temporal_difference import GlobalDifference, LocalDifference, differences, sampled_frames


def as_numpy(x):
    return x.detach().numpy()


def literal_global(module, F):
    T = F.shape[1]
    b = conv_norm(F, module.reduce)
    c = convolve(b, module.smooth, groups=len(b))
    forward, backward = np.zeros_like(b), np.zeros_like(b)
    for t in range(T):
        if t < T - 1:
            forward[:, t] = b[:, t] - c[:, t + 1]
        if t > 0:
            backward[:, t] = b[:, t] - c[:, t - 1]

    def gate(d):
        branch = (d + nearest(conv_norm(mean_of_2x2(d), module.coarse), d.shape[1:]) + conv_norm(d, module.fine)) / 3
        return 1 / (1 + np.exp(-conv_norm(branch, module.restore))) - 0.5

    G = (gate(forward) + gate(backward)) / 2
    return F + F * G


@pytest.mark.parametrize("shape", [(32, 3, 4, 4), (64, 2, 5, 3), (32, 1, 2, 2)])
def test_the_global_module_is_equations_2_and_3(shape):
    module = randomise(GlobalDifference(shape[0])).double().eval()
    level = torch.randn(2, *shape, dtype=torch.float64)
    out = module(level)
    for n in range(2):
        np.testing.assert_allclose(as_numpy(out[n]), literal_global(module, as_numpy(level[n])), rtol=1e-9, atol=1e-10)


def test_both_directions_of_the_global_module_share_one_normalisation_in_training():
    module = GlobalDifference(32).train()
    module(torch.randn(2, 32, 3, 4, 4))
    assert {int(bn.num_batches_tracked) for bn in module.modules() if isinstance(bn, torch.nn.BatchNorm3d)} == {1}


def literal_differences(clip, window):
    """(3, T * window, H, W) to (12, T, H, W)."""
    frames = clip.shape[1]
    T = frames // window
    out = np.zeros((12, T, *clip.shape[2:]))
    for i in range(T):
        if window == 5:
            around = [5 * i + offset for offset in range(5)]
        else:
            around = [min(max(i + offset, 0), T - 1) for offset in (-2, -1, 0, 1, 2)]
        for pair in range(4):
            for colour in range(3):
                out[3 * pair + colour, i] = clip[colour, around[pair + 1]] - clip[colour, around[pair]]
    return out


@pytest.mark.parametrize(("window", "T"), [(5, 3), (5, 1), (1, 6), (1, 2), (1, 1)])
def test_differences_are_those_of_the_five_frames_around(window, T):
    clip = torch.randn(2, 3, T * window, 4, 5)
    out = differences(clip, window)
    for n in range(2):
        np.testing.assert_array_equal(as_numpy(out[n]), literal_differences(as_numpy(clip[n]), window))


def test_the_backbone_sees_the_third_frame_of_each_five():
    clip = torch.arange(15.0).reshape(1, 1, 15, 1, 1)
    assert sampled_frames(clip, 5).flatten().tolist() == [2, 7, 12]
    assert sampled_frames(clip[:, :, :3], 1).flatten().tolist() == [0, 1, 2]


def literal_bottleneck(block, x):
    out = rectify(normalise(convolve(x, block.conv1), block.bn1))
    out = rectify(normalise(convolve(out, block.conv2), block.bn2))
    out = normalise(convolve(out, block.conv3), block.bn3)
    same = isinstance(block.downsample, torch.nn.Identity)
    return rectify(out + (x if same else normalise(convolve(x, block.downsample[0]), block.downsample[1])))


def literal_local(module, clip, level, stride, lateral):
    x = mean_of_2x2(literal_differences(clip, module.window))  # H = Up(CNN(Down(D(I))))
    x = max_of_3x3(rectify(normalise(convolve(x, module.conv1, stride=2), module.bn1)))
    for block in module.layer1:
        x = literal_bottleneck(block, x)
    motion = nearest(conv_norm(x, lateral, stride=stride), level.shape[1:])
    return level + motion if module.fusion == "add" else 0.5 * level + 0.5 * motion


@pytest.mark.parametrize("fusion", ["add", "mean"])
@pytest.mark.parametrize(
    ("window", "name", "side", "stride"), [(5, "res4", 2, 2), (1, "res5", 1, 4), (5, "res3", 4, 1), (1, "res2", 8, 1)]
)
def test_the_local_module_is_equation_1(fusion, window, name, side, stride):
    module = randomise(LocalDifference({name: 32}, width=0.5, window=window, fusion=fusion)).double().eval()
    clip = torch.randn(1, 3, 2 * window, 32, 32, dtype=torch.float64)
    level = torch.randn(1, 32, 2, side, side, dtype=torch.float64)
    out = module(clip, {name: level})[name]
    expected = literal_local(module, as_numpy(clip[0]), as_numpy(level[0]), stride, module.lateral[name])
    np.testing.assert_allclose(as_numpy(out[0]), expected, rtol=1e-8, atol=1e-9)


def test_an_added_local_module_starts_as_nothing_and_a_mean_does_not():
    clip, level = torch.randn(1, 3, 10, 32, 32), torch.randn(1, 32, 2, 2, 2)
    for mode in ("train", "eval"):
        added = getattr(LocalDifference({"res4": 32}, width=0.5), mode)()
        assert torch.equal(added(clip, {"res4": level})["res4"], level)
    mean = LocalDifference({"res4": 32}, width=0.5, fusion="mean")
    assert not torch.equal(mean(clip, {"res4": level})["res4"], level)
