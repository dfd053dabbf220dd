"""All settings: frozen, typed, documented at their declaration, saved with every run and checkpoint.

One dataclass per concern; the network's belongs to its family (`model.py`, `families.py`). A named configuration is a
function in `recipes` that returns a complete `RunConfig`. `to_dict` and `from_dict` convert to and from plain values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from tdpn_core.config.families import model_config
from tdpn_core.config.model import ModelConfig as ModelConfig
from tdpn_core.errors import ConfigError
from tdpn_core.validation import (
    Amount,
    AreaRange,
    Count,
    CountRange,
    NotNegative,
    Positive,
    RatioRange,
    Settings,
    Share,
    refusal,
    settings_class,
)

WHOLE = "full"

VALIDATION_VIEWS = "1x1"
"""Test views of the validation after each epoch: one centre crop per clip."""

UNKNOWN_VIEWS = "the features' views"
"""What reports state where the views of a probe's validation are not known."""

PROBE = "probe-"
"""Begin of the recipe of a classifier that was trained on features."""


def parse_views(views: str) -> tuple[int, int]:
    """Parse `10x3` to (clips in time, crops in space); `full` and `10xfull` have one crop, the entire frame.

    Raises:
        ConfigError: invalid form, or a number of crops other than 1, 3 or 10.
    """
    clips, _, crops = ("1", "x", WHOLE) if views == WHOLE else views.partition("x")
    if not (clips.isdecimal() and crops in ("1", "3", "10", WHOLE) and int(clips) >= 1):
        what = f"--views must be CLIPSxCROPS with 1, 3 or 10 crops, such as 10x3 or 1x1, or full, not {views!r}"
        raise ConfigError(what)
    return int(clips), 1 if crops == WHOLE else int(crops)


def _views(text: str) -> str:
    parse_views(text)
    return text


@settings_class
class SamplingConfig(Settings):
    """How a clip's frames and pixels are sampled for the network, in training and in testing."""

    section: ClassVar[str] = "sampling"

    mode: Literal["dense", "segments"] = "dense"
    """`dense`: every `interval`-th frame of a section; `segments`: one frame of each of T equal parts of the clip."""

    interval: Count = 8
    """Distance in frames between two sampled frames of a dense clip (tau in the papers)."""

    short_side: Count = 256
    """Short side in pixels to which frames are resized before a centre or side crop."""

    side_crops: Literal["short_side", "input"] = "short_side"
    """Side in pixels of the three crops of `10x3`: `short_side` (published protocols; larger than in training), or the
    network's `input` size, as in training."""

    crop: Literal["area", "jitter"] = "area"
    """Training crops: `area` is a rectangle of random area and aspect ratio (Szegedy et al. 2015), `jitter` a square
    from frames of random short side (Simonyan and Zisserman 2015)."""

    crop_area: AreaRange = (0.25, 1.0)
    """Range of the share of the frame's area covered by `area` crops."""

    crop_ratio: RatioRange = (0.75, 4 / 3)
    """Range of the aspect ratio (width : height) of `area` crops, drawn log-uniformly."""

    jitter: CountRange = (256, 320)
    """Range in pixels of the short side of the frames for `jitter` crops, drawn uniformly; values below the network's
    input size are raised to it."""

    flip: Share = 0.5
    """Probability of a horizontal flip in training; labels that name a side are swapped with it."""

    colour: tuple[Share, Share, Share, Annotated[float, Field(ge=0, le=0.5)]] = (0.0, 0.0, 0.0, 0.0)
    """Colour jitter in training: factors of brightness, contrast and saturation within 1 - x .. 1 + x, and a hue
    rotation within -x .. x of the colour circle."""

    randaugment: NotNegative = 0
    """Number of RandAugment operations (Cubuk et al. 2020) per training clip; 0: off."""

    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Magnitude of RandAugment operations, 0 to 30."""

    erasing: Share = 0.0
    """Probability of random erasing in training (Zhong et al. 2020), the same rectangle of noise in all frames."""

    erasing_area: AreaRange = (0.02, 1 / 3)
    """Range of the share of the frame's area that is erased."""

    mixup: Amount = 0.0
    """Mixup of training clips with weights from Beta(x, x) (Zhang et al. 2018); 0: off."""

    cutmix: Amount = 0.0
    """CutMix of training clips with areas from Beta(x, x) (Yun et al. 2019); 0: off. Combined with `mixup`, each batch
    uses one of them."""

    views: Annotated[str, AfterValidator(_views)] = "1x1"
    """Test views, clips in time x crops in space, whose probabilities are averaged: 1x1, 10x3, 2x3; `full` and
    `10xfull` use entire frames."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean RGB pixel in [0, 1] (ImageNet's); for optical flow, the first two values for u and v."""

    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """Standard deviation of an RGB pixel in [0, 1] (ImageNet's)."""


@settings_class
class TrainConfig(Settings):
    """Optimisation, schedule and random seed."""

    section: ClassVar[str] = "train"

    init: str = "none"
    """Initial weights: `none` (random), `imagenet` (an image network of the same depth), a file, a run, or a name of
    the zoo."""

    epochs: Count = 120
    """Training epochs."""

    batch_size: Count = 64
    """Clips per optimiser step, over all processes."""

    accumulate: Count = 1
    """Gradient accumulation: parts in which a batch is computed, to save memory. The gradient is the same, but batch
    normalisation sees one part at a time."""

    balanced: bool = False
    """Class-balanced sampling: every epoch has the same number of clips of each class (of the first head), and over
    the run all clips of a class are seen equally often."""

    optimiser: Literal["sgd", "adamw"] = "sgd"
    """Optimiser: SGD with Nesterov momentum as in the papers; AdamW trains small networks in far fewer steps."""

    lr: Positive = 0.01
    """Peak learning rate at `batch_size`. Unless set explicitly, it is scaled with the batch size: linearly for SGD,
    with the square root for AdamW."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Nesterov momentum of SGD."""

    weight_decay: Amount = 1e-4
    """Weight decay of all parameters: an L2 penalty in SGD, decoupled from the gradient in AdamW."""

    clip_norm: Annotated[float, Field(gt=0)] = 40.0
    """Largest norm of the gradient (clipping)."""

    schedule: Literal["step", "cosine", "plateau"] = "step"
    """Learning rate schedule; `step` and `plateau` divide by 10, at `milestones` or when validation top-1 stagnates."""

    milestones: tuple[float, ...] = (85, 105)
    """Epochs after which `step` divides the rate; fractions are within an epoch. Unless set explicitly, they are
    scaled with `epochs`."""

    patience: Count = 5
    """Consecutive epochs without better validation top-1 after which `plateau` divides the rate."""

    warmup_epochs: Amount = 0.0
    """Epochs of linear warm-up; limited to a quarter of the run when `epochs` changes."""

    stop_after: NotNegative = 0
    """Early stopping: epochs without a better validation result; 0: off."""

    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each class's training videos that are held out and validated on, in place of the validation split, to
    choose settings without seeing it; 0: none. The draw depends on `seed`."""

    multilabel_loss: Literal["binary", "asymmetric"] = "binary"
    """Loss of multi-label data: `binary` cross entropy of each class, or the `asymmetric` loss (Ridnik et al. 2021),
    which ignores classes that a clip clearly lacks."""

    positive_weight: Amount = 0.0
    """Class balance of multi-label data: the loss of a class is weighted, for clips that have it, by (clips without it
    / clips with it) to the power of this; 0: no weights, 1: both sides of every class count the same."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing: share of each label spread evenly over all classes (Szegedy et al. 2016)."""

    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average (EMA) of the weights, rising to this value over the first steps; 0: off.
    The average is validated, and stored as the weights in `best.pt` and `last.pt`."""

    frozen: Literal["none", "stem", "res2", "res3", "res4", "res5"] = "none"
    """Last backbone stage whose weights and batch normalisation statistics are frozen."""

    auxiliary_weight: Amount = 0.5
    """Weight of the auxiliary loss."""

    max_loss_ratio: Amount = 100.0
    """Stop the run at a loss of this many times that of random guessing; 0: only if it is not finite."""

    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Number format on a GPU. `auto`: bf16 autocast, or fp16 with loss scaling if bf16 is not supported; both with
    TF32 for float32 operations, which `float32` disables. A CPU always uses float32."""

    checkpointing: bool = False
    """Activation checkpointing: recompute activations of residual blocks and neck in the backward pass."""

    compile: bool = False
    """Compile the network with `torch.compile`: minutes at the start, faster steps."""

    sync_bn: bool = False
    """Synchronise batch normalisation over all processes."""

    seed: NotNegative = 0
    """Random seed."""

    def __post_init__(self) -> None:
        if self.accumulate > self.batch_size:
            what = f"must be at most the batch size, {self.batch_size}, not {self.accumulate}"
            raise ConfigError(what, where="train.accumulate")


@settings_class
class DataConfig(Settings):
    """Training data of a run, sufficient to find it again and to detect other data."""

    section: ClassVar[str] = "data"

    path: str
    """Folder with the manifest as given. `checkpoint.find_data` finds it from another working directory."""

    absolute: str = ""
    """Absolute path of the same folder."""

    dataset: str
    """Name of the data set: `kinetics400`, `folder`, ..."""

    classes: dict[str, list[str]]
    """Class names by head, in label order."""

    classes_digest: str
    """SHA-256 of `classes`: equal digests mean equal label order."""

    digest: str
    """SHA-256 of the manifest's list of shards."""

    short_side: int
    """Largest short side of the stored frames in pixels."""

    encoding: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Other properties of the stored frames (`tdpn_core.video.encode_options.Encoding`), also used for prediction."""

    multilabel: bool = False
    """Whether a clip may belong to several classes, or to none: each class then has a probability of its own."""


@settings_class
class StartConfig(Settings):
    """The weights that a run started from, as they were found."""

    section: ClassVar[str] = "start"

    name: str = "none"
    """A name of the zoo, a file or a run; `none`: random weights."""

    sha256: str = ""
    """Of the file."""


@settings_class
class RunConfig(Settings):
    """Complete definition of a training run."""

    recipe: str
    """Recipe that it was derived from."""

    model: ModelConfig
    sampling: SamplingConfig
    train: TrainConfig
    data: DataConfig
    start: StartConfig = dataclasses.field(default_factory=StartConfig)

    def __post_init__(self) -> None:
        sampling = self.sampling
        if self.data.multilabel and self.train.balanced:
            what = "a clip of multi-label data belongs to several classes, so epochs cannot have as many clips of each"
            raise ConfigError(what, where="train.balanced", hint="use train.positive_weight, for example 0.5")
        if self.model.modality == "flow" and (any(sampling.colour) or sampling.randaugment or sampling.erasing):
            raise ConfigError("colour, randaugment and erasing apply to RGB and not to optical flow")

    @property
    def is_probe(self) -> bool:
        """Return whether the run trained a classifier on features."""
        return self.recipe.startswith(PROBE)

    @property
    def validation_views(self) -> str | None:
        """Return the test views of the run's own validation; None for a probe on features whose views are not known.

        A probe is validated on all features of a clip: those of test views, or of segments, which are dense with one
        crop each, and whose number the test views limit.
        """
        if not self.is_probe:
            return VALIDATION_VIEWS
        sampling = self.sampling
        return sampling.views if sampling.mode == "segments" or parse_views(sampling.views)[1] > 1 else None


_Kind = TypeVar("_Kind")


def to_dict(settings: Any) -> dict[str, Any]:
    """Convert a settings object to plain JSON values."""
    return dataclasses.asdict(settings)


def from_dict(kind: type[_Kind], values: object) -> _Kind:
    """Build `kind` from the plain values of `to_dict`; a network's settings belong to the family that they name.

    Raises:
        ConfigError: a field is missing, unknown or of the wrong type; the message names it.
    """
    if kind is ModelConfig and isinstance(values, Mapping):
        return cast(_Kind, model_config(**values))
    if kind is RunConfig and isinstance(values, Mapping) and isinstance(values.get("model"), Mapping):
        values = {**values, "model": model_config(**values["model"])}
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise refusal(error, kind.__name__) from error


def whole_frames(views: str) -> bool:
    """Return whether views use entire frames, which a fully convolutional network accepts."""
    return views.endswith(WHOLE)
