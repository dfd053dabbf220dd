"""The recipe that sets itself: from the size of the clips, their number, the device and the start, with its reasons.

Every rule is one `Choice`: what it sets, and why. What the user asked for (`Facts.asked`) enters the rules that depend
on it, so that rate and average are those of the batch that runs. The numbers of the rules were set by hand, from the
two ends that are known: a few hundred clips on two CPU cores, and Kinetics on GPUs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import DataConfig, ModelConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.recipes.learning_rate import BASES, Optimiser, average_decay, usual
from tdpn_core.sampling.crops import trained_short_side

FEW, MANY = 2_000, 20_000
"""Clips below which a network from nothing is the smallest, and from which it is the paper's."""

_CLIP_GIB = 1.5
"""Memory that a clip of R50 at 8 x 224 x 224 is taken to need in training: an estimate on the safe side."""

_STRETCH = 64
"""Frames that a dense clip of 8 x 8 covers."""


class Choice(NamedTuple):
    """Some settings, by their paths, and the reason for them."""

    settings: dict[str, Any]
    why: str


def finetune(data: DataConfig, facts: Facts) -> RunConfig:
    """One's own clips, a few hundred or many, without settings: everything follows from `choices`."""
    config = RunConfig(
        recipe="finetune",
        model=_network(data, facts),
        sampling=SamplingConfig(views="1x1", side_crops="input"),
        train=TrainConfig(schedule="cosine", milestones=()),
        data=data,
    )
    changes: dict[str, dict[str, Any]] = {"model": {}, "sampling": {}, "train": {}}
    for choice in choices(facts, config.model):
        for path, value in choice.settings.items():
            section, _, field = path.partition(".")
            changes[section][field] = value
    return replace(
        config,
        model=replace(config.model, **changes["model"]),
        sampling=replace(config.sampling, **changes["sampling"]),
        train=replace(config.train, **changes["train"]),
    )


def choices(facts: Facts, network: ModelConfig) -> Iterator[Choice]:
    """What is set for `facts` and why; `network` is the one to train, as far as it is known."""
    yield _depth(facts, network)
    yield _frames(facts, network)
    size = _size(facts, network)
    yield size
    network = replace(network, **{"input_size": size.settings["model.input_size"]})
    batch, parts = _batch(facts, network.input_size)
    yield parts
    yield _epochs(facts)
    yield _rate(facts, batch)
    sampling = SamplingConfig()
    if facts.start == "nothing" and facts.clips < FEW:
        blurred = {
            "sampling.crop_area": (0.5, 1.0),
            "sampling.colour": (0.2, 0.2, 0.2, 0.05),
            "train.label_smoothing": 0.1,
        }
        yield Choice(blurred, "few clips are learned by heart: colours and labels are blurred, crops stay large")
        sampling = SamplingConfig(crop_area=(0.5, 1.0))
    yield Choice(
        {"sampling.views": "1x1", "sampling.short_side": short_side(sampling, network.input_size, facts)},
        "tested as validated: one crop of the training size, things as large as in training crops",
    )
    uneven = bool(facts.per_class) and max(facts.per_class) > 3 * max(1, min(facts.per_class))
    steps = facts.steps(batch, balanced=facts.asked.get("train.balanced", uneven))
    span = f"{2 * steps} steps, two epochs" if steps > 1 else "two steps, two epochs"
    yield Choice(
        {"train.ema": average_decay(2 * steps)}, f"validated and kept is the average of the weights over {span}"
    )
    if uneven:
        spread = f"{min(facts.per_class)} to {max(facts.per_class)} clips a class"
        yield Choice({"train.balanced": True}, f"{spread}: all classes are seen equally often")


def short_side(sampling: SamplingConfig, input_size: int, facts: Facts) -> int:
    """The short side of test frames, in pixels, at which things are as large as in the crops that train.

    Training crops are those of `sampling`, but for what the user asked for.
    """
    fields = ("crop", "crop_area", "crop_ratio", "jitter")
    asked = {field: facts.asked[f"sampling.{field}"] for field in fields if f"sampling.{field}" in facts.asked}
    return trained_short_side(replace(sampling, **asked), input_size, facts.aspect)


def explain(facts: Facts, config: RunConfig) -> list[str]:
    """What was chosen and why, as lines of a table; of what the user asked for (`facts.asked`), that it was."""
    kind = "weights to start from" if facts.start != "nothing" else "no weights to start from (--init)"
    device = f"a GPU of {facts.memory:.0f} GiB" if facts.device == "cuda" else "a CPU"
    head = (
        f"recipe finetune: {facts.clips} clips of {facts.frames} frames and {facts.side} pixels, "
        f"{len(facts.per_class)} classes, {device}, {kind}"
    )
    own = finetune(config.data, facts)
    rows = []
    for settings, why in choices(facts, own.model):
        values = {path: (_get(config, path), _get(own, path)) for path in settings if _has(config, path)}
        shown = ", ".join(f"{path.partition('.')[2]} {_text(value)}" for path, (value, _) in values.items())
        asked = [path.partition(".")[2] for path in settings if path in facts.asked]
        reasons = [f"{', '.join(asked)} as asked for"] if asked else []
        if len(asked) < len(values):
            followed = not asked and any(value != chosen for value, chosen in values.values())
            reasons.append("follows from what was asked for" if followed else why)
        rows.append((shown, "; ".join(reasons)))
    width = min(60, max(len(shown) for shown, _ in rows))
    return [head, *(f"  {shown:<{width}}  {why}" for shown, why in rows)]


def _network(data: DataConfig, facts: Facts) -> ModelConfig:
    classes = {head: len(names) for head, names in data.classes.items()}
    if facts.network is not None:
        return replace(facts.network, num_classes=classes)
    return model_config(num_classes=classes)


def _depth(facts: Facts, network: ModelConfig) -> Choice:
    if facts.network is not None:
        settings = {"model.name": network.name, "model.arch": network.arch, "model.width": network.width}
        return Choice(settings, "the network of the weights that it starts from")
    if facts.start != "nothing":
        return Choice(
            {"model.arch": facts.arch or "r50", "model.width": 1.0}, "the depth of the weights it starts from"
        )
    scratch = {"model.local_fusion": "mean"}  # a branch that starts at zero only delays a network without a past
    if facts.device == "cpu" or facts.clips < FEW:
        why = "the smallest: on a CPU" if facts.device == "cpu" else "the smallest: few clips, and from nothing"
        return Choice({"model.arch": "r18", "model.width": 0.5, **scratch}, why)
    if facts.clips < MANY:
        return Choice({"model.arch": "r18", "model.width": 1.0, **scratch}, "a small one: some thousand clips")
    return Choice({"model.arch": "r50", "model.width": 1.0, **scratch}, "the paper's: many clips")


def _frames(facts: Facts, network: ModelConfig) -> Choice:
    dense = facts.frames >= 2 * _STRETCH
    settings: dict[str, Any] = {"sampling.mode": "dense" if dense else "segments"}
    if facts.network is not None:
        return Choice({"model.num_frames": network.num_frames, **settings}, "as many as those weights know")
    count = 8 if facts.frames >= 12 else 4
    settings |= {"model.num_frames": count}
    if dense:
        return Choice(settings | {"sampling.interval": 8}, f"long clips: {_STRETCH} frames from anywhere")
    why = "short clips: frames from all over them" if count == 8 else "very short clips: few frames"
    return Choice(settings, why)


def _size(facts: Facts, network: ModelConfig) -> Choice:
    stored = max(32, facts.side * 7 // 8 // 16 * 16)
    if facts.network is not None:
        wanted, why = network.input_size, "what those weights know"
    elif facts.start != "nothing" or (facts.device == "cuda" and facts.clips >= MANY):
        wanted, why = 224, "the papers'"
    elif facts.device == "cuda" and facts.clips >= FEW:
        wanted, why = 160, "between speed and detail"
    else:
        wanted, why = 112, "a quarter of the papers' pixels: fast, and enough for few clips"
    if facts.network is None and stored < wanted:
        wanted, why = stored, f"no more than the {facts.side} pixels of the clips give"
    wanted = facts.asked.get("model.input_size", wanted)
    return Choice({"model.input_size": wanted}, why)


def _batch(facts: Facts, size: int) -> tuple[int, Choice]:
    """The batch that runs, and what is chosen of it."""
    most = 16 if facts.device == "cpu" or facts.start != "nothing" or facts.clips >= MANY else 32
    batch = max(1, min(most, max(4, 2 ** int(math.log2(max(1, facts.clips / 8)))), facts.clips or most))
    why = "at least eight steps an epoch" if batch < most else "a usual one"
    if "train.batch_size" in facts.asked:
        batch, why = facts.asked["train.batch_size"], "computed whole"
    parts = 1
    if facts.device == "cuda" and facts.memory:
        fitting = max(1, int(0.8 * facts.memory / (_CLIP_GIB * (size / 224) ** 2)))
        parts = min(batch, -(-batch // fitting))
        why = f"{why}, in parts that should fit into {facts.memory:.0f} GiB" if parts > 1 else why
    return batch, Choice({"train.batch_size": batch, "train.accumulate": parts}, why)


def _epochs(facts: Facts) -> Choice:
    views, fewest, most = (12_000, 10, 60) if facts.device == "cpu" else (30_000, 30, 100)
    epochs = min(most, max(fewest, round(views / max(1, facts.clips))))
    if facts.start != "nothing":
        epochs = max(10, epochs // 2)
    why = f"{epochs * facts.clips:,} clips are seen"
    why += ", half as many as from nothing" if facts.start != "nothing" else ""
    if "train.epochs" in facts.asked:
        epochs, why = facts.asked["train.epochs"], "a fifteenth of the run, at least an epoch, at most a quarter"
    return Choice({"train.epochs": epochs, "train.warmup_epochs": min(max(1.0, epochs / 15), epochs / 4)}, why)


def _rate(facts: Facts, batch: int) -> Choice:
    optimiser: Optimiser = facts.asked.get("train.optimiser", "adamw" if facts.start == "nothing" else "sgd")
    base, share = BASES[optimiser], 1.0 if facts.start == "nothing" else 0.1
    settings = {
        "train.optimiser": optimiser,
        "train.lr": usual(optimiser, batch, share=share),
        "train.weight_decay": base.weight_decay,
    }
    learns = "AdamW learns from nothing in few steps; " if optimiser == "adamw" and facts.start == "nothing" else ""
    tenth = ", a tenth of its usual one to start from weights" if share < 1 else ""
    return Choice(settings, f"{learns}the rate is {share * base.lr:g} at batch {base.batch}, {base.words}{tenth}")


def _has(config: RunConfig, path: str) -> bool:
    """Whether it is one of the settings of the network that the user chose in place of the recipe's."""
    section, _, field = path.partition(".")
    return hasattr(getattr(config, section), field)


def _get(config: RunConfig, path: str) -> Any:
    section, _, field = path.partition(".")
    return getattr(getattr(config, section), field)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


Triple = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Mean and deviation that are subtracted and divided by, of a pixel in [0, 1]."""

    mean: Triple
    std: Triple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a run before it starts; the defaults say that nothing is."""

    per_class: tuple[int, ...] = ()
    """Training clips of each class of the first head."""

    frames: int = 64
    """Median number of frames of a training clip."""

    side: int = 256
    """Median short side of a training clip in pixels, as it is stored."""

    aspect: float = 16 / 9
    """Median ratio of the long side of a training clip to its short one."""

    device: Literal["cpu", "cuda"] = "cpu"

    memory: float = 0.0
    """Of all GPUs that train together, in GiB."""

    start: Literal["nothing", "images", "clips"] = "nothing"
    """What the weights of `--init` were trained on."""

    arch: str | None = None
    """Depth of those weights, where their file tells."""

    pixels: Pixels | None = None
    """How the pixels were normalised that those weights know."""

    network: ModelConfig | None = None
    """The network of those weights, where they are a checkpoint of ours."""

    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the user set, by path: `{"train.batch_size": 8}`."""

    @property
    def clips(self) -> int:
        """Training clips with a label of the first head."""
        return sum(self.per_class)

    def steps(self, batch: int, *, balanced: bool = False) -> int:
        """Optimiser steps of an epoch with batches of `batch` clips, as the loader forms them: at least one."""
        clips = self.clips
        if balanced:  # every class has as many clips as the mean class
            classes = sum(count > 0 for count in self.per_class)
            clips = -(-clips // max(1, classes)) * classes
        return max(1, clips // max(1, min(batch, self.clips or batch)))
