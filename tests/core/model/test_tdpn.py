import pytest
import torch
from random_statistics import randomise
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS
from tdpn_core.errors import UsageError
from tdpn_core.model.base import TrainingOutput
from tdpn_core.model.registry import create_model


@pytest.mark.parametrize(
    ("arch", "channels"), [("r18", (64, 128, 256, 512)), ("r50", (256, 512, 1024, 2048)), ("r101", None)]
)
def test_stages_have_the_shapes_of_the_figure(arch, channels):
    with torch.device("meta"):
        model = create_model("tdpn", arch=arch).eval()
        clip = torch.empty(1, 3, 40, 224, 224)
        (levels, fused), logits = model.feature_maps(clip), model(clip)
    channels = channels or (256, 512, 1024, 2048)
    for level, count, side in zip(LEVELS, channels, (56, 28, 14, 7), strict=True):
        assert levels[level].shape == (1, count, 8, side, side)
    assert fused.shape == (1, channels[-1], 1, 7, 7)
    assert logits.shape == (1, 400)


def test_eval_returns_a_tensor_for_one_head_and_a_dictionary_for_several(small, clip_for):
    one, several = small().eval(), small(num_classes={"verb": 4, "noun": 6}).eval()
    assert one(clip_for(one)).shape == (2, 3)
    logits = several(clip_for(several))
    assert {name: tuple(value.shape) for name, value in logits.items()} == {"verb": (2, 4), "noun": (2, 6)}


def test_training_returns_logits_and_auxiliary_logits_by_head(small, clip_for):
    model = small(num_classes={"verb": 4, "noun": 6})
    output = model(clip_for(model))
    assert isinstance(output, TrainingOutput)
    assert {name: tuple(value.shape) for name, value in output.auxiliary.items()} == {"verb": (2, 4), "noun": (2, 6)}
    assert small(auxiliary_head=False)(clip_for(model)).auxiliary == {}


def test_features_are_what_the_head_averages_and_classifies(small, clip_for):
    model = randomise(small()).eval()
    clip = clip_for(model, (64, 96))
    features = model.feature_maps(clip).top
    assert features.shape == (2, 128, 1, 2, 3)
    linear = model.head.linear["action"]
    torch.testing.assert_close(model(clip), F.linear(features.mean((2, 3, 4)), linear.weight, linear.bias))


@pytest.mark.parametrize("size", [(32, 64), (64, 45), (37, 50), (33, 33), (96, 32)])
@pytest.mark.parametrize("temporal", [("global", "global", "local", "local"), ("local", "local", "global", "global")])
def test_rectangles_and_odd_sizes_go_through(small, clip_for, size, temporal):
    model = randomise(small(temporal=temporal)).eval()
    assert model(clip_for(model, size)).isfinite().all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 9, 32, 32), r"\(N, 3, 2 x 5 = 10 frames, .*not \(1, 3, 9, 32, 32\)"),
        ((1, 4, 10, 32, 32), r"not \(1, 4, 10, 32, 32\)"),
        ((3, 10, 32, 32), r"not \(3, 10, 32, 32\)"),
        ((1, 3, 10, 31, 32), r"at least 32 pixels per side, not \(1, 3, 10, 31, 32\)"),
    ],
)
def test_a_clip_of_the_wrong_shape_is_refused_with_the_numbers(small, shape, message):
    with pytest.raises(UsageError, match=message):
        small()(torch.zeros(shape))


def test_without_a_window_the_clip_has_the_sampled_frames_alone(small, clip_for):
    model = small(window=1).eval()
    assert clip_for(model).shape[2] == 2
    with pytest.raises(UsageError, match=r"\(N, 3, 2 frames, "):
        model(torch.zeros(1, 3, 10, 32, 32))


def test_at_the_start_the_local_module_changes_nothing(small, clip_for):
    """The network with its local module gives what the one without gives, from the middle frames."""
    model = small().eval()
    alone = small(temporal=("global", "global", "none", "none")).eval()
    alone.load_state_dict({name: value for name, value in model.state_dict().items() if ".local." not in name})
    clip = clip_for(model)
    assert torch.equal(model(clip), alone(clip[:, :, 2::5].contiguous()))
    assert not torch.equal(randomise(model)(clip), alone(clip[:, :, 2::5]))


@pytest.mark.parametrize("arch", ["r18", "r50"])
@pytest.mark.parametrize("options", [{}, {"temporal": ("local", "global", "global", "local"), "flow": "parallel"}])
def test_gradients_reach_every_parameter(small, clip_for, arch, options):
    """Once the branches that start at zero have left it."""
    model = randomise(small(arch=arch, dropout=0.0, num_classes={"verb": 4, "noun": 6}, **options))
    output = model(clip_for(model, (64, 64)))
    sum(logits.square().sum() for logits in (*output.logits.values(), *output.auxiliary.values())).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_zero_started_branches_learn_after_one_step(small, clip_for):
    model = small(dropout=0.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    clip, labels = clip_for(model, (64, 64)), torch.tensor([0, 2])
    for _ in range(2):
        optimiser.zero_grad()
        output = model(clip)
        sum(F.cross_entropy(part["action"], labels) for part in output).backward()
        optimiser.step()
    silent = [name for name, value in model.named_parameters() if not value.grad.any()]
    assert silent == []
