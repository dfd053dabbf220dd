"""Real-world variants of checkpoints are recognised by keys and shapes; what does not fit is refused by name."""

import re

import pytest
import torch

import tdpn_core
from tdpn_core.errors import CheckpointError, ConfigError, UsageError
from tdpn_core.weights.convert import convert, import_weights, unwrapped
from tdpn_core.weights.safe_load import read_weights


@pytest.fixture(scope="module")
def images(parity):
    """torchvision's ResNet-18."""
    return parity("torchvision_resnet18").state


@pytest.fixture(scope="module")
def clip():
    return torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))


def renamed(state, *pairs):
    """`state` with names changed by each pattern that matches."""
    out = {}
    for name, value in state.items():
        for pattern, new in pairs:
            if re.match(pattern, name):
                name = re.sub(pattern, new, name, count=1)
                break
        out[name] = value
    return out


def mmaction2(state, wrapper=""):
    """A torchvision ResNet under mmaction2's names; `wrapper` is TSM's."""
    return renamed(
        state,
        (r"fc\.", "cls_head.fc_cls."),
        (r"conv1\.", "backbone.conv1.conv."),
        (r"bn1\.", "backbone.conv1.bn."),
        (r"(layer\d\.\d+)\.conv1\.", rf"backbone.\1.conv1.conv.{wrapper}"),
        (r"(layer\d\.\d+)\.conv(\d)\.", r"backbone.\1.conv\2.conv."),
        (r"(layer\d\.\d+)\.bn(\d)\.", r"backbone.\1.conv\2.bn."),
        (r"(layer\d\.\d+)\.downsample\.0\.", r"backbone.\1.downsample.conv."),
        (r"(layer\d\.\d+)\.downsample\.1\.", r"backbone.\1.downsample.bn."),
    )


def mit_han_lab(state, wrapper="net."):
    """The same under those of temporal-shift-module, from data-parallel training."""
    return renamed(
        state,
        (r"fc\.", "module.new_fc."),
        (r"(layer\d\.\d+)\.conv1\.", rf"module.base_model.\1.conv1.{wrapper}"),
        (r"", "module.base_model."),
    )


def official(state):
    """The same under those of TPN's release."""
    return renamed(state, (r"fc\.", "cls_head.fc_cls."), (r"", "backbone."))


def logits(model, x):
    with torch.inference_mode():
        return model(x)


# variants of one file


def in_data_parallel(state):
    return {f"module.{name}": value for name, value in state.items()}


VARIANTS = {
    "as it is": lambda state: state,
    "data-parallel": in_data_parallel,
    "data-parallel in a wrapper": lambda state: {"state_dict": in_data_parallel(state), "optimizer": {"state": {}}},
    "compiled in an outer class": lambda state: {f"model._orig_mod.{name}": value for name, value in state.items()},
    "without counters": lambda state: {name: v for name, v in state.items() if "num_batches" not in name},
    "with its training state": lambda state: {
        "epoch": 9,
        "arch": "resnet18",
        "state_dict": state,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_wrappers_prefixes_and_missing_counters_change_nothing(images, write, clip, variant):
    frame = clip[:, :, 0]
    model = tdpn_core.load_model(write(VARIANTS[variant](images), "resnet50.pth"))
    assert (model.config.name, model.config.arch) == ("tsn", "r18")
    expected = logits(tdpn_core.load_model(write(images, "plain.pth")), frame)
    assert torch.equal(logits(model, frame), expected)


def test_what_lies_beside_the_weights_is_named_in_the_report(images, write):
    report = tdpn_core.load_model(write(VARIANTS["with its training state"](images))).report
    assert set(report.left_out) == {"epoch", "arch", "optimizer"}
    assert set(report.filled.values()) == set(images)
    assert "122 of 122 tensors filled" in str(report)
    assert "epoch, arch, optimizer (training state or metadata, not weights)" in str(report)


def test_half_precision_is_read_to_its_precision(images, write, clip):
    half = {name: value.half() if value.is_floating_point() else value for name, value in images.items()}
    out = logits(tdpn_core.load_model(write(half)), clip[:, :, 0])
    expected = logits(tdpn_core.load_model(write(images, "plain.pth")), clip[:, :, 0])
    assert out.dtype == torch.float32
    assert not torch.equal(out, expected)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.02 * expected.abs().max().item())


def test_the_number_of_classes_is_the_files(images, write, clip):
    fewer = images | {"fc.weight": images["fc.weight"][:7], "fc.bias": images["fc.bias"][:7]}
    assert logits(tdpn_core.load_model(write(fewer)), clip[:, :, 0]).shape == (1, 7)


# projects


def test_three_projects_names_of_one_tsn_are_one_network(images, write, clip):
    frames = clip.transpose(1, 2)
    outs = [
        logits(tdpn_core.load_model(write(mmaction2(images), "tsn_r18.pth")), frames),
        logits(tdpn_core.load_model(write(mit_han_lab(images, ""))), frames.flatten(1, 2)),
    ]
    image = tdpn_core.load_model(write(images))
    single = torch.stack([logits(image, clip[:, :, t]) for t in range(4)]).mean(0)
    for out in outs:
        torch.testing.assert_close(out, single, rtol=1e-4, atol=1e-4)


def test_tsms_two_variants_are_told_apart_by_project(images, write, clip):
    frames = clip.transpose(1, 2)
    by_mmaction2 = tdpn_core.load_model(write(mmaction2(images, "net.")))
    by_authors = tdpn_core.load_model(write(mit_han_lab(images)))
    by_tpn = tdpn_core.load_model(write(official(images)))
    assert [model.config.shift for model in (by_mmaction2, by_authors, by_tpn)] == ["residual", "residual", "inplace"]
    out = logits(by_mmaction2, frames)
    assert torch.equal(out, logits(by_authors, frames.flatten(1, 2)))
    assert (out - logits(by_tpn, frames)).abs().max() > 0.01 * out.abs().max()


def test_flow_networks_are_known_by_their_first_convolution(images, write):
    flow = images | {"conv1.weight": images["conv1.weight"].mean(1, keepdim=True).repeat(1, 10, 1, 1)}
    model = tdpn_core.load_model(write(mit_han_lab(flow)))
    assert (model.config.modality, model.config.name) == ("flow", "tsm")
    assert logits(model, torch.randn(2, 3 * 10, 64, 64)).shape == (2, 1000)


@pytest.mark.parametrize("frames", [1, 3, 8, 16])
def test_a_network_follows_the_clips_number_of_frames(images, write, frames):
    model = tdpn_core.load_model(write(mmaction2(images, "net.")))
    x = torch.randn(1, frames, 3, 64, 64)
    first = logits(model, x)
    logits(model, torch.randn(1, 5, 3, 64, 64))
    assert torch.equal(logits(model, x), first)
    assert not model.network.training


@pytest.fixture(scope="module")
def pathways(tmp_path_factory):
    """A SlowFast of PySlowFast's names, made from our own network of random weights."""
    from tdpn_core.model.registry import create_model

    torch.manual_seed(0)
    state = create_model("slowfast", num_classes=5).state_dict()
    names = renamed(
        state,
        (r"head\.linear\.action\.", "head.projection."),
        (r"backbone\.lateral\.0\.conv\.", "s1_fuse.conv_f2s."),
        (r"backbone\.lateral\.1\.conv\.", "s2_fuse.conv_f2s."),
        (r"backbone\.lateral\.2\.conv\.", "s3_fuse.conv_f2s."),
        (r"backbone\.lateral\.3\.conv\.", "s4_fuse.conv_f2s."),
        *((rf"backbone\.lateral\.{n}\.bn\.", f"s{n + 1}_fuse.bn.") for n in range(4)),
        *(
            (rf"backbone\.{path}\.layer{n}\.(\d+)\.{ours}\.", rf"s{n + 1}.pathway{number}_res\1.{theirs}.")
            for number, path in enumerate(("slow", "fast"))
            for n in range(1, 5)
            for ours, theirs in (
                ("conv1", "branch2.a"),
                ("bn1", "branch2.a_bn"),
                ("conv2", "branch2.b"),
                ("bn2", "branch2.b_bn"),
                ("conv3", "branch2.c"),
                ("bn3", "branch2.c_bn"),
                (r"downsample\.0", "branch1"),
                (r"downsample\.1", "branch1_bn"),
            )
        ),
        (r"backbone\.slow\.conv1\.", "s1.pathway0_stem.conv."),
        (r"backbone\.slow\.bn1\.", "s1.pathway0_stem.bn."),
        (r"backbone\.fast\.conv1\.", "s1.pathway1_stem.conv."),
        (r"backbone\.fast\.bn1\.", "s1.pathway1_stem.bn."),
    )
    path = tmp_path_factory.mktemp("pyslowfast") / "checkpoint.pyth"
    torch.save({"epoch": 3, "model_state": names, "cfg": "TRAIN: {}"}, path)
    return path, state


def test_pyslowfasts_two_clips_or_the_fast_one_alone_give_probabilities(pathways):
    path, state = pathways
    model = tdpn_core.load_model(path)
    assert (model.config.alpha, model.config.lateral_kernel, model.config.slow_frames) == (4, 7, "linspace")
    assert all(torch.equal(value, state[name]) for name, value in model.network.state_dict().items())
    fast = torch.randn(1, 3, 32, 64, 64)
    slow = fast[:, :, torch.linspace(0, 31, 8).long()]
    out = logits(model, [slow, fast])
    assert out.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(out, logits(model, fast))
    four = logits(model, [fast[:, :, torch.linspace(0, 31, 4).long()], fast])
    assert model.network.config.alpha == 8
    assert not torch.equal(four, out)
    with pytest.raises(UsageError, match="does not consist of the frames of the fast clip"):
        model([slow.flip(2), fast])


def test_a_slowfast_whose_first_blocks_alone_are_3d_is_built_so(pathways, write):
    state = torch.load(pathways[0], weights_only=True)["model_state"]
    for path, block in ((0, 4), (0, 5), (1, 4), (1, 5)):
        name = f"s4.pathway{path}_res{block}.branch2.a.weight"
        state[name] = state[name][:, :, 1:2].clone()
    config = tdpn_core.load_model(write({"model_state": state})).config
    assert (config.temporal_blocks, config.num_frames) == ((3, 4, 4, 3), 64)


def test_a_slowfast_with_other_3d_blocks_is_refused(pathways, write):
    state = torch.load(pathways[0], weights_only=True)["model_state"]
    state |= {"s4.pathway0_res5.branch2.a.weight": state["s4.pathway0_res5.branch2.a.weight"][:, :, 1:2]}
    with pytest.raises(
        CheckpointError, match=r"s4\.pathway0_res5\.branch2\.a\.weight has a temporal kernel of 1, expected 3"
    ):
        tdpn_core.load_model(write({"model_state": state}))


def test_rates_of_the_deep_pyramid_follow_depth_and_frames():
    from tdpn_core.weights.projects.tpn import spread_rates

    assert spread_rates(8) == {"temporal_rates": (4, 8)}
    assert spread_rates(32) == {"temporal_rates": (16, 32)}


def test_settings_that_no_file_tells_can_be_given(images, write):
    assert tdpn_core.load_model(write(official(images)), name="tsn").config.name == "tsn"
    with pytest.raises(ConfigError, match="tsm has no setting 'flow'"):
        tdpn_core.load_model(write(official(images)), flow="parallel")


# refusals


def test_a_checkpoint_of_ours_knows_its_own_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("tdpn_core.weights.load.is_checkpoint", lambda _: True)
    (tmp_path / "best.pt").touch()
    with pytest.raises(UsageError, match="contains its own num_frames"):
        tdpn_core.load_model(tmp_path / "best.pt", num_frames=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.0.extra.weight": torch.ones(3)}, "has entries that do not belong to the network: layer1.0.extra"),
        ({"layer1.2.conv1.weight": torch.ones(64, 64, 3, 3)}, r"residual network of \(3, 2, 2, 2\) basic blocks"),
        ({"layer1.0.conv2.weight": torch.ones(64, 32, 3, 3)}, "grouped convolutions"),
        (
            {"layer2.0.bn1.weight": torch.ones(5)},
            r"layer2.0.bn1.weight has shape \(5,\), but the network needs \(128,\)",
        ),
    ],
)
def test_another_network_is_refused_by_what_is_odd(images, write, change, message):
    with pytest.raises(CheckpointError, match=rf"of torchvision, but .*{message}"):
        tdpn_core.load_model(write(images | change))


def test_a_file_that_lacks_entries_cannot_be_run(images, write):
    kept = {name: value for name, value in images.items() if not name.startswith(("fc.", "layer3.1.bn2.weight"))}
    with pytest.raises(CheckpointError, match=r"lacks weights of the network: .*backbone.layer3.1.bn2.weight.*--init"):
        tdpn_core.load_model(write(kept))


def test_names_of_no_project_are_refused_with_those_known(write):
    with pytest.raises(
        CheckpointError, match=r"such as encoder.a, other.c, encoder.b match no known project.*known: torchvision, "
    ):
        tdpn_core.load_model(write({"encoder.a": torch.ones(2), "other.c": torch.ones(2), "encoder.b": torch.ones(2)}))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda s: mmaction2(s) | {"backbone.layer2.0.non_local_block.g.weight": torch.ones(1)}, "non-local blocks"),
        (lambda s: mit_han_lab(s) | {"module.base_model.layer2.0.nl.g.weight": torch.ones(1)}, "non-local blocks"),
        (lambda s: mmaction2(s) | {"backbone.layer1.0.net.conv1.conv.weight": torch.ones(1)}, "shift_place='block'"),
        (lambda s: mit_han_lab(s) | {"module.base_model.conv1.weight": torch.ones(64, 15, 7, 7)}, "takes 15 channels"),
    ],
)
def test_what_no_model_here_has_is_refused_by_name(images, write, state, message):
    with pytest.raises(CheckpointError, match=message):
        tdpn_core.load_model(write(state(images)))


def test_inputs_of_another_layout_are_refused(images, write, clip):
    model = tdpn_core.load_model(write(images))
    with pytest.raises(UsageError, match=r"takes NCHW, not \(1, 3, 4, 64, 64\)"):
        model(clip)
    with pytest.raises(UsageError, match="takes one clip, not 2"):
        model([clip[:, :, 0], clip[:, :, 0]])


def test_a_file_without_a_classifier_can_still_be_converted(images, write):
    path = write({name: value for name, value in images.items() if not name.startswith("fc.")})
    imported = import_weights(path)
    assert set(imported.report.unfilled) == {"head.linear.action.weight", "head.linear.action.bias"}
    assert convert(read_weights(path)).config == imported.config


def test_prefixes_are_taken_off_only_where_all_names_share_them():
    assert set(unwrapped({"module.a": 1, "module.b": 2})) == {"a", "b"}
    assert set(unwrapped({"module.a": 1, "b": 2})) == {"module.a", "b"}
    assert set(unwrapped({"net.0.weight": 1, "net.1.bias": 2})) == {"net.0.weight", "net.1.bias"}
