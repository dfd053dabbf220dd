import numpy as np
import pytest
import torch
from literal import conv_norm, convolve, rectify
from random_statistics import randomise

from tdpn_core.config.families import LEVELS, model_config
from tdpn_core.errors import ConfigError
from tdpn_core.model.baselines.slowfast import SlowFast, lateral
from tdpn_core.model.registry import create_model


def build(**options):
    return SlowFast(model_config(**{"name": "slowfast", "arch": "r18", "width": 0.25, "num_frames": 8, **options}))


def literal_lateral(x, part, alpha, normed):
    """Of one clip (C, T, H, W): a convolution over time at each alpha-th frame."""
    every = conv_norm(x, part) if normed else convolve(x, part.conv)
    return rectify(every[:, ::alpha]) if normed else every[:, ::alpha]


@pytest.mark.parametrize(("alpha", "kernel", "normed"), [(4, 7, True), (8, 5, True), (2, 7, False)])
def test_a_lateral_connection_is_a_strided_convolution_over_time(alpha, kernel, normed):
    config = model_config(name="slowfast", num_frames=8, alpha=alpha, lateral_kernel=kernel, lateral_norm=normed)
    part = randomise(lateral(3, config)).double().eval()
    x = torch.randn(2, 3, 8, 2, 3, dtype=torch.float64)
    out = part(x).detach().numpy()
    assert out.shape == (2, 6, 8 // alpha, 2, 3)
    for n in range(2):
        np.testing.assert_allclose(out[n], literal_lateral(x[n].numpy(), part, alpha, normed), rtol=1e-9, atol=1e-10)


def test_the_slow_pathway_sees_each_alphath_frame_or_frames_spread_to_the_last():
    frames = torch.arange(32.0).view(1, 1, 32, 1, 1)
    config = {"num_frames": 32}
    assert build(**config).slow_frames(frames).flatten().tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    spread = build(slow_frames="linspace", **config).slow_frames(frames)
    assert spread.flatten().tolist() == [0, 4, 8, 13, 17, 22, 26, 31]


def test_levels_are_both_pathways_and_the_head_sees_what_the_papers_does():
    backbone = randomise(build()).eval()
    frames = torch.randn(2, 3, 8, 64, 64)
    levels = backbone(frames)
    slow, fast = backbone.slow.stem(frames[:, :, ::4]), backbone.fast.stem(frames)
    for level, across in zip(LEVELS, backbone.lateral, strict=True):
        slow = backbone.slow.stage(level, torch.cat([slow, across(fast)], 1))
        fast = backbone.fast.stage(level, fast)
        assert levels[level].shape[1:3] == (backbone.channels[level], 2)
        torch.testing.assert_close(levels[level][:, : slow.shape[1]], slow)
    pooled = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
    torch.testing.assert_close(levels["res5"].mean((2, 3, 4)), pooled)


def test_the_fast_pathway_is_thin_and_sees_three_frames_everywhere():
    with torch.device("meta"):
        backbone = create_model("slowfast").backbone
    assert (backbone.slow.conv1.out_channels, backbone.fast.conv1.out_channels) == (64, 8)
    assert (backbone.slow.conv1.kernel_size[0], backbone.fast.conv1.kernel_size[0]) == (1, 5)
    assert [part.conv.out_channels for part in backbone.lateral] == [16, 64, 128, 256]
    for stage, slow_kernel in ((1, 1), (2, 1), (3, 3), (4, 3)):
        assert {block.conv1.kernel_size[0] for block in backbone.fast.get_submodule(f"layer{stage}")} == {3}
        assert {block.conv1.kernel_size[0] for block in backbone.slow.get_submodule(f"layer{stage}")} == {slow_kernel}


def test_temporal_kernels_may_stand_in_the_first_blocks_only():
    with torch.device("meta"):
        deep = create_model("slowfast", arch="r101", temporal_blocks=(3, 4, 6, 3)).backbone
        slow = create_model("slowonly", arch="r34", temporal_blocks=(9, 0, 2, 3)).backbone
    kernels = [[block.conv1.kernel_size[0] for block in path.layer3] for path in (deep.slow, deep.fast, slow)]
    assert kernels == [[3] * 6 + [1] * 17, [3] * 6 + [1] * 17, [3, 3, 1, 1, 1, 1]]
    assert {block.conv1.kernel_size[0] for block in deep.fast.layer2} == {3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 30}, "model.num_frames: the frames must be a multiple of alpha 4, not 30"),
        ({"alpha": 0}, "model.alpha: must be at least 1, not 0"),
        (
            {"temporal_blocks": (3, 4, -1, 3)},
            "model.temporal_blocks.2: must be at least 0, not -1",
        ),
        ({"lateral_kernel": 4}, "model.lateral_kernel: must be odd, not 4"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_numbers(options, message):
    with pytest.raises(ConfigError, match=message):
        model_config(name="slowfast", **options)
