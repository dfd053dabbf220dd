"""The light backbone: its levels, its padding, its place in every family that takes it."""

import pytest
import torch
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS, model_config
from tdpn_core.errors import ConfigError
from tdpn_core.model.base import TrainingOutput
from tdpn_core.model.cpu.fold_bn import for_inference
from tdpn_core.model.efficientnet_lite import EfficientNetLite, same_padded
from tdpn_core.model.flops import cost
from tdpn_core.model.layers import Conv
from tdpn_core.model.registry import create_model

FAMILIES = ("tsn", "tsm", "tdpn", "tpn", "tsn+tdpn", "tsm+tdpn", "tsn+tpn", "tsm+tpn")
TINY = {"arch": "lite0", "num_classes": 3, "num_frames": 2, "input_size": 32}


@pytest.mark.parametrize(
    ("arch", "channels"),
    [("lite0", (24, 40, 112, 320)), ("lite1", (24, 40, 112, 320)), ("lite2", (24, 48, 120, 352))],
)
def test_levels_have_the_published_channels_at_strides_4_to_32(arch, channels):
    with torch.device("meta"):
        levels = EfficientNetLite(arch).eval()(torch.empty(1, 3, 2, 96, 64))
    assert [levels[level].shape[1] for level in LEVELS] == list(channels)
    assert [tuple(levels[level].shape[2:]) for level in LEVELS] == [(2, 24, 16), (2, 12, 8), (2, 6, 4), (2, 3, 2)]


def test_cost_lite0_matches_the_published_size():
    found = cost(model_config("tsn", arch="lite0", num_frames=1, num_classes={"action": 1000}))
    assert found.parameters == 4_652_008  # of the published file
    assert found.gmac["total"] == pytest.approx(0.4, rel=0.05)  # tensorflow/tpu's table: 407 M


@pytest.mark.parametrize("name", FAMILIES)
def test_family_with_lite0_trains_every_weight_and_keeps_its_answer_when_folded(name):
    model = create_model(name, **TINY, **({"window": 1} if name.endswith("tdpn") else {}))
    clip = torch.randn(2, 3, 2, 32, 32)
    output = model(clip)
    assert isinstance(output, TrainingOutput)
    sum(values.logsumexp(1).sum() for part in output for values in part.values()).backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []
    with torch.inference_mode():
        plain = model.eval()(clip)
        assert torch.allclose(for_inference(model, torch.device("cpu"))(clip), plain, atol=1e-4)


def test_stages_hold_every_weight_once():
    for classifies in (True, False):
        backbone = EfficientNetLite(classifies=classifies)
        found = [value for parts in backbone.stages().values() for part in parts for value in part.parameters()]
        assert sorted(map(id, found)) == sorted(map(id, backbone.parameters()))


@pytest.mark.parametrize("side", [32, 33, 34, 35])
@pytest.mark.parametrize("kernel", [3, 5])
def test_strided_convolution_pads_as_tensorflow_does(side, kernel):
    conv = Conv(1, 1, (1, kernel, kernel), stride=2, padded=False)
    x = torch.randn(1, 1, 1, side, side)
    with torch.no_grad():
        out = conv(same_padded(x, conv))[0, 0, 0]
        rows = -(-side // 2)
        before = max((rows - 1) * 2 + kernel - side, 0) // 2  # its rule: the smaller half stands first
        wide = F.pad(x[0, 0, 0], (before, kernel, before, kernel))
        for row in range(rows):
            for column in range(rows):
                window = wide[2 * row :, 2 * column :][:kernel, :kernel]
                assert out[row, column] == pytest.approx((window * conv.weight[0, 0, 0]).sum().item(), abs=1e-5)


def test_tsm_shifts_the_branches_with_a_shortcut_alone():
    with torch.device("meta"):
        shifting = create_model("tsm", **TINY).backbone
        plain = create_model("tsn", **TINY).backbone
        off = create_model("tsm", **TINY, shift="none").backbone
    blocks = [block for level in range(1, 5) for block in shifting.get_submodule(f"layer{level}")]
    assert [block.shift is not None for block in blocks] == [block.has_shortcut for block in blocks]
    assert sum(block.has_shortcut for block in blocks) == 9
    for backbone in (plain, off):
        assert all(block.shift is None for level in range(1, 5) for block in backbone.get_submodule(f"layer{level}"))


def test_a_frame_reaches_its_neighbours_through_the_shift_only():
    torch.manual_seed(0)
    clip, other = torch.randn(1, 3, 4, 32, 32), torch.randn(1, 3, 1, 32, 32)
    changed = torch.cat([clip[:, :, :3], other], 2)
    moved = {}
    for name in ("tsn", "tsm"):
        backbone = create_model(name, **{**TINY, "num_frames": 4}).backbone.eval()
        with torch.inference_mode():
            one, two = backbone(clip)["res3"], backbone(changed)["res3"]
        moved[name] = [bool((one[:, :, frame] != two[:, :, frame]).any()) for frame in range(4)]
    assert moved["tsn"] == [False, False, False, True]
    assert moved["tsm"] == [False, True, True, True]  # two shifting blocks up to res3


def test_temporal_kernels_are_those_asked_for_and_1_by_default():
    def kernels(**options):
        with torch.device("meta"):
            backbone = create_model("tpn", **TINY, **options).backbone
        return {level: backbone.get_submodule(f"layer{level}")[-1].conv1.kernel_size[0] for level in range(1, 5)}

    assert kernels() == {1: 1, 2: 1, 3: 1, 4: 1}
    assert kernels(temporal_kernels=(1, 1, 3, 3)) == {1: 1, 2: 1, 3: 3, 4: 3}


def test_attention_is_left_out_by_default_and_refused_where_asked_for():
    assert model_config("tdpn").attends
    assert not model_config("tdpn", arch="lite0").attends
    with pytest.raises(ConfigError, match=r"model\.attention: lite0 has no 3x3 convolutions in res5"):
        model_config("tsn+tdpn", arch="lite0", attention=True)


def test_families_with_residual_blocks_of_their_own_do_not_take_it():
    for name in ("slowonly", "c2d", "tdn", "r2plus1d", "slowfast", "i3d"):
        with pytest.raises(ConfigError, match=r"model\.arch"):
            model_config(name, arch="lite0")
