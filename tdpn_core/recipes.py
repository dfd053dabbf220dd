"""Named configurations: each is a function from a prepared data set to a whole `RunConfig`; `adjust` changes one.

Rates are the reference's own (TPN and TDN agree: 0.01 at batch 64) and scale linearly with the batch.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tdpn_core.config import (
    Arch,
    DataConfig,
    Modality,
    ModelConfig,
    ModelName,
    RunConfig,
    SamplingConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.facts import Facts
from tdpn_core.families import FAMILIES, NEUTRAL
from tdpn_core.finetune import finetune

Recipe = Callable[[DataConfig, Facts], RunConfig]
"""From the data and what is known of its clips, the device and the start; all but `finetune` look at the data only."""


NOTHING_KNOWN = Facts()


def kinetics400(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """Dense 8x8 clips of 64 frames, 120 epochs, tested with 10x3 views.

    The paper's tables use 32x2 (`--frames 32 --interval 2`), four times the cost, and print 78.9 top-1 for R50.
    """
    return RunConfig(
        recipe="kinetics400",
        model=ModelConfig(num_classes=class_counts(data)),
        sampling=SamplingConfig(mode="dense", interval=8, views="10x3"),
        train=TrainConfig(epochs=120, milestones=(85, 105)),
        data=data,
    )


def something_something_v1(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """8 segments over the whole clip, 120 epochs, 2x3 views; TPN's and TDN's R50 reach 50.7 to 52.3 top-1."""
    return RunConfig(
        recipe="something-something-v1",
        model=ModelConfig(num_classes=class_counts(data)),
        sampling=SamplingConfig(mode="segments", views="2x3"),
        train=TrainConfig(epochs=120, milestones=(85, 105), weight_decay=5e-4, clip_norm=20),
        data=data,
    )


def something_something_v2(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """As V1, in 60 epochs; TPN's and TDN's R50 reach 64.0 to 64.7 top-1."""
    v1 = something_something_v1(data)
    return replace(v1, recipe="something-something-v2", train=replace(v1.train, epochs=60, milestones=(43, 53)))


def epic_100(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """8 segments within the action's time stamps, a verb and a noun head, 80 epochs, tested on the centre crop."""
    return RunConfig(
        recipe="epic-100",
        model=ModelConfig(num_classes=class_counts(data)),
        sampling=SamplingConfig(mode="segments", views="1x1"),
        train=TrainConfig(epochs=80, milestones=(40, 60)),
        data=data,
    )


def epic_55(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """As for EPIC-Kitchens-100, on the first edition."""
    return replace(epic_100(data), recipe="epic-55")


def small(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """A fixed preset for a CPU and few clips, from scratch: half-width R18 at 112 pixels, 8 segments over the clip.

    For demonstrations, tests and comparisons, where two data sets must get the same settings; `finetune` trains the
    same network on a CPU, and fits everything else to the data. The local module joins by the mean, since a branch that
    starts at zero only delays a network without a past: on the demo's clips SGD with zero-initialised laterals stayed
    at chance for ten epochs, where this reached nine in ten.
    """
    return RunConfig(
        recipe="small",
        model=ModelConfig(arch="r18", num_classes=class_counts(data), input_size=112, width=0.5, local_fusion="mean"),
        sampling=SamplingConfig(mode="segments", short_side=128, crop_area=(0.5, 1.0)),
        train=TrainConfig(
            epochs=30,
            batch_size=16,
            optimiser="adamw",
            lr=0.002,
            weight_decay=0.02,
            schedule="cosine",
            milestones=(),
            warmup_epochs=2,
        ),
        data=data,
    )


RECIPES: dict[str, Recipe] = {
    "kinetics400": kinetics400,
    "something-something-v1": something_something_v1,
    "something-something-v2": something_something_v2,
    "epic-100": epic_100,
    "epic-55": epic_55,
    "finetune": finetune,
    "small": small,
}


OWN_RECIPES = {
    "kinetics400": "kinetics400",
    "something-v1": "something-something-v1",
    "something-v2": "something-something-v2",
    "epic100": "epic-100",
    "epic55": "epic-55",
}
"""Of data sets as `tdpn prep` calls them."""


def choose(data: DataConfig) -> str:
    """The recipe for a data set: its own where it has one, else `finetune`."""
    return OWN_RECIPES.get(data.dataset, "finetune")


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}", where="--recipe", hint=f"one of {', '.join(RECIPES)}")
    return RECIPES[name]


def class_counts(data: DataConfig) -> dict[str, int]:
    """The number of classes of each head."""
    return {head: len(names) for head, names in data.classes.items()}


FLOW_DEVIATION = 0.226
"""Of a byte of flow in [0, 1], as TSN takes it: the mean of ImageNet's."""


def adjust(
    config: RunConfig,
    *,
    model: ModelName | None = None,
    arch: Arch | None = None,
    modality: Modality | None = None,
    frames: int | None = None,
    interval: int | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    lr: float | None = None,
    compile: bool | None = None,
    seed: int | None = None,
    views: str | None = None,
    settings: dict[str, str] | None = None,
) -> RunConfig:
    """`config` with what the user asked for; None leaves a value as it is.

    A changed batch scales the learning rate with it unless `lr` is given; changed epochs move the milestones in
    proportion; a changed size keeps the short side's ratio to it; a changed model is `with_model`'s. `settings` sets
    any field by its path: `{"model.flow": "parallel"}`.

    Raises:
        ConfigError: a value that its field does not allow.
    """
    config = config if model is None else with_model(config, model)
    network, sampling, train = config.model, config.sampling, config.train
    if batch_size is not None:
        train = replace(train, batch_size=batch_size, lr=train.lr * batch_size / train.batch_size)
    if epochs is not None:
        milestones = tuple(round(milestone * epochs / train.epochs) for milestone in train.milestones)
        train = replace(train, epochs=epochs, milestones=milestones, warmup_epochs=min(train.warmup_epochs, epochs / 4))
    if size is not None:
        short_side = round(sampling.short_side * size / network.input_size)
        network, sampling = replace(network, input_size=size), replace(sampling, short_side=short_side)
    network = replace(network, **_given(arch=arch, num_frames=frames))
    sampling = replace(sampling, **_given(interval=interval, views=views))
    train = replace(train, **_given(accumulate=accumulate, lr=lr, compile=compile, seed=seed))
    adjusted = replace(config, model=network, sampling=sampling, train=train)
    adjusted = adjusted if modality is None else with_modality(adjusted, modality)
    return set_fields(adjusted, settings) if settings else adjusted


def with_modality(config: RunConfig, modality: Modality) -> RunConfig:
    """`config` for RGB or for optical flow, which is normalised otherwise and has no colours to be changed.

    Flow has TSN's deviation, and in the Inception I3D its authors' range of -1..1.

    Raises:
        ConfigError: the data is of the other one.
    """
    packed = config.data.encoding.get("modality", "rgb")
    if modality != packed:
        hint = "tdpn prep --flow packs optical flow" if modality == "flow" else "prepare the data without --flow"
        raise ConfigError(
            f"--modality {modality}, but the data is packed as {packed}", where=config.data.path, hint=hint
        )
    sampling, network = config.sampling, replace(config.model, modality=modality)
    if modality == "flow":
        plain = replace(sampling, colour=(0.0, 0.0, 0.0, 0.0), randaugment=0, erasing=0.0)
        deviation = 0.5 if network.arch == "inception" else FLOW_DEVIATION
        sampling = replace(plain, mean=(0.5, 0.5, 0.5), std=(deviation, deviation, deviation))
    return replace(config, model=network, sampling=sampling)


def with_model(config: RunConfig, name: ModelName) -> RunConfig:
    """`config` with another family of networks, built and sampled as that usually is.

    What the recipe chose otherwise than its own family does is kept where the other family has it, too. A dense clip
    keeps its length in time: 8x8 frames become SlowFast's 32x2.
    """
    old, sampling, family = config.model, config.sampling, FAMILIES[name]
    if name == old.name:
        return config
    usual = ModelConfig(name=old.name)
    chosen = {field: value for field, value in vars(old).items() if value != getattr(usual, field)}
    kept = {field: value for field, value in chosen.items() if field not in NEUTRAL or field in family.settings}
    if old.arch not in family.archs:
        kept.pop("arch", None)
    network = ModelConfig(**{**kept, "name": name})
    interval = max(1, sampling.interval * old.num_frames // network.num_frames)
    return replace(
        config, model=network, sampling=replace(sampling, interval=interval, mode=family.sampling or sampling.mode)
    )


def set_fields(config: RunConfig, settings: dict[str, str]) -> RunConfig:
    """`config` with fields set by their path, `{"model.temporal": "none,none,local,local"}`.

    Raises:
        ConfigError: no such field, or a value of another type; the message names both.
    """
    values = to_dict(config)
    for path, text in settings.items():
        section, _, field = path.partition(".")
        if section not in ("model", "sampling", "train") or field not in values[section]:
            raise ConfigError(f"no setting {path!r}", where="--set", hint=_nearest_setting(path, values))
        values[section][field] = _parsed(text, like=values[section][field])
    return from_dict(RunConfig, values)


def _nearest_setting(path: str, values: dict[str, Any]) -> str:
    names = [f"{section}.{field}" for section in ("model", "sampling", "train") for field in values[section]]
    by_field = {name.partition(".")[2]: name for name in names}
    near = difflib.get_close_matches(path, names, 1) or difflib.get_close_matches(path.rpartition(".")[2], by_field, 1)
    if not near:
        return "for example --set model.flow=parallel"
    return f"did you mean {by_field.get(near[0], near[0])}?"


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _parsed(text: str, *, like: object) -> object:
    if isinstance(like, (list, tuple)) or "," in text:
        return [_value(part.strip()) for part in text.split(",") if part.strip()]
    return _value(text)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
