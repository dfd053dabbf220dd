"""Published checkpoints: each is recognised by its names, shapes and file name, with the clips that it is made for."""

import re

import pytest
import torch
from reference_files import contents, shapes, table, tensors, write_file
from torch.nn import functional as F

import tdpn_core
from tdpn_core.config.families import model_config
from tdpn_core.errors import CheckpointError
from tdpn_core.model.registry import build_model
from tdpn_core.weights.convert import convert, state_shapes
from tdpn_core.weights.sampling import sampled

OMM = "kinetics400-rgb_20220901-00000000.pth"
TSN, TSM, SLOW, I3D = "mma2_tsn_r50", "mma2_tsm_r50_sthv2", "mma2_slowonly_r50_8x8", "mma2_i3d_r50"
TPN, FAST = "mma2_tpn_slowonly_r50_8x8", "mma2_slowfast_r50_8x8"
GLUON_TPN, GLUON_SLOW, GLUON_FAST = (
    "gluon_tpn_resnet50_f8s8",
    "gluon_i3d_slow_resnet50_f8s8",
    "gluon_slowfast_8x8_resnet50",
)


def five(name, kernel=5):
    """SlowFast's laterals of another temporal kernel, of either project."""
    spots = ("lateral.conv.weight", "lateral_p1.0.weight", "conv_fast_to_slow.weight")
    spots += tuple(f"lateral_res{stage}.0.weight" for stage in (2, 3, 4))
    return lambda entry, shape: (entry, (*shape[:2], kernel, 1, 1) if entry.endswith(spots) else shape)


def published(file, source, expected, *, deep=False, classes=None, change=None):
    return pytest.param(file, shapes(source, deep=deep, classes=classes, change=change), expected, id=file[:70])


def mixed(entry, shape):
    """R3D's entries as MC3's: no kernel over time from the second stage on."""
    return entry, (*shape[:2], 1, *shape[3:]) if re.match(r"layer[234]\..+\.0\.weight", entry) else shape


def factored(arch):
    """R(2+1)D as mmaction2 names it."""
    network = state_shapes(model_config("r2plus1d", arch=arch, form="mmaction2"))
    found = {}
    for name, shape in network.items():
        for pattern, theirs in (
            (r"head\.linear\.action\.", "cls_head.fc_cls."),
            (r"\.(conv\d|downsample\.0)\.(space|time)\.", lambda part: f".{part[1]}.conv.conv_{part[2][0]}."),
            (r"\.(conv\d|downsample\.0)\.bn\.", r".\1.conv.bn_s."),
            (r"\.bn(\d)\.", r".conv\1.bn."),
            (r"\.downsample\.0\.", ".downsample."),
            (r"\.downsample\.1\.", ".downsample.bn."),
        ):
            name = re.sub(pattern, theirs, name)
        found[name] = shape
    return found


ROWS = [
    published(f"tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_{OMM}", TSN, ("tsn", "r50", 8, "segments", 1)),
    published(f"tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_{OMM}", TSN, ("tsn", "r50", 3, "segments", 1)),
    published(
        f"tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_{OMM}", TSN, ("tsn", "r101", 8, "segments", 1), deep=True
    ),
    published(f"tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_{OMM}", TSM, ("tsm", "r50", 16, "segments", 1)),
    published(f"tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-50e_{OMM}", TSM, ("tsm", "r50", 8, "dense", 8)),
    published(f"slowonly_r50_8xb16-4x16x1-256e_{OMM}", SLOW, ("slowonly", "r50", 4, "dense", 16)),
    published(f"slowonly_r101_8xb16-8x8x1-196e_{OMM}", SLOW, ("slowonly", "r101", 8, "dense", 8), deep=True),
    published(
        "slowonly_r50_8xb32-8x8x1-100e_kinetics710-rgb_.pth", SLOW, ("slowonly", "r50", 8, "dense", 8), classes=710
    ),
    published(f"slowfast_r50_8xb8-8x8x1-256e_{OMM}", FAST, ("slowfast", "r50", 32, "dense", 2)),
    published(f"slowfast_r50_8xb8-4x16x1-256e_{OMM}", FAST, ("slowfast", "r50", 32, "dense", 2), change=five(FAST)),
    published(f"slowfast_r101_8xb8-8x8x1-256e_{OMM}", FAST, ("slowfast", "r101", 32, "dense", 2), deep=True),
    published(f"tpn-slowonly_r50_8xb8-8x8x1-150e_{OMM}", TPN, ("tpn", "r50", 8, "dense", 8)),
    published(f"i3d_imagenet-pretrained-r50_8xb8-dense-32x2x1-100e_{OMM}", I3D, ("i3d", "r50", 32, "dense", 2)),
    published(f"c2d_r50-in1k-pre_8xb32-16x4x1-100e_{OMM}", TSN, ("c2d", "r50", 16, "dense", 4)),
    published(f"c2d_r101-in1k-pre-nopool_8xb32-8x8x1-100e_{OMM}", TSN, ("c2d", "r101", 8, "dense", 8), deep=True),
    published("tpn_resnet50_f8s8_kinetics400-368108eb.pth", GLUON_TPN, ("tpn", "r50", 8, "dense", 8)),
    published("tpn_resnet50_f16s4_kinetics400-6bf899df.pth", GLUON_TPN, ("tpn", "r50", 16, "dense", 4)),
    published("tpn_resnet50_f32s2_kinetics400-27710ce8.pth", GLUON_TPN, ("tpn", "r50", 32, "dense", 2)),
    published("tpn_resnet101_f8s8_kinetics400-092c2f7f.pth", GLUON_TPN, ("tpn", "r101", 8, "dense", 8), deep=True),
    published("tpn_resnet101_f16s4_kinetics400-647080df.pth", GLUON_TPN, ("tpn", "r101", 16, "dense", 4), deep=True),
    published("tpn_resnet101_f32s2_kinetics400-a94422a9.pth", GLUON_TPN, ("tpn", "r101", 32, "dense", 2), deep=True),
    published("i3d_slow_resnet50_f16s4_kinetics400-a3e419f1.pth", GLUON_SLOW, ("slowonly", "r50", 16, "dense", 4)),
    published(
        "i3d_slow_resnet101_f32s2_kinetics400-db37cd51.pth", GLUON_SLOW, ("slowonly", "r101", 32, "dense", 2), deep=True
    ),
    published("slowfast_8x8_resnet50_kinetics400-e94e9a57.pth", GLUON_FAST, ("slowfast", "r50", 32, "dense", 2)),
    published(
        "slowfast_8x8_resnet101_kinetics400-db5e9fef.pth",
        GLUON_FAST,
        ("slowfast", "r101", 32, "dense", 2),
        deep=True,
        change=five(GLUON_FAST),
    ),
    published(
        "resnet50_v1b_kinetics400-9939dbdf.pth", "torchvision_resnet50", ("tsn", "r50", 7, "segments", 1), classes=400
    ),
    published("SLOW_4x16_R50.pyth", "ptv_slow_r50", ("slowonly", "r50", 4, "dense", 16)),
    published("C2D_8x8_R50.pyth", "ptv_c2d_r50", ("c2d", "r50", 8, "dense", 8)),
    published("SLOWFAST_4x16_R50.pyth", "ptv_slowfast_r50", ("slowfast", "r50", 32, "dense", 2), change=five("ptv")),
    published(
        "SLOWFAST_8x8_R101.pyth",
        "ptv_slowfast_r50",
        ("slowfast", "r101", 32, "dense", 2),
        deep=True,
        change=five("ptv"),
    ),
    published("R2PLUS1D_16x4_R50.pyth", "ptv_r2plus1d_r50", ("r2plus1d", "r50", 16, "dense", 4)),
    published("r50f32s2.pth", "tpn_r50_8x8", ("tpn", "r50", 32, "dense", 2)),
    published(
        "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb_31723200.pth", "mma2_c3d", ("c3d", "c3d", 16, "dense", 1)
    ),
    *(
        pytest.param(file, factored("r34"), ("r2plus1d", "r34", frames, "dense", interval), id=file)
        for file, frames, interval in (
            ("r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb_20220812-47cfe041.pth", 8, 8),
            ("r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb_20220812-4270588c.pth", 32, 2),
        )
    ),
]


@pytest.mark.parametrize(("file", "known", "expected"), ROWS)
def test_a_published_file_is_the_network_and_the_clips_of_its_name(file, known, expected):
    imported = convert(contents(file, known)).complete()
    found = sampled(imported)
    model, sampling = found.model, found.sampling
    assert (model.name, model.arch, model.num_frames, sampling.mode, sampling.interval) == expected
    assert found.source == ("as its name says" if "v1b" not in file else "as the project published it")
    classes = [shape[0] for name, shape in known.items() if name.endswith(("fc.bias", "fc_cls.bias", "proj.bias"))]
    assert model.num_classes["action"] == classes[-1]


@pytest.mark.parametrize(
    ("frames", "deep", "rates"), [("f8s8", False, None), ("f8s8", True, (4, 8)), ("f32s2", True, (16, 32))]
)
def test_gluons_tpn_pools_time_by_its_depth_and_its_clip(frames, deep, rates):
    file = f"tpn_resnet{101 if deep else 50}_{frames}_kinetics400-00000000.pth"
    model = sampled(convert(contents(file, shapes(GLUON_TPN, deep=deep)))).model
    assert model.temporal_rates == rates


def test_gluons_deep_slowfast_has_the_alpha_of_its_name():
    known = shapes(GLUON_FAST, deep=True, change=five(GLUON_FAST))
    for clip, alpha in (("8x8", 4), ("4x16", 8)):
        assert convert(contents(f"slowfast_{clip}_resnet101_kinetics400.pth", known)).config.alpha == alpha


def test_images_and_videos_under_the_same_names_are_told_by_name_and_classes():
    def project(file, classes):
        return convert(contents(file, shapes("torchvision_resnet50", classes=classes))).project.name

    assert project("resnet50-0676ba61.pth", 1000) == "torchvision"
    assert project("resnet50_v1b_custom.pth", 12) == project("any.pth", 400) == project("any.pth", 174) == "gluon-cv"
    assert project("any.pth", 12) == "torchvision"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backbone=dict(type='C2D', depth=50), clip_len=8, frame_interval=8", ("c2d", (1, 1, 2), 8)),
        ("backbone=dict(type='ResNet'), clip_len=16, frame_interval=4", ("c2d", (1, 1, 1), 16)),
        ("backbone=dict(type='ResNet'), clip_len=1, frame_interval=1, num_clips=3", ("tsn", None, 8)),
    ],
)
def test_c2d_and_tsn_are_told_by_the_settings_in_the_file(text, expected):
    found = sampled(convert(contents("epoch_100.pth", table(TSN), {"meta": {"cfg": text}})).complete()).model
    assert (found.name, getattr(found, "temporal_strides", None), found.num_frames) == expected


@pytest.mark.parametrize(("change", "form"), [(None, False), (mixed, True)])
def test_torchvisions_3d_networks_are_told_by_their_last_kernels(change, form):
    found = sampled(convert(contents("any.pth", shapes("tv_r3d_18", change=change))).complete())
    model, sampling = found.model, found.sampling
    assert (model.name, model.arch, model.mixed, model.num_frames, model.input_size) == ("r3d", "r18", form, 16, 112)
    assert (sampling.interval, sampling.views, sampling.short_side, sampling.mean[0]) == (2, "5x1", 128, 0.43216)


def test_mmaction2s_r2plus1d_has_its_two_epsilons():
    imported = convert(contents("r2plus1d_r34_8xb8-8x8x1.pth", factored("r34"))).complete()
    with torch.device("meta"):
        backbone = build_model(imported.config).backbone
    names = {name: part.eps for name, part in backbone.named_modules() if isinstance(part, torch.nn.BatchNorm3d)}
    assert {eps for name, eps in names.items() if re.fullmatch(r"bn1|.+\.bn\d|.+\.downsample\.1", name)} == {1e-3}
    assert {eps for name, eps in names.items() if re.fullmatch(r"(?:.+\.)?(?:conv\d|downsample\.0)\.bn", name)} == {
        1e-5
    }
    assert backbone.conv1.space.out_channels == 83
    assert isinstance(backbone.maxpool, torch.nn.MaxPool3d)


def test_mmaction2s_c3d_has_its_own_pixels():
    sampling = sampled(convert(contents("any.pth", table("mma2_c3d")))).sampling
    pixel = torch.tensor([255.0, 0.0, 128.0]) / 255
    normalised = (pixel - torch.tensor(sampling.mean)) / torch.tensor(sampling.std)
    torch.testing.assert_close(normalised, torch.tensor([255.0 - 104, -117, 0]), atol=1e-4, rtol=0)
    assert (sampling.views, sampling.short_side) == ("10x1", 128)
    wider = shapes(
        "mma2_c3d", change=lambda name, shape: (name, (4096, 18432) if name.endswith("fc6.weight") else shape)
    )
    with pytest.raises(CheckpointError, match="a C3D of 18432 inputs of fc6"):
        convert(contents("any.pth", wider))


def test_c2d_and_tsn_are_refused_where_nothing_says_which():
    known = table(TSN)
    hint = r"rename the file so that tsn or c2d is in its name"
    with pytest.raises(CheckpointError, match=rf"its tensors are those of tsn and of c2d.*; {hint}"):
        convert(contents("epoch_100.pth", known)).complete()
    assert convert(contents("epoch_100.pth", known), name="tsn").complete().config.name == "tsn"
    chosen = convert(contents("epoch_100.pth", known), name="c2d").complete().config
    assert (chosen.temporal_strides, chosen.padded_pool) == ((1, 1, 2), False)
    assert convert(contents("epoch_100.pth", known)).config.arch == "r50"  # as a start both are the same


def test_mmaction2s_c2d_pools_without_padding_and_over_time(tmp_path):
    known = shapes(TSN, classes=5)
    model = tdpn_core.load_model(write_file(tmp_path / "c2d_r50-in1k-pre_8xb32-8x8x1.pth", known, "state_dict"))
    parts, clip = model.network.backbone, torch.randn(1, 3, 4, 64, 64)
    with torch.inference_mode():
        x = F.max_pool3d(torch.relu(parts.bn1(parts.conv1(clip))), (1, 3, 3), (1, 2, 2))
        x = F.max_pool3d(parts.layer1(x), (2, 1, 1), (2, 1, 1))
        x = parts.layer4(parts.layer3(parts.layer2(x)))
        expected = model.network.head.linear["action"](x.mean((2, 3, 4)))
        torch.testing.assert_close(model(clip), expected)


def test_tables_give_tensors_that_run(tmp_path):
    assert all(value.device.type == "meta" for value in tensors(table(TSN)).values())
    path = write_file(tmp_path / "r18.pth", shapes("torchvision_resnet18", classes=4))
    assert tdpn_core.load_model(path)(torch.randn(1, 3, 32, 32)).isfinite().all()
