import subprocess
import sys

import pytest
import torch
from torch import nn

import tdpn_core
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import to_dict
from tdpn_core.errors import ConfigError, PluginError, UsageError
from tdpn_core.model.registry import build_model, create_model

OPTIONS = [
    {"arch": "r34"},
    {"arch": "r50"},
    {"arch": "r101"},
    {"num_classes": 5},
    {"num_classes": {"verb": 4, "noun": 3}},
    {"num_frames": 3},
    {"input_size": 64},
    {"width": 0.5},
    {"width": 0.8},
    {"modality": "flow"},
    {"temporal_kernels": (1, 1, 1, 1)},
    {"temporal_kernels": (3, 3, 5, 1)},
    {"attention": False},
    {"levels": ("res4", "res5"), "temporal": ("none", "none", "local", "local")},
    {"levels": ("res3", "res5"), "temporal": ("none", "global", "none", "local")},
    {"levels": ("res5",), "temporal": ("none", "none", "none", "local")},
    {"temporal": ("none", "none", "none", "none")},
    {"temporal": ("global", "global", "none", "none")},
    {"temporal": ("none", "none", "local", "local")},
    {"temporal": ("local", "local", "global", "global")},
    {"window": 1},
    {"local_fusion": "mean"},
    {"pooling": "change"},
    {"pooling": "attentive"},
    {"flow": "parallel"},
    {"flow": "top_down"},
    {"flow": "bottom_up"},
    {"flow": "none"},
    {"spatial_modulation": "separable"},
    {"temporal_rates": (1, 1, 2, 2)},
    {"auxiliary_head": False},
]


def signature(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def answers(model, clip):
    """The logits, after every trainable value has been set by its name alone."""
    for name, value in model.named_parameters():
        generator = torch.Generator().manual_seed(sum(name.encode()))
        with torch.no_grad():
            value.copy_(torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5)
    out = model.eval()(clip)
    out = out if isinstance(out, torch.Tensor) else torch.cat(list(out.values()), 1)
    assert out.isfinite().all()
    return out


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()))
def test_every_option_builds_another_network_that_runs(small, clip_for, options):
    model, default = small(**options), small()
    clip = clip_for(model, (64, 64))
    trained = model.train()(clip)
    assert set(trained.logits) == set(model.config.num_classes)
    assert set(trained.auxiliary) == (set(model.config.num_classes) if model.config.auxiliary_head else set())
    for head, count in model.config.num_classes.items():
        assert trained.logits[head].shape == (2, count)
        assert trained.logits[head].isfinite().all()

    assert (
        signature(model) != signature(default)
        or clip.shape != clip_for(default, (64, 64)).shape
        or not torch.allclose(answers(model, clip), answers(default, clip))
    )


@pytest.mark.parametrize("resize", ["interpolate", "error"])
def test_position_resize_reaches_attention(small, resize):
    assert {block.conv2.position_resize for block in small(position_resize=resize).backbone.layer4} == {resize}


def test_dropout_stands_before_every_classifier(small):
    model = small(dropout=0.25)
    assert [part.p for part in model.modules() if isinstance(part, nn.Dropout)] == [0.25, 0.25]


def test_every_field_of_the_family_is_covered_above():
    covered = {"name", "position_resize", "dropout"}.union(*OPTIONS)
    assert covered == set(to_dict(model_config()))


def test_create_model_takes_a_bare_number_of_classes_as_one_head():
    with torch.device("meta"):
        model = create_model("tdpn", arch="r18", num_classes=7)
    assert model.config == model_config(arch="r18", num_classes={"action": 7})
    assert model.training


def test_equal_configurations_build_equal_networks(small):
    one = small(flow="parallel")
    with torch.device("meta"):
        assert signature(build_model(one.config)) == signature(one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": "inplace"}, "tdpn has no setting 'shift'"),
        ({"arch": "r19"}, "model.arch: .*'r18', 'r34', 'r50'.* 'r101'"),
        ({"flows": "cascade"}, "tdpn has no setting 'flows'; its settings: .*flow"),
        ({"flow": "sideways"}, "model.flow: must be .*'parallel'.*, not 'sideways'"),
        ({"num_classes": 0}, "model.num_classes.action: .*not 0"),
        ({"temporal_rates": (8, 8, 8, 3)}, r"\(8, 8, 8, 3\) must divide the 8 frames"),
        ({"temporal_rates": (8, 8)}, "4 levels need as many temporal_rates"),
    ],
)
def test_what_cannot_be_built_is_a_config_error_that_names_it(arguments, message):
    arguments = {"name": "tdpn", "arch": "r18", **arguments}
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        create_model(arguments.pop("name"), **arguments)


def test_a_model_that_there_is_not_is_a_usage_error_with_the_known_ones():
    with pytest.raises(UsageError, match="no model 'x3d'; available: tdpn, tsn"):
        create_model("x3d")


def test_the_package_offers_create_model_without_loading_torch():
    assert tdpn_core.create_model is create_model
    with pytest.raises(AttributeError, match="no attribute 'create_modle'"):
        tdpn_core.create_modle  # noqa: B018
    check = "import sys, tdpn_core; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_create_model_of_a_family_that_builds_no_network_is_refused(tmp_path, monkeypatch):
    (tmp_path / "odd_family.py").write_text(
        "from torch import nn\n"
        "from tdpn_core.config.families import Family\n"
        "from tdpn_core.config.model import ModelConfig\n"
        "from tdpn_core.validation import settings_class\n"
        "@settings_class\n"
        "class OddConfig(ModelConfig):\n"
        "    name: str = 'odd'\n"
        "ODD = Family(title='Odd', config=OddConfig, build=lambda config: nn.Linear(1, 1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("tdpn_core.config.families._added", {})
    with pytest.raises(PluginError, match=r"model 'odd': builds a Linear, not a tdpn_core.model.base.Network"):
        create_model("odd_family:ODD")
