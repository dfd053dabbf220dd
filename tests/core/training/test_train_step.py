"""The optimiser step: what it computes, what it keeps, and how it gives up."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core import recipes
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig, RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ConfigError, TrainingError
from tdpn_core.model.precision import Precision, choose_precision
from tdpn_core.sampling.loader import Batch
from tdpn_core.sampling.transforms import normalise
from tdpn_core.training import train_step as step
from tdpn_core.training.device import recompute_activations, segments
from tdpn_core.training.loss import guessing_loss, objective
from tdpn_core.training.train_step import Learner

CPU = Runtime(torch.device("cpu"))
DATA = DataConfig(
    path="data/x",
    dataset="folder",
    classes={"action": ["a", "b", "c"]},
    classes_digest="c",
    digest="d",
    short_side=36,
)


class Plain(nn.Module):
    """Colours through a linear layer, without batch normalisation or dropout: clips do not see each other."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.action = nn.Linear(6, classes)
        self.auxiliary_head = nn.Linear(6, classes)

    def forward(self, clip: Tensor) -> SimpleNamespace:
        x = torch.cat([clip.mean((2, 3, 4)), clip.std((2, 3, 4))], 1)
        return SimpleNamespace(logits={"action": self.action(x)}, auxiliary={"action": self.auxiliary_head(x)})


def _config(tiny: dict[str, str], **settings: str) -> RunConfig:
    config = recipes.adjust(recipes.small(DATA), TrainOverrides(settings=tiny))
    return recipes.set_fields(config, {name.replace("__", "."): value for name, value in settings.items()})


def _batch(count: int = 6, number: int = 0, frames: int = 10) -> Batch:
    generator = torch.Generator().manual_seed(number)
    clips = torch.randint(0, 256, (count, 3, frames, 32, 32), generator=generator, dtype=torch.uint8)
    return Batch(clips, {"action": torch.arange(count) % 3}, torch.arange(count), torch.zeros(count, dtype=torch.long))


def _learner(config: RunConfig) -> Learner:
    return Learner(config, [f"clip {number}" for number in range(8)], CPU)


def _steps(learner: Learner, count: int, first: int = 0) -> list[step.Outcome]:
    return [learner.step(_batch(number=n), number=n, lr=0.05) for n in range(first, first + count)]


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "build_model", lambda config: Plain())


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_batch_in_parts_has_the_gradient_and_the_loss_of_the_whole(tiny: dict[str, str], parts: int) -> None:
    smooth = {"train__label_smoothing": "0.1", "train__optimiser": "sgd"}
    whole, parted = (_learner(_config(tiny, **smooth, train__accumulate=str(count))) for count in (1, parts))
    batch = _batch(6)
    batch.labels["action"][1] = -1  # the parts have different numbers of labelled clips
    one, other = (learner.step(batch, number=0, lr=0.1) for learner in (whole, parted))
    assert other == pytest.approx(one, rel=1e-5)
    for name, value in whole.trainable.items():
        assert torch.allclose(value, parted.trainable[name], atol=1e-6)
        assert torch.allclose(value.grad, parted.trainable[name].grad, atol=1e-6)


@pytest.mark.usefixtures("plain")
def test_a_step_is_the_formula(tiny: dict[str, str]) -> None:
    config = _config(tiny, train__optimiser="sgd", train__momentum="0", train__weight_decay="0")
    learner = _learner(config)
    before = {name: value.detach().clone().requires_grad_() for name, value in learner.trainable.items()}
    batch = _batch()
    output = torch.func.functional_call(learner.model, before, normalise(batch.clips, config.sampling))
    loss = objective(output.logits, output.auxiliary, batch.labels, weight=0.5)
    gradients = torch.autograd.grad(loss, list(before.values()))
    outcome = learner.step(batch, number=0, lr=0.1)
    assert outcome.objective == pytest.approx(loss.item())
    assert outcome.loss == pytest.approx(F.cross_entropy(output.logits["action"], batch.labels["action"]).item())
    assert outcome.norm == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in gradients)), rel=1e-5)
    hits = output.logits["action"].argmax(1) == batch.labels["action"]
    assert outcome.correct == hits.sum().item()
    for (name, value), gradient in zip(before.items(), gradients, strict=True):
        assert torch.allclose(learner.trainable[name], value - 0.1 * gradient, atol=1e-6)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("accumulate", ["1", "2"])
def test_step_loss_is_the_plain_cross_entropy_whatever_is_lowered(tiny: dict[str, str], accumulate: str) -> None:
    settings = {"train__label_smoothing": "0.3", "train__auxiliary_weight": "0.7", "train__accumulate": accumulate}
    learner = _learner(_config(tiny, **settings))
    batch = _batch()
    with torch.no_grad():
        output = learner.model(normalise(batch.clips, learner.config.sampling))
    logits, labels = output.logits["action"], batch.labels["action"]
    outcome = learner.step(batch, number=0, lr=0.1)
    assert outcome.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    lowered = F.cross_entropy(logits, labels, label_smoothing=0.3)
    lowered += 0.7 * F.cross_entropy(output.auxiliary["action"], labels, label_smoothing=0.3)
    assert outcome.objective == pytest.approx(lowered.item(), rel=1e-5)


def test_the_average_follows_the_weights_by_its_decay_and_is_what_is_kept(tiny: dict[str, str]) -> None:
    learner = _learner(_config(tiny, train__ema="0.3"))
    expected = {name: value.clone() for name, value in learner.model.state_dict().items()}
    for number in range(3):
        learner.step(_batch(number=number), number=number, lr=0.05)
        decay = min(0.3, (1 + number) / (10 + number))
        for name, value in learner.model.state_dict().items():
            blend = decay * expected[name] + (1 - decay) * value
            expected[name] = blend if value.is_floating_point() else value.clone()
    kept = learner.weights()
    assert kept.keys() == expected.keys()
    assert all(torch.allclose(kept[name], value, atol=1e-6) for name, value in expected.items())
    assert not torch.allclose(kept["head.linear.action.weight"], learner.trainable["head.linear.action.weight"])


@pytest.mark.parametrize(
    "settings",
    [
        {"train__ema": "0.9", "train__accumulate": "2"},
        {"train__ema": "0.9", "train__frozen": "res2", "train__optimiser": "sgd"},
        {"train__label_smoothing": "0.1", "train__checkpointing": "true"},
    ],
)
def test_a_restored_learner_goes_on_bit_identically(tiny: dict[str, str], settings: dict[str, str]) -> None:
    config = _config(tiny, **settings)
    whole, first, second = (_learner(config) for _ in range(3))
    _steps(whole, 4)
    _steps(first, 2)
    second.load_state_dict(
        {name: value.clone() for name, value in first.weights().items()},
        {name: value.clone() for name, value in first.state_dict().items()},
    )
    _steps(second, 2, first=2)
    assert _equal(whole.weights(), second.weights())
    assert _equal(whole.state_dict(), second.state_dict())


def test_frozen_stages_keep_weights_and_statistics_and_the_rest_learns(tiny: dict[str, str]) -> None:
    learner = _learner(_config(tiny, train__frozen="res3"))
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    learner.model.train()  # as validation does when it is done
    _steps(learner, 2)
    changed = {name for name, value in learner.model.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {name for name in before if name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1"))}
    frozen |= {name for name in before if name.startswith("backbone.layer2")}
    assert not changed & frozen
    assert {name for name in before if "running_mean" in name} - frozen <= changed
    assert "backbone.layer3.0.conv1.weight" in changed


def test_recomputed_activations_change_no_bit(tiny: dict[str, str]) -> None:
    plain, saving = (_learner(_config(tiny, train__checkpointing=value)) for value in ("false", "true"))
    kept: list[list[int]] = []
    for learner in (plain, saving):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            outcomes = _steps(learner, 2)
        kept.append(sizes)
        assert all(math.isfinite(outcome.loss) for outcome in outcomes)
    assert _equal(plain.weights(), saving.weights())
    assert _equal(plain.state_dict(), saving.state_dict())
    for name, value in plain.trainable.items():
        assert torch.equal(value.grad, saving.trainable[name].grad)
    assert any("num_batches_tracked" in name for name in plain.weights())


def test_recomputing_keeps_only_what_enters_a_segment(tiny: dict[str, str]) -> None:
    def kept(saving: bool) -> int:
        learner = _learner(_config(tiny))
        if saving:
            recompute_activations(learner.model)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            learner.model(torch.randn(2, 3, 10, 32, 32))
        return sum(sizes)

    assert kept(saving=True) < 0.6 * kept(saving=False)


def test_every_block_and_branch_is_a_segment(tiny: dict[str, str]) -> None:
    blocks, local_blocks, lower_levels, flows = 4 * 2, 3, 3, 2
    assert len(segments(_learner(_config(tiny)).model)) == blocks + local_blocks + lower_levels + flows


def test_a_loss_far_beyond_guessing_stops_before_the_update(tiny: dict[str, str]) -> None:
    assert guessing_loss({"verb": 4, "noun": 9}, weight=0.5, auxiliary=True) == pytest.approx(1.5 * math.log(6))
    learner = _learner(_config(tiny, train__max_loss_ratio="0.01"))
    before = {name: value.detach().clone() for name, value in learner.trainable.items()}
    with pytest.raises(TrainingError, match=r"at step 0 .*|loss .* is over 0.01 times that of guessing at step 0"):
        _steps(learner, 1)
    assert all(torch.equal(value, before[name]) for name, value in learner.trainable.items())
    _steps(_learner(_config(tiny, train__max_loss_ratio="0")), 1)


@pytest.mark.parametrize("settings", [{"train__accumulate": "3"}, {"train__ema": "0.9"}])
def test_a_poisoned_part_stops_the_step_and_leaves_the_weights(
    tiny: dict[str, str], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = _learner(_config(tiny, **settings))
    monkeypatch.setattr(step, "normalise", lambda clips, sampling: clips.float() * float("nan"))
    kept = {name: value.clone() for name, value in learner.weights().items() if "running" not in name}
    with pytest.raises(TrainingError, match=r"are not finite at step 7") as caught:
        learner.step(_batch(), number=7, lr=0.1)
    assert str(caught.value.where) == "clips " + ", ".join(f"clip {number}" for number in range(6))
    assert all(torch.equal(learner.weights()[name], value) for name, value in kept.items() if "num_" not in name)


@pytest.mark.usefixtures("plain")
def test_fp16_scales_the_loss_and_skips_a_step_that_overflows(tiny: dict[str, str]) -> None:
    learner = _learner(_config(tiny, train__ema="0.5"))
    learner.precision = Precision("fp16", "cpu")
    scaler = learner.precision.scaler
    scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**40})
    before = {name: value.detach().clone() for name, value in learner.trainable.items()}
    (skipped,) = _steps(learner, 1)
    assert not math.isfinite(skipped.norm)
    assert math.isfinite(skipped.loss)
    assert scaler.get_scale() == 2.0**39
    assert all(torch.equal(value, before[name]) for name, value in learner.trainable.items())
    scaler.load_state_dict(scaler.state_dict() | {"scale": 8.0})
    (taken,) = _steps(learner, 1)
    full = _learner(_config(tiny))
    (reference,) = _steps(full, 1)
    assert taken.norm == pytest.approx(reference.norm, rel=0.02)  # unscaled before it is cut
    fresh = _learner(_config(tiny, train__ema="0.5"))
    fresh.precision = Precision("fp16", "cpu")
    fresh.load_state_dict(learner.weights(), learner.state_dict())
    assert fresh.precision.scaler.state_dict() == scaler.state_dict()


@pytest.mark.usefixtures("plain")
def test_fp16_that_overflows_at_the_smallest_scale_is_an_error(tiny: dict[str, str]) -> None:
    learner = _learner(_config(tiny))
    learner.precision = Precision("fp16", "cpu")
    learner.precision.scaler.load_state_dict(learner.precision.scaler.state_dict() | {"scale": 1.0})
    learner.trainable["action.weight"].register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"gradient norm (nan|inf) are not finite"):
        _steps(learner, 1)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("fitting", "message"),
    [
        (3, r"ran out of memory with 6 clips of 3x10x32x32 at a time; 3 fit: --accumulate 2 .* --batch-size 4 "),
        (1, r"1 fit: --accumulate 6 "),
        (0, r"no smaller number works: use --set train.checkpointing=true, fewer --frames"),
    ],
)
def test_out_of_memory_names_the_batch_that_would_fit(
    tiny: dict[str, str], fitting: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = _learner(_config(tiny))
    learn: Callable[..., Tensor] = learner._learn
    tried = []

    def limited(part: Batch, *rest: Any) -> Tensor:
        tried.append(len(part.indices))
        if len(part.indices) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return learn(part, *rest)

    monkeypatch.setattr(learner, "_learn", limited)
    with pytest.raises(TrainingError, match=message):
        _steps(learner, 1)
    assert tried == {3: [6, 3], 1: [6, 3, 1], 0: [6, 3, 1]}[fitting]


def test_a_single_value_to_normalise_is_no_size_that_fits_and_no_bug(
    tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = _learner(_config(tiny))
    with pytest.raises(
        TrainingError, match=r"normalisation needs more than one value per channel.* larger --batch-size"
    ):
        learner.step(_batch(1), number=0, lr=0.05)
    learn: Callable[..., Tensor] = learner._learn

    def limited(part: Batch, *rest: Any) -> Tensor:
        if len(part.indices) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return learn(part, *rest)

    monkeypatch.setattr(learner, "_learn", limited)
    with pytest.raises(TrainingError, match="with 6 clips of 3x10x32x32 at a time; no smaller number works"):
        _steps(learner, 1)


@pytest.mark.parametrize(
    ("asked", "has_bf16", "expected"),
    [("auto", True, "bf16"), ("auto", False, "fp16"), ("fp16", True, "fp16"), ("float32", True, "float32")],
)
def test_a_gpu_takes_the_half_precision_it_is_good_at(
    asked: Any, has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: enabled)
    precision = choose_precision(asked, torch.device("cuda"))
    assert precision.name == expected
    assert precision.scaler == (expected == "fp16")
    chosen = {torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32}
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution
    assert chosen == {asked != "float32"}


def test_half_precision_is_refused_where_it_is_not_there_or_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("bf16", "fp16"):
        with pytest.raises(ConfigError, match=rf"precision {asked} needs a GPU; leave train.precision at auto"):
            choose_precision(asked, torch.device("cpu"))
    assert choose_precision("auto", torch.device("cpu")).name == "float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old GPU")
    with pytest.raises(ConfigError, match=r"Old GPU has no bf16; .* uses fp16 here"):
        choose_precision("bf16", torch.device("cuda"))


@pytest.mark.usefixtures("plain")
def test_a_compiled_network_trains_to_the_same_weights(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, calls = torch.compile, []

    def eagerly(model: nn.Module) -> Any:
        calls.append(model)
        return compiled(model, backend="eager")

    monkeypatch.setattr(torch, "compile", eagerly)
    one, other = (_learner(_config(tiny, train__compile=value)) for value in ("true", "false"))
    assert calls == [one.model]
    _steps(one, 2)
    _steps(other, 2)
    assert _equal(one.weights(), other.weights())
