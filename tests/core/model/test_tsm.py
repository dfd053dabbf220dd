import numpy as np
import pytest
import torch

from tdpn_core.config.families import model_config
from tdpn_core.model.baselines.tsm import shift, tsm
from tdpn_core.model.blocks import Bottleneck


def literal_shift(x):
    out = np.array(x)
    C, T = x.shape[1:3]
    for channel in range(C // 8):
        for t in range(T):
            out[:, channel, t] = x[:, channel, t + 1] if t + 1 < T else 0
    for channel in range(C // 8, 2 * (C // 8)):
        for t in range(T):
            out[:, channel, t] = x[:, channel, t - 1] if t > 0 else 0
    return out


@pytest.mark.parametrize("shape", [(2, 16, 4, 3, 2), (1, 24, 1, 2, 2), (1, 19, 3, 1, 1)])
def test_the_shift_is_the_papers(shape):
    x = torch.randn(shape)
    np.testing.assert_array_equal(shift(x).numpy(), literal_shift(x.numpy()))


def block_pair(setting, arch, number):
    """A block of layer2 under this setting, and a plain one with its weights."""
    config = model_config(name="tsm", arch=arch, width=0.25, shift=setting)
    backbone, plain = tsm(config).eval(), tsm(model_config(name="tsm", arch=arch, width=0.25, shift="none")).eval()
    plain.load_state_dict(backbone.state_dict())
    return backbone.layer2[number], plain.layer2[number]


@pytest.mark.parametrize("arch", ["r18", "r50"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_residual_shift_leaves_the_shortcut_alone(arch, number):
    block, plain = block_pair("residual", arch, number)
    x = torch.randn(2, block.conv1.in_channels, 3, 6, 6)
    torch.testing.assert_close(block(x), torch.relu(plain.branch(shift(x)) + plain.downsample(x)))
    assert isinstance(plain, Bottleneck) == (arch == "r50")


@pytest.mark.parametrize("arch", ["r18", "r50"])
def test_an_inplace_shift_reaches_a_strided_shortcut_but_no_identity(arch):
    block, plain = block_pair("inplace", arch, 0)
    x = torch.randn(2, block.conv1.in_channels, 3, 6, 6)
    torch.testing.assert_close(block(x), torch.relu(plain.branch(shift(x)) + plain.downsample(shift(x))))
    block, plain = block_pair("inplace", arch, 1)
    x = torch.randn(2, block.conv1.in_channels, 3, 6, 6)
    torch.testing.assert_close(block(x), torch.relu(plain.branch(shift(x)) + x))
