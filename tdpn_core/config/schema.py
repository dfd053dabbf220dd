"""All settings: frozen, typed, documented where they stand, saved with every run and checkpoint.

One dataclass a concern; the network's is that of its family (`model.py`, `families.py`). A named configuration is a
function in `recipes.py` that returns a whole `RunConfig`. `to_dict` and `from_dict` are the two ways out and in.
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
"""Test views of the validation after each epoch: one centre crop of each clip."""


def parse_views(views: str) -> tuple[int, int]:
    """`10x3` as (clips in time, crops in space); `full` and `10xfull` have one crop, the whole frame.

    Raises:
        ConfigError: not of that form, or crops other than 1 or 3.
    """
    clips, _, crops = ("1", "x", WHOLE) if views == WHOLE else views.partition("x")
    if not (clips.isdecimal() and crops in ("1", "3", WHOLE) and int(clips) >= 1):
        raise ConfigError(f"--views is CLIPSxCROPS with 1 or 3 crops, such as 10x3 or 1x1, or full, not {views!r}")
    return int(clips), 1 if crops == WHOLE else int(crops)


def _views(text: str) -> str:
    parse_views(text)
    return text


@settings_class
class SamplingConfig(Settings):
    """How a clip's frames and pixels become the network's input, in training and in testing."""

    section: ClassVar[str] = "sampling"

    mode: Literal["dense", "segments"] = "dense"
    """`dense`: every `interval`-th frame of a stretch; `segments`: one frame of each of T equal parts of the clip."""

    interval: Count = 8
    """Distance in frames between two sampled frames of a dense clip (the papers' tau)."""

    short_side: Count = 256
    """Frames are resized to this short side, in pixels, before a centre or side crop."""

    side_crops: Literal["short_side", "input"] = "short_side"
    """Side in pixels of the three crops of `10x3`: of `short_side`, the published protocols' (the network then sees
    larger pictures than in training), or of the network's input, as in training."""

    crop: Literal["area", "jitter"] = "area"
    """Training crops: `area` is a rectangle of random area and ratio (Szegedy et al. 2015), `jitter` a square out of
    frames of a random short side (Simonyan and Zisserman 2015)."""

    crop_area: AreaRange = (0.25, 1.0)
    """`area` crops cover this share of the frame's area."""

    crop_ratio: RatioRange = (0.75, 4 / 3)
    """`area` crops have a width : height within these bounds, in log-uniform draws."""

    jitter: CountRange = (256, 320)
    """Short side, in pixels, of the frames that `jitter` crops are cut from: any between these, even in probability;
    one below the network's input size counts as that size."""

    flip: Share = 0.5
    """Probability of a horizontal flip in training; labels that name a side are swapped with it."""

    colour: tuple[Share, Share, Share, Annotated[float, Field(ge=0, le=0.5)]] = (0.0, 0.0, 0.0, 0.0)
    """Colour jitter in training: brightness, contrast and saturation by a factor within 1 - x .. 1 + x, and a turn of
    the hue within -x .. x of the colour circle."""

    randaugment: NotNegative = 0
    """Operations of RandAugment (Cubuk et al. 2020) on each training clip; 0: none."""

    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of every such operation, 0 to 30."""

    erasing: Share = 0.0
    """Probability that a training clip loses a rectangle to noise (Zhong et al. 2020), the same in all frames."""

    erasing_area: AreaRange = (0.02, 1 / 3)
    """An erased rectangle covers this share of the frame's area."""

    mixup: Amount = 0.0
    """Training clips are weighted sums of two with weights of Beta(x, x) (Zhang et al. 2018); 0: they are not."""

    cutmix: Amount = 0.0
    """Training clips have a box out of another with areas of Beta(x, x) (Yun et al. 2019); 0: they have not. Beside
    `mixup` each batch gets either."""

    views: Annotated[str, AfterValidator(_views)] = "1x1"
    """Test views, clips in time x crops in space, whose probabilities are averaged: 1x1, 10x3, 2x3; `full` and
    `10xfull` are of whole frames."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """RGB mean of a pixel in [0, 1] (ImageNet's); of optical flow the first two, of u and v."""

    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """RGB standard deviation of a pixel in [0, 1] (ImageNet's)."""


@settings_class
class TrainConfig(Settings):
    """The optimisation, its schedule and its randomness."""

    section: ClassVar[str] = "train"

    init: str = "none"
    """Initial weights: `none` (random), `imagenet` (an image network of the same depth), a file, a run, or a name of
    the zoo."""

    epochs: Count = 120
    """Passes over the training clips."""

    batch_size: Count = 64
    """Clips of one optimiser step, of all processes together."""

    accumulate: Count = 1
    """Parts that a step's batch is computed in, one after the other: less memory, the same gradient. Batch
    normalisation then sees one part at a time."""

    balanced: bool = False
    """Every class has equally many clips in an epoch (those of the first head count), and over the run each of a
    class's clips is seen equally often."""

    optimiser: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum is the papers'; AdamW learns small networks from nothing in far fewer steps."""

    lr: Positive = 0.01
    """Peak learning rate at `batch_size`. Unless it is given, a changed batch scales it: linearly for SGD, with the
    square root of the batch for AdamW."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD with Nesterov's form."""

    weight_decay: Amount = 1e-4
    """On every parameter: as an L2 penalty in SGD, decoupled from the gradient in AdamW."""

    clip_norm: Annotated[float, Field(gt=0)] = 40.0
    """The gradient's norm is cut to this."""

    schedule: Literal["step", "cosine", "plateau"] = "step"
    """`step` and `plateau` divide the rate by 10, at `milestones` or when validation top-1 stands still."""

    milestones: tuple[float, ...] = (85, 105)
    """Epochs after which `step` divides; one with a fraction falls within an epoch. Unless they are given, changed
    `epochs` move them in proportion."""

    patience: Count = 5
    """`plateau` divides at the end of this many epochs in a row without a better validation top-1."""

    warmup_epochs: Amount = 0.0
    """The rate rises linearly to its peak over these epochs; changed `epochs` cut it to a quarter of the run."""

    stop_after: NotNegative = 0
    """Epochs without a better validation result after which the run ends; 0: it never ends early."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread evenly over all classes (Szegedy et al. 2016)."""

    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a running average of the weights, rising to this value over the first steps. Where it is not 0, the
    average is what is validated and what `best.pt` and `last.pt` hold as the weights."""

    frozen: Literal["none", "stem", "res2", "res3", "res4", "res5"] = "none"
    """The backbone up to here keeps its weights and the statistics of its batch normalisation."""

    auxiliary_weight: Amount = 0.5
    """Weight of the auxiliary head's loss."""

    max_loss_ratio: Amount = 100.0
    """A batch whose loss is this many times that of guessing ends the run; 0: none does, as long as it is finite."""

    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """What a GPU computes in. `auto`: bf16 autocast, on GPUs without it fp16 with loss scaling; both with TF32 for
    what stays in float32, which `float32` turns off. A CPU always computes in float32."""

    checkpointing: bool = False
    """Activations within residual blocks and neck are computed again in the backward pass instead of being kept."""

    compile: bool = False
    """The network runs through `torch.compile`: minutes at the start, faster steps."""

    sync_bn: bool = False
    """Batch statistics over the clips of all processes, instead of each process's own."""

    seed: NotNegative = 0
    """The seed of everything that is random."""

    def __post_init__(self) -> None:
        if self.accumulate > self.batch_size:
            what = f"must be at most the batch size, {self.batch_size}, not {self.accumulate}"
            raise ConfigError(what, where="train.accumulate")


@settings_class
class DataConfig(Settings):
    """Which data a run was trained on; enough to find it again and to refuse another."""

    section: ClassVar[str] = "data"

    path: str
    """The folder with the manifest, as it was named. `checkpoint.find_data` finds it from another working directory."""

    absolute: str = ""
    """The same folder from the root of the file system."""

    dataset: str
    """Name of the data set: `kinetics400`, `folder`, ..."""

    classes: dict[str, list[str]]
    """Class names of each head, in the order of the labels."""

    classes_digest: str
    """sha256 of `classes`: two data sets with the same digest have the same label order."""

    digest: str
    """sha256 of the manifest's list of shards."""

    short_side: int
    """Of the stored frames, in pixels, at most."""

    encoding: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Everything else that decides how frames were made (`tdpn_core.video.encode_options.Encoding`); prediction follows
    it."""


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
    """Everything that defines a training run."""

    recipe: str
    """The preset that this was derived from."""

    model: ModelConfig
    sampling: SamplingConfig
    train: TrainConfig
    data: DataConfig
    start: StartConfig = dataclasses.field(default_factory=StartConfig)

    def __post_init__(self) -> None:
        sampling = self.sampling
        if self.model.modality == "flow" and (any(sampling.colour) or sampling.randaugment or sampling.erasing):
            raise ConfigError("colour, randaugment and erasing change pictures: optical flow has none of them")


_Kind = TypeVar("_Kind")


def to_dict(settings: Any) -> dict[str, Any]:
    """A settings object as plain JSON values."""
    return dataclasses.asdict(settings)


def from_dict(kind: type[_Kind], values: object) -> _Kind:
    """Build `kind` from the plain values of `to_dict`; a network's settings are of the family that they name.

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
    """Whether views are of whole frames: the network is fully convolutional and takes them as they are."""
    return views.endswith(WHOLE)
