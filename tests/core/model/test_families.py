"""Every family: one configuration, one protocol, one way to be built and trained."""

import dataclasses

import pytest
import torch
from random_statistics import randomise
from small_families import smallest
from torch.nn import functional as F

from tdpn_core import recipes
from tdpn_core.config.families import FAMILIES, LEVELS, find_family, model_config
from tdpn_core.config.family_settings import CLASSES
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig, ModelConfig, from_dict, to_dict
from tdpn_core.errors import ConfigError, PluginError, UsageError
from tdpn_core.model.base import Network, TrainingOutput
from tdpn_core.model.cpu.memory_layout import FoldingConv, convolutions, set_layout
from tdpn_core.model.registry import build_model, create_model

DATA = DataConfig(
    path="data", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="", digest="", short_side=128
)


@pytest.fixture
def little(small):
    def build(name, **options):
        return small(**smallest(name) | options)

    return build


ARCHS = {"i3d": "inception", "r3d": "r18", "c3d": "c3d", "swin": "tiny", "mvit": "small", "videomae": "base"}
FRAMES = {"i3d": 64, "slowfast": 32, "swin": 32} | dict.fromkeys(("r2plus1d", "r3d", "c3d", "mvit", "videomae"), 16)
"""Those of the others are r50 and 8."""
UNSEEN = {
    "mvit": {f"backbone.layer4.1.attn.{part}" for part in ("rel_pos_t", "rel_pos_h", "rel_pos_w", "pool_q.pool.weight")}
}
"""Of the last block, only the class token is classified, whose query has no position and is not convolved."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_configuration_has_the_familys_own_values_and_survives_storage(name):
    config = model_config(name=name)
    assert find_family(name).name == config.name == name
    assert (config.arch, config.num_frames) == (ARCHS.get(name, "r50"), FRAMES.get(name, 8))
    assert from_dict(ModelConfig, to_dict(config)) == config


def test_settings_classes_are_found_without_the_networks_and_are_the_families_own():
    assert {name: find_family(name).config for name in FAMILIES} == CLASSES


def test_a_setting_that_a_family_does_not_have_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="tsn has no setting 'flow'; its settings: only those that every model has"):
        model_config(name="tsn", flow="parallel")
    with pytest.raises(ConfigError, match="tsm has no setting 'window'; its settings: shift"):
        from_dict(ModelConfig, {"name": "tsm", "window": 5})


def test_a_configuration_of_another_family_is_refused():
    with pytest.raises(ConfigError, match=r"model\.name: these are settings of tsn, not of tsm"):
        find_family("tsn").config(name="tsm")


def test_a_changed_value_is_checked_as_a_first_one():
    with pytest.raises(ConfigError, match=r"model\.num_frames: must be at least 1, not 0"):
        dataclasses.replace(model_config("tsm"), num_frames=0)


def test_paths_of_families_are_what_they_say():
    with pytest.raises(
        PluginError,
        match=r"nothing_there:FAMILY: cannot be loaded: ModuleNotFoundError: No module named 'nothing_there'",
    ):
        find_family("nothing_there:FAMILY")
    with pytest.raises(PluginError, match=r"tdpn_core\.model\.tdpn:TDPN: is not a model but type"):
        find_family("tdpn_core.model.tdpn:TDPN")
    with pytest.raises(UsageError, match="has the name 'tsn' of another model"):
        find_family("tdpn_core.model.baselines.resnets:TSN_FAMILY")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_called_in_the_same_way(little, clip_for, name):
    model = little(name)
    assert isinstance(model, Network)
    clip = clip_for(model, (64, 48))
    output = model.train()(clip)
    assert isinstance(output, TrainingOutput)
    assert output.logits["action"].shape == (2, 3)
    assert set(output.auxiliary) == ({"action"} if "tpn" in name or "tdpn" in name else set())
    model.eval()
    (levels, features), logits = model.feature_maps(clip), model(clip)
    assert tuple(levels) == LEVELS
    sides = [(16, 12), (8, 6), (4, 3), (3, 2) if name == "c3d" else (2, 2)]
    if name in ("r2plus1d", "r3d"):  # without a pool
        sides = [(32, 24), (16, 12), (8, 6), (4, 3)]
    if name == "videomae":  # of one scale
        sides = [(4, 3)] * 4
    assert [(levels[level].shape[0], *levels[level].shape[3:]) for level in LEVELS] == [(2, *side) for side in sides]
    assert features.ndim == 5
    assert torch.equal(model.head(features)["action"], logits)
    several = little(name, num_classes={"verb": 4, "noun": 5}).eval()
    assert {head: tuple(values.shape) for head, values in several(clip).items()} == {"verb": (2, 4), "noun": (2, 5)}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_computes_each_clip_of_a_batch_by_itself(little, clip_for, name):
    model = randomise(little(name)).eval()
    clips = clip_for(model, (64, 48))
    with torch.no_grad():
        together, alone = model(clips), torch.cat([model(clip[None]) for clip in clips])
    assert (together - alone).abs().max() < 0.01 * (alone[0] - alone[1]).abs().max()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_refuses_a_clip_of_another_shape(little, name):
    model = little(name)
    with pytest.raises(UsageError, match=r"a clip must be \(N, 3, .* frames, height, width\)"):
        model(torch.zeros(1, 3, model.config.num_frames * model.config.frames_per_step + 1, 32, 32))
    with pytest.raises(UsageError, match=r"not \(1, 2, "):
        model(torch.zeros(1, 2, model.config.num_frames * model.config.frames_per_step, 32, 32))


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_every_parameter(little, clip_for, name):
    model = randomise(little(name, dropout=0.0))
    output = model(clip_for(model, (64, 64)))
    sum(F.cross_entropy(part["action"], torch.tensor([0, 2])) for part in output if part).backward()
    unmoved = {entry for entry, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    assert unmoved == UNSEEN.get(name, set())


@pytest.mark.parametrize("name", FAMILIES)
def test_stages_hold_every_weight_of_the_backbone_once(little, name):
    backbone = little(name).backbone
    stages = backbone.stages()
    assert list(stages) == ["stem", *LEVELS]
    held = [id(value) for parts in stages.values() for part in parts for value in part.parameters()]
    assert sorted(held) == sorted(id(value) for value in backbone.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_all_memory_layouts_give_the_same(little, clip_for, name):
    model = randomise(little(name)).eval()
    clip = clip_for(model, (64, 48))
    answers = [model(clip)]
    for layout in ("channels_last", "folded"):
        set_layout(model, layout)
        assert convolutions(model)
        assert all(isinstance(conv, FoldingConv) and conv.layout == layout for *_, conv in convolutions(model))
        answers.append(model(clip))
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answers[2], answers[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_sees_optical_flow(little, clip_for, name):
    model = little(name, modality="flow").eval()
    assert clip_for(model).shape[1] == 2
    assert model(clip_for(model)).shape == (2, 3)
    first = next(part for part in model.backbone.modules() if isinstance(part, torch.nn.Conv3d))
    assert first.in_channels == (10 if name.startswith(("tsn", "tsm")) else 2)
    assert model.config.frames_per_step >= model.config.stack


def test_a_stack_of_flows_is_u_and_v_of_each_in_time_order(small):
    model = small(name="tsn", modality="flow")
    clip = torch.arange(20.0).view(1, 2, 10, 1, 1).expand(1, 2, 10, 32, 32)  # u of frame t is t, v is 10 + t
    assert model.frames(clip)[0, :, 1, 0, 0].tolist() == [5, 15, 6, 16, 7, 17, 8, 18, 9, 19]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("arch", ["inception", "r18", "r34", "r50", "r101"])
def test_every_depth_is_built_or_refused_by_name(name, arch):
    family = find_family(name)
    if arch not in family.archs:
        with pytest.raises(ConfigError, match=f"model.arch: must be .*'{family.archs[-1]}', not '{arch}'"):
            create_model(name, arch=arch)
        return
    with torch.device("meta"):
        assert build_model(model_config(name=name, arch=arch)).config.arch == arch


@pytest.mark.parametrize("name", FAMILIES)
def test_any_recipe_takes_any_model(name):
    for recipe in recipes.RECIPES.values():
        before = recipe(DATA, recipes.NOTHING_KNOWN)
        config = recipes.adjust(before, TrainOverrides(model=name))
        assert config.model.name == name
        assert config.model.num_classes == {"action": 2}
        assert config.sampling.mode in (find_family(name).sampling, before.sampling.mode)
        assert recipes.adjust(config, TrainOverrides(model=name)) == config


def test_another_model_keeps_what_the_recipe_chose_and_it_has():
    small = recipes.small(DATA)
    assert recipes.adjust(small, TrainOverrides(model="tsm+tdpn")).model.local_fusion == "mean"
    plain = recipes.adjust(small, TrainOverrides(model="tsm")).model
    assert (plain.arch, plain.width, plain.input_size) == ("r18", 0.5, 112)
