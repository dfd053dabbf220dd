import pytest
import torch

from tdpn_core.config.families import LEVELS
from tdpn_core.model.attention import Attention
from tdpn_core.model.blocks import BasicBlock, Bottleneck
from tdpn_core.model.resnet import ResNet, level_channels, level_side, scaled

BLOCKS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3)}
CHANNELS = {"r18": (64, 128, 256, 512), "r34": (64, 128, 256, 512), "r50": (256, 512, 1024, 2048)}


@pytest.mark.parametrize("arch", BLOCKS)
@pytest.mark.parametrize("attention", [False, True])
def test_stages_have_the_depth_and_shapes_of_the_table(arch, attention):
    with torch.device("meta"):
        backbone = ResNet(arch, attention=attention)
        levels = backbone(torch.empty(1, 3, 8, 224, 224))
    assert tuple(len(getattr(backbone, f"layer{stage}")) for stage in (1, 2, 3, 4)) == BLOCKS[arch]
    for level, channels, side in zip(LEVELS, CHANNELS.get(arch, CHANNELS["r50"]), (56, 28, 14, 7), strict=True):
        assert levels[level].shape == (1, channels, 8, side, side)


def test_temporal_kernels_stand_on_the_first_convolution_of_each_block():
    with torch.device("meta"):
        default, table_1, basic = ResNet("r50"), ResNet("r50", temporal_kernels=(1, 1, 1, 1)), ResNet("r18")
    for stage, kernel in ((1, 1), (2, 1), (3, 3), (4, 3)):
        for block in getattr(default, f"layer{stage}"):
            assert block.conv1.kernel_size == (kernel, 1, 1)
            assert block.conv2.kernel_size == (1, 3, 3)
            assert block.conv3.kernel_size == (1, 1, 1)
        for block in getattr(basic, f"layer{stage}"):
            assert block.conv1.kernel_size == (kernel, 3, 3)
    assert {conv.kernel_size[0] for conv in table_1.modules() if isinstance(conv, torch.nn.Conv3d)} == {1}


def test_strides_are_spatial_and_on_the_3x3_convolution():
    with torch.device("meta"):
        backbone = ResNet("r50")
    assert backbone.conv1.stride == backbone.maxpool.stride == (1, 2, 2)
    for stage, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        first, second = getattr(backbone, f"layer{stage}")[:2]
        assert (first.conv1.stride, first.conv2.stride) == ((1, 1, 1), (1, stride, stride))
        assert second.conv2.stride == (1, 1, 1)


def test_attention_stands_in_res5_only_and_has_tables_for_the_training_size():
    with torch.device("meta"):
        deep, shallow = ResNet("r50", attention=True), ResNet("r18", attention=True, input_size=100)
    spots = {name: part for name, part in deep.named_modules() if isinstance(part, Attention)}
    assert list(spots) == ["layer4.0.conv2", "layer4.1.conv2", "layer4.2.conv2"]
    assert [part.stride for part in spots.values()] == [2, 1, 1]
    assert [tuple(part.rel_height.shape) for part in spots.values()] == [(27, 128), (13, 128), (13, 128)]
    assert [block.conv2.rel_width.shape[0] for block in shallow.layer4] == [7, 7]  # res5 of 100 pixels has 4 columns
    assert [block.conv2.heads for block in shallow.layer4] == [4, 4]


@pytest.mark.parametrize("arch", ["r18", "r50"])
def test_a_block_with_attention_starts_as_its_shortcut(arch):
    backbone = ResNet(arch, width=0.25, attention=True, input_size=64)
    x = torch.randn(2, backbone.channels["res5"], 2, 2, 2).relu()
    block = backbone.layer4[1]
    for mode in (True, False):
        assert torch.equal(block.train(mode)(x), x)
    assert isinstance(block, BasicBlock if arch == "r18" else Bottleneck)


@pytest.mark.parametrize("arch", ["r18", "r50"])
def test_the_network_ignores_attention_at_the_start(small, clip_for, arch):
    model = small(arch=arch).eval()
    clip = clip_for(model)
    before = model(clip)
    for part in model.modules():
        if isinstance(part, Attention):
            torch.nn.init.normal_(part.qkv.weight)
            torch.nn.init.normal_(part.rel_height)
    assert torch.equal(model(clip), before)


def test_widths_are_multiples_of_32():
    assert [scaled(64, width) for width in (0.1, 0.5, 0.75, 1, 1.5, 2)] == [32, 32, 64, 64, 96, 128]
    assert level_channels("r50", 0.5) == {"res2": 128, "res3": 256, "res4": 512, "res5": 1024}
    assert level_channels("r18", 0.3) == {"res2": 32, "res3": 32, "res4": 64, "res5": 160}


@pytest.mark.parametrize("side", [32, 33, 45, 100, 112, 224, 255])
def test_the_side_of_a_level_is_what_the_backbone_gives(side):
    with torch.device("meta"):
        levels = ResNet("r18")(torch.empty(1, 3, 1, side, 224))
    assert [levels[level].shape[3] for level in LEVELS] == [level_side(side, level) for level in LEVELS]
