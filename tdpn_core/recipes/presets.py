"""Named recipes: functions from a prepared data set to a complete `RunConfig`; `adjust` applies user changes.

`configure` does both for a run. Rates are the references' (TPN and TDN agree: 0.01 at batch 64); scaling with the batch
is in `learning_rate.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from tdpn_core.config.families import find_family, model_config
from tdpn_core.config.overrides import NO_OVERRIDES, TrainOverrides
from tdpn_core.config.schema import (
    DataConfig,
    RunConfig,
    SamplingConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from tdpn_core.config.setting_names import models_with, nearest_setting, setting_paths
from tdpn_core.config.settings import SECTIONS
from tdpn_core.datasets.registry import DATASETS
from tdpn_core.errors import ConfigError, PluginError, UsageError
from tdpn_core.modality import Modality
from tdpn_core.plugins import Registry
from tdpn_core.recipes.auto_recipe import Facts, explain, finetune, short_side
from tdpn_core.recipes.learning_rate import BASES, describe_rate, readable, scaled, usual

Recipe = Callable[[DataConfig, Facts], RunConfig]
"""From the data, and facts about clips, device and initial weights. All but `finetune` use only the data, and `small`
the shape of the frames, which determines the scale of its test views."""


NOTHING_KNOWN = Facts()

_COST = (
    "random initial weights: the paper starts from ImageNet (--init imagenet). mmaction2 reports 74.20 top-1 without "
    "it and 76.74 with it, for TPN-R50 8x8 on Kinetics-400 after 150 epochs"
)


def kinetics400(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """Dense 8x8 clips of 64 frames, 120 epochs, tested with 10x3 views.

    The paper's tables use 32x2 (`--frames 32 --interval 2`) at four times the cost, with 78.9 top-1 for R50.
    """
    return RunConfig(
        recipe="kinetics400",
        model=model_config(num_classes=class_counts(data)),
        sampling=SamplingConfig(mode="dense", interval=8, views="10x3"),
        train=TrainConfig(init="imagenet", epochs=120, milestones=(85, 105)),
        data=data,
    )


def something_v1(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """8 segments over the entire clip, 120 epochs, 2x3 views; TPN's and TDN's R50 reach 50.7 to 52.3 top-1."""
    return RunConfig(
        recipe="something-v1",
        model=model_config(num_classes=class_counts(data)),
        sampling=SamplingConfig(mode="segments", views="2x3"),
        train=TrainConfig(init="imagenet", epochs=120, milestones=(85, 105), weight_decay=5e-4, clip_norm=20),
        data=data,
    )


def something_v2(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """Like V1, with 60 epochs; TPN's and TDN's R50 reach 64.0 to 64.7 top-1."""
    v1 = something_v1(data)
    return replace(v1, recipe="something-v2", train=replace(v1.train, epochs=60, milestones=(43, 53)))


def epic100(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """8 segments within the action's time stamps, verb and noun heads, 80 epochs, tested on the centre crop."""
    return RunConfig(
        recipe="epic100",
        model=model_config(num_classes=class_counts(data)),
        sampling=SamplingConfig(mode="segments", views="1x1"),
        train=TrainConfig(init="imagenet", epochs=80, milestones=(40, 60)),
        data=data,
    )


def epic55(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """Like EPIC-KITCHENS-100, for the first edition."""
    return replace(epic100(data), recipe="epic55")


def small(data: DataConfig, facts: Facts = NOTHING_KNOWN) -> RunConfig:
    """A fixed preset for a CPU and few clips, from scratch: half-width R18 at 112 pixels, 8 segments over the clip.

    For demonstrations, tests and comparisons, where two data sets must get the same settings; `finetune` trains the
    same network on a CPU, and adapts everything else to the data. The local module is fused by the mean, since a
    zero-initialised branch only delays training from scratch: on the demo's clips SGD with zero-initialised laterals
    stayed at chance for ten epochs, where this reached nine in ten.
    """
    size = facts.asked.get("model.input_size", 112)
    sampling = SamplingConfig(mode="segments", crop_area=(0.5, 1.0), side_crops="input")
    return RunConfig(
        recipe="small",
        model=model_config(arch="r18", num_classes=class_counts(data), input_size=size, width=0.5, local_fusion="mean"),
        sampling=replace(sampling, short_side=short_side(sampling, size, facts)),
        train=TrainConfig(
            epochs=30,
            batch_size=16,
            optimiser="adamw",
            lr=usual("adamw", 16),
            weight_decay=BASES["adamw"].weight_decay,
            schedule="cosine",
            milestones=(),
            warmup_epochs=2,
        ),
        data=data,
    )


RECIPES: Registry[Recipe] = Registry(
    "recipe",
    "tdpn.recipes",
    {
        "kinetics400": "tdpn_core.recipes.presets:kinetics400",
        "something-v1": "tdpn_core.recipes.presets:something_v1",
        "something-v2": "tdpn_core.recipes.presets:something_v2",
        "epic100": "tdpn_core.recipes.presets:epic100",
        "epic55": "tdpn_core.recipes.presets:epic55",
        "finetune": "tdpn_core.recipes.auto_recipe:finetune",
        "small": "tdpn_core.recipes.presets:small",
    },
    callable,
)
"""Recipes by name. Another package adds one with an entry point in the group `tdpn.recipes`, a `Recipe`."""


def known_recipes() -> tuple[str, ...]:
    """Return the names of all recipes, including those of other packages."""
    return tuple(RECIPES)


def choose(data: DataConfig) -> str:
    """Return the name of the recipe for a data set: its own if it has one, else `finetune`.

    Raises:
        PluginError: the data set belongs to another package that cannot be loaded or is not installed.
    """
    spec = DATASETS.get(data.dataset)
    if spec is None:
        what = f"no installed package knows the data set {data.dataset!r}, so its recipe is unknown"
        hint = "install the package that prepared it, or choose a recipe with --recipe"
        raise PluginError(what, where=data.path, hint=hint)
    return spec.recipe


def find(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UsageError: there is none; the message lists them.
        PluginError: it belongs to another package and cannot be loaded.
    """
    known = RECIPES.named(name)
    if known is None:
        raise RECIPES.unknown(name, where="--recipe")
    return RECIPES[known]


def class_counts(data: DataConfig) -> dict[str, int]:
    """Return the number of classes by head."""
    return {head: len(names) for head, names in data.classes.items()}


class Configured(NamedTuple):
    """The settings of a run, and notes on how they were derived."""

    config: RunConfig
    notes: list[str]


def configure(name: str, data: DataConfig, facts: Facts, overrides: TrainOverrides = NO_OVERRIDES) -> Configured:
    """Return the settings of a run from the recipe `name` and the user's `overrides`.

    Raises:
        UsageError: there is no such recipe, or the requested batch is larger than the training set.
        ConfigError: an invalid value.
    """
    recipe = find(name)
    first = adjust(_with_pixels(recipe(data, facts), facts), overrides)  # the user's settings, validated and typed
    facts = replace(facts, asked={path: _get(first, path) for path in overrides.asked()})
    own = _with_pixels(recipe(data, facts), facts)
    config = adjust(own, overrides)
    notes = explain(facts, config) if recipe is finetune else []
    fitting, note = _fitting(config, facts)
    return Configured(fitting, [*notes, *note, *_followed(own, fitting, facts)])


def _fitting(config: RunConfig, facts: Facts) -> tuple[RunConfig, list[str]]:
    """Return `config` with a batch of at most all training clips and its rate, with a note about it.

    Raises:
        UsageError: the user requested a larger batch.
    """
    train, clips = config.train, facts.clips
    if not clips or train.batch_size <= clips:
        return config, []
    if "train.batch_size" in facts.asked:
        what = f"a batch of {train.batch_size} clips is larger than the training set, {clips} clips"
        raise UsageError(what, where="--batch-size", hint=f"choose at most {clips}; smaller batches give more steps")
    lr = train.lr if "train.lr" in facts.asked else scaled(train.lr, train.optimiser, train.batch_size, clips)
    note = f"batch {clips}, all training clips: instead of the recipe's {train.batch_size}"
    cut = replace(train, batch_size=clips, accumulate=min(train.accumulate, clips), lr=lr)
    return replace(config, train=cut), [note]


def _followed(own: RunConfig, config: RunConfig, facts: Facts) -> Iterator[str]:
    """Yield a line for each setting that was changed as a consequence of the user's settings."""
    before, after = own.train, config.train
    if before.init == "imagenet" and after.init == "none":
        yield _COST
    if after.lr != before.lr and "train.lr" not in facts.asked:
        recipes = f"the recipe's {readable(before.lr)} is for {before.optimiser} at batch {before.batch_size}"
        yield f"{describe_rate(after)}: {recipes}"
    if after.milestones != before.milestones and "train.milestones" not in facts.asked:
        places = ", ".join(f"{milestone:g}" for milestone in after.milestones)
        yield f"the rate drops after epochs {places} of {after.epochs}, in proportion"
    if after.warmup_epochs != before.warmup_epochs and "train.warmup_epochs" not in facts.asked:
        yield f"the rate rises over {after.warmup_epochs:g} of {after.epochs} epochs"


def _with_pixels(config: RunConfig, facts: Facts) -> RunConfig:
    """Return `config` with the normalisation of the initial weights."""
    if facts.pixels is None:
        return config
    return replace(config, sampling=replace(config.sampling, mean=facts.pixels.mean, std=facts.pixels.std))


def adjust(config: RunConfig, overrides: TrainOverrides) -> RunConfig:
    """Return `config` with the user's changes.

    A setting by its path has precedence over a field for the same one. Settings that the user did not set follow those
    that were set: the learning rate follows batch and optimiser (`learning_rate.py`), milestones and warm-up the
    epochs, the short side the size; for a changed model see `with_model`.

    Raises:
        ConfigError: an invalid value.
    """
    settings = dict(overrides.settings)
    model = settings.pop("model.name", overrides.model)  # a family includes its own settings
    before = config if model is None else with_model(config, model)
    network = replace(
        before.model, **_given(arch=overrides.arch, num_frames=overrides.frames, input_size=overrides.size)
    )
    sampling = replace(before.sampling, **_given(interval=overrides.interval, views=overrides.views))
    changed = replace(before, model=network, sampling=sampling, train=_trained(before.train, overrides))
    changed = changed if overrides.modality is None else with_modality(changed, overrides.modality)
    changed = set_fields(changed, settings) if settings else changed
    return _consistent(before, changed, overrides.asked())


def _trained(before: TrainConfig, overrides: TrainOverrides) -> TrainConfig:
    """Return the training settings with the user's direct changes."""
    given = _given(
        init=overrides.init,
        epochs=overrides.epochs,
        batch_size=overrides.batch_size,
        accumulate=overrides.accumulate,
        lr=overrides.lr,
        compile=overrides.compile,
        seed=overrides.seed,
    )
    if overrides.batch_size is not None:  # a batch must have at least as many clips as parts
        given.setdefault("accumulate", min(overrides.batch_size, before.accumulate))
    return replace(before, **given)


def _consistent(before: RunConfig, after: RunConfig, asked: set[str]) -> RunConfig:
    """Return `after`, the user's version of `before`, with dependent settings adapted that were not `asked` for."""
    train = _with_rate(before.train, _with_epochs(before.train, after.train, asked), asked)
    sampling, size = after.sampling, after.model.input_size
    if size != before.model.input_size and "sampling.short_side" not in asked:
        sampling = replace(sampling, short_side=round(sampling.short_side * size / before.model.input_size))
    return replace(after, sampling=sampling, train=train)


def _with_rate(before: TrainConfig, after: TrainConfig, asked: set[str]) -> TrainConfig:
    """Scale the rate with the batch; another optimiser has its own rate and weight decay."""
    if after.optimiser != before.optimiser:
        rate, decay = usual(after.optimiser, after.batch_size), BASES[after.optimiser].weight_decay
        return replace(
            after,
            lr=after.lr if "train.lr" in asked else rate,
            weight_decay=after.weight_decay if "train.weight_decay" in asked else decay,
        )
    if "train.lr" in asked:
        return after
    return replace(after, lr=scaled(after.lr, after.optimiser, before.batch_size, after.batch_size))


def _with_epochs(before: TrainConfig, after: TrainConfig, asked: set[str]) -> TrainConfig:
    """Scale milestones with the run, to fractions of epochs if needed; limit the warm-up to a quarter.

    Raises:
        ConfigError: requested milestones that do not ascend, or are not within the run.
    """
    if "train.milestones" in asked and after.schedule == "step":
        ends = (0.0, *after.milestones, float(after.epochs))
        if any(first >= second for first, second in pairwise(ends)):
            what = f"milestones must rise between 0 and the {after.epochs} epochs, not {after.milestones}"
            raise ConfigError(what, where="train.milestones")
    if after.epochs == before.epochs:
        return after
    if "train.milestones" not in asked:
        share = after.epochs / before.epochs
        after = replace(after, milestones=tuple(round(milestone * share, 3) for milestone in after.milestones))
    if "train.warmup_epochs" not in asked:
        after = replace(after, warmup_epochs=min(after.warmup_epochs, after.epochs / 4))
    return after


def with_modality(config: RunConfig, modality: Modality) -> RunConfig:
    """Return `config` for RGB or optical flow, which has other normalisation and no colour augmentation.

    Flow has the standard deviation of the network's family.

    Raises:
        ConfigError: the data has the other modality.
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
        deviation = network.flow_deviation
        sampling = replace(plain, mean=(0.5, 0.5, 0.5), std=(deviation, deviation, deviation))
    return replace(config, model=network, sampling=sampling)


def with_model(config: RunConfig, name: str) -> RunConfig:
    """Return `config` with another family of networks, with its usual settings and sampling.

    Settings in which the recipe differs from its own family are kept if the other family has them, too. A dense clip
    keeps its length in time: 8x8 frames become SlowFast's 32x2.
    """
    old, sampling, family = config.model, config.sampling, find_family(name)
    if family.name == old.name:
        return config
    usual = to_dict(model_config(old.name))
    chosen = {field: value for field, value in to_dict(old).items() if value != usual[field]}
    kept = {field: value for field, value in chosen.items() if family.has(field)}
    if old.arch not in family.archs:
        kept.pop("arch", None)
    network = family.config(**kept)
    interval = max(1, sampling.interval * old.num_frames // network.num_frames)
    return replace(
        config, model=network, sampling=replace(sampling, interval=interval, mode=family.sampling or sampling.mode)
    )


def set_fields(config: RunConfig, settings: Mapping[str, str]) -> RunConfig:
    """Return `config` with fields set by their path, `{"model.temporal": "none,none,local,local"}`.

    Raises:
        ConfigError: there is no such field, or the value has another type; the message names both.
    """
    values = to_dict(config)
    for path, text in settings.items():
        section, _, field = path.partition(".")
        if section not in SECTIONS or field not in values[section]:
            if path in setting_paths():
                what, others = f"{config.model.name} has no setting {path!r}", ", ".join(models_with(path))
                raise ConfigError(what, where="--set", hint=f"it is one of {others}")
            raise ConfigError(f"no setting {path!r}", where="--set", hint=nearest_setting(path))
        values[section][field] = _parsed(text, like=values[section][field])
    return from_dict(RunConfig, values)


def _get(config: RunConfig, path: str) -> Any:
    section, _, field = path.partition(".")
    return getattr(getattr(config, section), field)


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
