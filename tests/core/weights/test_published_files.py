"""Published checkpoints: the zoo's files are recognised by names, shapes and file name, with their clips."""

import dataclasses
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
from tdpn_core.weights.zoo import ZOO, Package, place

TSN, TSM, TPN = "mma2_tsn_r50", "mma2_tsm_r50_sthv2", "mma2_tpn_slowonly_r50_8x8"
GLUON_TPN, GLUON_FAST = "gluon_tpn_resnet50_f8s8", "gluon_slowfast_8x8_resnet50"

CLASSES = {"ImageNet": 1000, "UCF101": 101, "Something-Something V1": 174, "Something-Something V2": 174} | {
    f"Kinetics-{count}": count for count in (400, 700, 710)
}
TABLES = {
    ("mmaction2", "tsn"): TSN,
    ("mmaction2", "c2d"): TSN,
    ("mmaction2", "tsm"): TSM,
    ("mmaction2", "tpn"): TPN,
    ("mmaction2", "slowonly"): "mma2_slowonly_r50_8x8",
    ("mmaction2", "slowfast"): "mma2_slowfast_r50_8x8",
    ("mmaction2", "i3d"): "mma2_i3d_r50",
    ("mmaction2", "c3d"): "mma2_c3d",
    ("pytorchvideo", "slowonly"): "ptv_slow_r50",
    ("pytorchvideo", "c2d"): "ptv_c2d_r50",
    ("pytorchvideo", "i3d"): "ptv_c2d_r50",
    ("pytorchvideo", "slowfast"): "ptv_slowfast_r50",
    ("pytorchvideo", "r2plus1d"): "ptv_r2plus1d_r50",
    ("gluon-cv", "tpn"): GLUON_TPN,
    ("gluon-cv", "slowonly"): "gluon_i3d_slow_resnet50_f8s8",
    ("gluon-cv", "slowfast"): GLUON_FAST,
    ("gluon-cv", "tsn"): "torchvision_resnet50",
    ("torchvision", "tsn"): "torchvision_resnet50",
    ("torchvision", "r3d"): "tv_r3d_18",
    ("torchvision", "mvit"): "tv_mvit_v2_s",
    ("Hugging Face model card", "videomae"): "hf_videomae_base",
    ("mit-han-lab/temporal-shift-module", "tsm"): "torchvision_resnet50",
    ("pytorch-i3d", "i3d"): "pytorch_i3d_rgb",
    ("decisionforce/TPN", "tpn"): "tpn_r50_8x8",
    ("MCG-NJU/TDN", "tdn"): "tdn_r50_8seg_sthv1",
}
"""The table of each project's network, or of one that its names and shapes are made from."""


def five(entry, shape):
    """SlowFast's laterals of a temporal kernel of 5."""
    lateral = re.search(r"lateral(_p1|_res\d)?\.(conv|0)\.weight|conv_fast_to_slow\.weight", entry)
    return entry, (*shape[:2], 5, 1, 1) if lateral else shape


def sparse(entry, shape):
    """pytorchvideo's SlowFast 16x8: of res4 only six blocks see more than one frame."""
    entry, shape = five(entry, shape)
    late = re.search(r"blocks\.3\..+res_blocks\.(\d+)\.branch2\.conv_a", entry)
    return entry, (*shape[:2], 1, 1, 1) if late and int(late[1]) > 5 else shape


def inflated(entry, shape):
    """pytorchvideo's C2D as its I3D: kernels over time in the first convolution and in some blocks."""
    if entry == "blocks.0.conv.weight":
        return entry, (64, 3, 5, 7, 7)
    block = re.search(r"blocks\.(\d+)\.res_blocks\.(\d+)\.branch2\.conv_a", entry)
    cycle = {"1": (3,), "3": (3, 1), "4": (3, 1), "5": (1, 3)}
    return entry, (*shape[:2], cycle[block[1]][int(block[2]) % len(cycle[block[1]])], 1, 1) if block else shape


def shifted(entry, shape):
    """torchvision's ResNet as the TSM of its authors."""
    entry = re.sub(r"(layer\d\.\d+\.conv1)\.", r"\1.net.", entry)
    return "module." + (entry.replace("fc.", "new_fc.") if entry.startswith("fc.") else f"base_model.{entry}"), shape


def flow(entry, shape):
    """The RGB network's entries as those of the flow network."""
    return entry, (shape[0], 2, *shape[2:]) if entry == "Conv3d_1a_7x7.conv3d.weight" else shape


def basic(arch):
    """torchvision's ResNets of depths 18 and 34."""
    found = table("torchvision_resnet18")
    for stage, count in enumerate((3, 4, 6, 3) if arch == "r34" else (2, 2, 2, 2), start=1):
        like = [entry for entry in found if entry.startswith(f"layer{stage}.1.")]
        for block in range(2, count):
            found |= {entry.replace(".1.", f".{block}.", 1): found[entry] for entry in like}
    return found


def pyramid_over_tsm():
    """mmaction2's TSM with TPN's neck."""
    neck = {entry: shape for entry, shape in table(TPN).items() if entry.startswith(("neck.", "cls_head."))}
    both = {entry: shape for entry, shape in table(TSM).items() if entry.startswith("backbone.")} | neck
    return {
        entry: (174, *shape[1:]) if re.search(r"fc(_cls)?\.\w+$", entry) else shape for entry, shape in both.items()
    }


def renamed(network, *rules):
    """Names and shapes of one of our networks under another project's names."""
    found = {}
    for name, shape in state_shapes(network).items():
        for pattern, theirs in rules:
            name = re.sub(pattern, theirs, name)
        found[name] = shape
    return found


def pairs():
    """torchvision's R(2+1)D-18."""
    return renamed(
        model_config("r2plus1d", arch="r18"),
        (r"^head\.linear\.action\.", "fc."),
        (r"^backbone\.conv1\.(space|bn|time)\.", lambda part: f"stem.{ {'space': 0, 'bn': 1, 'time': 3}[part[1]] }."),
        (r"^backbone\.bn1\.", "stem.4."),
        (
            r"\.conv(\d)\.(space|bn|time)\.",
            lambda part: f".conv{part[1]}.0.{ {'space': 0, 'bn': 1, 'time': 3}[part[2]] }.",
        ),
        (r"\.bn(\d)\.", r".conv\1.1."),
        (r"^backbone\.", ""),
    )


def mixed(entry, shape):
    """R3D's entries as MC3's: no kernel over time from the second stage on."""
    return entry, (*shape[:2], 1, *shape[3:]) if re.match(r"layer[234]\..+\.0\.weight", entry) else shape


def factored(arch):
    """mmaction2's R(2+1)D."""
    return renamed(
        model_config("r2plus1d", arch=arch, form="mmaction2"),
        (r"head\.linear\.action\.", "cls_head.fc_cls."),
        (r"\.(conv\d|downsample\.0)\.(space|time)\.", lambda part: f".{part[1]}.conv.conv_{part[2][0]}."),
        (r"\.(conv\d|downsample\.0)\.bn\.", r".\1.conv.bn_s."),
        (r"\.bn(\d)\.", r".conv\1.bn."),
        (r"\.downsample\.0\.", ".downsample."),
        (r"\.downsample\.1\.", ".downsample.bn."),
    )


def swin(arch):
    """torchvision's Video Swin."""
    return renamed(
        model_config("swin", arch=arch),
        (r"^head\.linear\.action\.", "head."),
        (r"^backbone\.", ""),
        (r"\.mlp\.2\.", ".mlp.3."),
        (r"^layer(\d)", lambda part: f"features.{2 * int(part[1]) - 2}"),
        (r"^merge(\d)", lambda part: f"features.{2 * int(part[1]) - 3}"),
    )


CHANGES = {
    "i3d-r50-8x8-k400-ptv": inflated,
    "tsm-r50-8x8-k400-mit": shifted,
    "i3d-inception-64x1-k400-flow": flow,
    "mc3-r18-16x2-k400": mixed,
    "slowfast-r101-16x8-k400": sparse,
    "slowfast-r101-8x8-k400-ptv": five,
    "slowfast-r101-8x8-k400-gluon": five,
    "slowfast-r50-4x16-k400": five,
    "slowfast-r50-4x16-k400-ptv": five,
}


def entries_of(entry):
    """Names and shapes of the file of a row of the zoo."""
    if entry.reported == "torchvision" and entry.arch in ("r18", "r34") and entry.family == "tsn":
        return basic(entry.arch)
    if entry.family == "r2plus1d" and entry.arch != "r50":
        return factored("r34") if entry.reported == "mmaction2" else pairs()
    if entry.family == "swin":
        return swin(entry.arch)
    if entry.family == "tsm+tpn":
        return pyramid_over_tsm()
    source, change = TABLES[entry.reported, entry.family], CHANGES.get(entry.name)
    return shapes(source, deep=entry.arch == "r101", classes=CLASSES[entry.data], change=change)


FROM_FILES = [name for name, entry in ZOO.items() if not isinstance(entry.source, Package)]


@pytest.mark.parametrize("name", FROM_FILES)
def test_every_file_of_the_zoo_is_recognised_and_complete(name):
    entry = ZOO[name]
    known = entries_of(entry)
    imported = convert(contents(place(entry), known)).complete()
    assert imported.entry is entry
    found = sampled(imported)
    assert (found.model.name, found.model.arch) == (entry.family, entry.arch)
    assert found.model.num_frames == entry.frames
    assert found.model.num_classes == {"action": CLASSES[entry.data]}
    assert imported.finding.settings["name"] == entry.family, "without the zoo it is the same network"
    if entry.family == "slowfast":
        slow = re.search(r"-(\d+)x(\d+)-", name)
        assert (entry.frames // found.model.alpha, entry.interval * found.model.alpha) == tuple(map(int, slow.groups()))
    if imported.project.clip_in_name and entry.published_file != entry.file and entry.family != "tsn":
        by_name = sampled(dataclasses.replace(imported, entry=None))
        assert (by_name.model, by_name.sampling) == (found.model, found.sampling), "the file's name says the same"


@pytest.mark.parametrize(
    ("frames", "deep", "rates"), [("f8s8", False, None), ("f8s8", True, (4, 8)), ("f32s2", True, (16, 32))]
)
def test_gluons_tpn_pools_time_by_its_depth_and_its_clip(frames, deep, rates):
    file = f"tpn_resnet{101 if deep else 50}_{frames}_kinetics400-00000000.pth"
    model = sampled(convert(contents(file, shapes(GLUON_TPN, deep=deep)))).model
    assert model.temporal_rates == rates


def test_gluons_deep_slowfast_has_the_alpha_of_its_name():
    known = shapes(GLUON_FAST, deep=True, change=five)
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
    with pytest.raises(CheckpointError, match="a C3D whose fc6 has 18432 inputs"):
        convert(contents("any.pth", wider))


def test_video_swins_names_are_those_of_the_fixture():
    assert swin("tiny") == table("tv_swin3d_t")


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


def test_videomae_accepts_the_biases_of_newer_files_and_no_other_size():
    known = table("hf_videomae_base")
    newer = {
        entry.replace("q_bias", "query.bias").replace("v_bias", "value.bias"): shape for entry, shape in known.items()
    }
    key = "videomae.encoder.layer.0.attention.attention.key.bias"
    imported = convert(contents("model.safetensors", newer | {key: (768,)})).complete()
    assert imported.report.left_out == {key: "does not change the attention"}
    assert imported.report.filled["backbone.layer1.0.attn.query.bias"] == key.replace("key", "query")
    sampling = sampled(imported).sampling
    assert (sampling.interval, sampling.views, sampling.short_side, sampling.mean[0]) == (4, "5x3", 224, 0.485)
    fewer = {entry: shape for entry, shape in known.items() if ".layer.11." not in entry}
    with pytest.raises(CheckpointError, match="a VideoMAE of 768 channels and 11 blocks, which is not supported"):
        convert(contents("model.safetensors", fewer))


def test_mvit_refuses_other_depths_and_version_1():
    known = table("tv_mvit_v2_s")
    sampling = sampled(convert(contents("any.pth", known))).sampling
    assert (sampling.interval, sampling.views, sampling.mean[0]) == (4, "5x1", 0.45)
    deeper = known | {entry.replace(".15.", ".16."): shape for entry, shape in known.items() if ".15." in entry}
    with pytest.raises(CheckpointError, match="an MViT of 17 blocks, which is not supported"):
        convert(contents("any.pth", deeper))
    absolute = known | {"pos_encoding.spatial_pos": (3136, 96)}
    with pytest.raises(CheckpointError, match=r"has absolute positions \(MViT v1\)"):
        convert(contents("any.pth", absolute))
