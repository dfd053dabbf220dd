"""All settings: frozen, typed, documented where they stand, saved with every run and checkpoint.

One dataclass a concern. There is no inheritance and no registry: a named configuration is a function in
`recipes.py` that returns a whole `RunConfig`. `to_dict` and `from_dict` are the two ways out of and into this file.
Which fields of `ModelConfig` a family of networks has is said in `families.py`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeVar, get_args

from tdpn_core.config.families import FAMILIES, NEUTRAL, OWN, filled, foreign
from tdpn_core.config.families import Arch as Arch
from tdpn_core.config.families import Modality as Modality
from tdpn_core.config.families import ModelName as ModelName
from tdpn_core.errors import ConfigError

Level = Literal["res2", "res3", "res4", "res5"]
Temporal = Literal["none", "global", "local"]
Flow = Literal["cascade", "parallel", "top_down", "bottom_up", "none"]
Shift = Literal["none", "residual", "inplace"]

LEVELS: tuple[Level, ...] = get_args(Level)
WHOLE = "full"
_STRICT = {"extra": "forbid"}  # a stored configuration with a field that we do not know is refused, not ignored


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network, completely: two equal configurations build two networks of equal parameters and formulas.

    The first eight fields are every network's. Of the others a family has some (`families.py`): left out, they take
    the family's own value; a value for one that the family does not have is an error.
    """

    __pydantic_config__ = _STRICT

    name: ModelName = "tdpn"
    """Which family of networks."""

    arch: Arch = OWN
    """Depth of the residual backbone; i3d is `inception`, or a residual one."""

    num_classes: dict[str, int] = dataclasses.field(default_factory=lambda: {"action": 400})
    """Classes of each head: one head named `action`, or `verb` and `noun`."""

    num_frames: int = OWN
    """T, the sampled frames of a clip."""

    input_size: int = 224
    """Side in pixels of the square clip that the network is trained on. Other sizes, and rectangles, can be run."""

    width: float = 1.0
    """Scales every channel count, kept multiples of 32 (8 where channels are few); below 1 for small data."""

    modality: Modality = "rgb"
    """`flow`: optical flow, two channels (u, v) a frame."""

    dropout: float = 0.5
    """Before every linear classifier."""

    temporal_kernels: tuple[int, int, int, int] = OWN
    """Temporal kernel of each block's first convolution in res2..res5. (1, 1, 1, 1) is the paper's Table I."""

    temporal_blocks: tuple[int, int, int, int] | None = OWN
    """How many of the blocks of res2..res5, from each first, have the temporal kernel; None: all. PySlowFast's networks
    of depth 101 have (3, 4, 6, 3)."""

    temporal_strides: tuple[int, int, int] = OWN
    """Temporal strides of the first convolution, of the pool behind it, and of a pool behind res2."""

    shift: Shift = OWN
    """TSM's shift over time: of each block's residual branch (its authors', mmaction2's), or `inplace`: of what enters
    the block, a strided shortcut included (TPN's release)."""

    attention: bool = OWN
    """Self-attention over space in res5 in place of its 3x3 convolutions (BoTNet)."""

    position_resize: Literal["clamp", "interpolate", "error"] = OWN
    """What attention's relative positions do at another size than `input_size`."""

    levels: tuple[Level, ...] = OWN
    """The backbone levels that enter the pyramid, low to high, res5 last. (res4, res5) is TPN."""

    temporal: tuple[Temporal, Temporal, Temporal, Temporal] = OWN
    """The temporal-difference module on res2, res3, res4, res5. Table IV is four settings of it."""

    window: Literal[1, 5] = OWN
    """Frames around each sampled frame that the local module reads. 1: differences between sampled frames only."""

    local_fusion: Literal["add", "mean"] = OWN
    """How the local module joins its level: added (zero at the start), or TDN's 0.5 / 0.5 mean."""

    flow: Flow = OWN
    """The pyramid's flows; `cascade` is what TPN's released code and weights do."""

    spatial_modulation: Literal["conv", "separable"] = OWN
    """`separable` cuts the neck's cost about sevenfold."""

    temporal_rates: tuple[int, ...] | None = OWN
    """Temporal max-pool rate of each pyramid level; None: T for all, so that every level keeps one step."""

    auxiliary_head: bool = OWN
    """A second classifier on res4, in training only."""

    alpha: int = OWN
    """SlowFast: frames of the fast pathway for each of the slow one."""

    lateral_kernel: int = OWN
    """SlowFast: temporal kernel of the lateral convolutions; 7 where alpha is 4, 5 where it is 8."""

    lateral_norm: bool = OWN
    """SlowFast: batch normalisation and ReLU behind each lateral convolution, as its authors; mmaction2 has neither."""

    slow_frames: Literal["stride", "linspace"] = OWN
    """SlowFast: the slow pathway's frames are each alpha-th (mmaction2), or spread over the clip, its last included
    (its authors)."""

    def __post_init__(self) -> None:
        own = filled(self.name, {field: getattr(self, field) for field in ("arch", "num_frames", *NEUTRAL)})
        for field, value in own.items():
            object.__setattr__(self, field, value)  # the dataclass is frozen from here on
        self._check_family()
        self._check_values()

    def _check_family(self) -> None:
        family = FAMILIES[self.name]
        if self.arch not in family.archs:
            raise ConfigError(f"{self.name} is built as {', '.join(family.archs)}, not as {self.arch}")
        others = foreign(self.name, {field: getattr(self, field) for field in NEUTRAL})
        if others:
            known = ", ".join(family.settings) or "only those that every model has"
            raise ConfigError(f"{self.name} has no setting {others[0]!r}", hint=f"its settings: {known}")
        if self.arch == "inception" and self.temporal_strides != family.settings["temporal_strides"]:
            raise ConfigError("the Inception i3d has its own temporal_strides", hint="give --arch r50 to choose them")

    def _check_values(self) -> None:
        if not self.num_classes or min(self.num_classes.values()) < 1:
            raise ConfigError(f"num_classes must name at least one class a head, not {self.num_classes}")
        if self.num_frames < 1:
            raise ConfigError(f"--frames must be at least 1, not {self.num_frames}")
        if self.input_size < 32:
            raise ConfigError(f"--size must be at least 32 pixels, not {self.input_size}")
        if not (0 < self.width <= 4):
            raise ConfigError(f"model.width must lie in (0, 4], not {self.width}")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.temporal_kernels):
            raise ConfigError(f"temporal_kernels must be odd, not {self.temporal_kernels}")
        if self.lateral_kernel < 1 or self.lateral_kernel % 2 == 0:
            raise ConfigError(f"lateral_kernel must be odd, not {self.lateral_kernel}")
        if self.temporal_blocks is not None and min(self.temporal_blocks) < 0:
            raise ConfigError(f"temporal_blocks must not be negative, not {self.temporal_blocks}")
        if min(*self.temporal_strides, self.alpha) < 1:
            raise ConfigError(f"temporal_strides and alpha must be positive, not {self.temporal_strides}, {self.alpha}")
        if self.num_frames % self.alpha:
            raise ConfigError(f"--frames must be a multiple of alpha {self.alpha}, not {self.num_frames}")
        if not (0 <= self.dropout < 1):
            raise ConfigError(f"dropout must lie in [0, 1), not {self.dropout}")
        self._check_pyramid()

    def _check_pyramid(self) -> None:
        order = [LEVELS.index(level) for level in self.levels]
        if not order or order != sorted(set(order)) or self.levels[-1] != "res5":
            raise ConfigError(f"levels must rise and end with res5, not {self.levels}")
        if self.temporal_rates is not None and len(self.temporal_rates) != len(self.levels):
            raise ConfigError(f"{len(self.levels)} levels need as many temporal_rates, not {self.temporal_rates}")
        for level, module in zip(LEVELS, self.temporal, strict=True):
            if module != "none" and level not in self.levels:
                raise ConfigError(f"temporal has a {module} module on {level}, which is not among levels {self.levels}")

    @property
    def channels(self) -> int:
        """Channels of a frame: 3 (RGB), or 2 (the flow's u, v)."""
        return 2 if self.modality == "flow" else 3

    @property
    def stack(self) -> int:
        """Frames that the first convolution of a two-stream network takes as one: 5 flows, interleaved u, v; else 1."""
        return 5 if self.modality == "flow" and FAMILIES[self.name].stacked_flow else 1

    @property
    def frames_per_step(self) -> int:
        """Source frames that each sampled frame brings along, itself included in their middle; 1 where none is read.

        They are what a local module's `window` reads, TDN's five frames, or the flows of a `stack`.
        """
        local = self.window if "local" in self.temporal else 1
        return max(local, self.stack, 5 if self.name == "tdn" else 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How a clip's frames and pixels become the network's input, in training and in testing."""

    __pydantic_config__ = _STRICT

    mode: Literal["dense", "segments"] = "dense"
    """`dense`: every `interval`-th frame of a stretch; `segments`: one frame of each of T equal parts of the clip."""

    interval: int = 8
    """Distance in frames between two sampled frames of a dense clip (the papers' tau)."""

    short_side: int = 256
    """Frames are resized to this short side, in pixels, before a centre or side crop."""

    side_crops: Literal["short_side", "input"] = "short_side"
    """Side in pixels of the three crops of `10x3`: of `short_side`, the published protocols' (the network then sees
    larger pictures than in training), or of the network's input, as in training."""

    crop: Literal["area", "jitter"] = "area"
    """Training crops: `area` is a rectangle of random area and ratio (Szegedy et al. 2015), `jitter` a square out of
    frames of a random short side (Simonyan and Zisserman 2015)."""

    crop_area: tuple[float, float] = (0.25, 1.0)
    """`area` crops cover this share of the frame's area."""

    crop_ratio: tuple[float, float] = (0.75, 4 / 3)
    """`area` crops have a width : height within these bounds, in log-uniform draws."""

    jitter: tuple[int, int] = (256, 320)
    """Short side, in pixels, of the frames that `jitter` crops are cut from: any between these, even in probability;
    one below the network's input size counts as that size."""

    flip: float = 0.5
    """Probability of a horizontal flip in training; labels that name a side are swapped with it."""

    colour: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Colour jitter in training: brightness, contrast and saturation by a factor within 1 - x .. 1 + x, and a turn of
    the hue within -x .. x of the colour circle."""

    randaugment: int = 0
    """Operations of RandAugment (Cubuk et al. 2020) on each training clip; 0: none."""

    randaugment_magnitude: int = 9
    """Strength of every such operation, 0 to 30."""

    erasing: float = 0.0
    """Probability that a training clip loses a rectangle to noise (Zhong et al. 2020), the same in all frames."""

    erasing_area: tuple[float, float] = (0.02, 1 / 3)
    """An erased rectangle covers this share of the frame's area."""

    mixup: float = 0.0
    """Training clips are weighted sums of two with weights of Beta(x, x) (Zhang et al. 2018); 0: they are not."""

    cutmix: float = 0.0
    """Training clips have a box out of another with areas of Beta(x, x) (Yun et al. 2019); 0: they have not. Beside
    `mixup` each batch gets either."""

    views: str = "1x1"
    """Test views, clips in time x crops in space, whose probabilities are averaged: 1x1, 10x3, 2x3; `full` and
    `10xfull` are of whole frames."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """RGB mean of a pixel in [0, 1] (ImageNet's); of optical flow the first two, of u and v."""

    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """RGB standard deviation of a pixel in [0, 1] (ImageNet's)."""

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ConfigError(f"--interval must be at least 1, not {self.interval}")
        if not (0 < self.crop_area[0] <= self.crop_area[1] <= 1):
            raise ConfigError(f"crop_area must be two rising shares of the frame in (0, 1], not {self.crop_area}")
        if not (0 < self.crop_ratio[0] <= self.crop_ratio[1]):
            raise ConfigError(f"crop_ratio must be two rising ratios, not {self.crop_ratio}")
        if not (0 < self.jitter[0] <= self.jitter[1]):
            raise ConfigError(f"jitter must be two rising short sides in pixels, not {self.jitter}")
        if not (0 <= self.flip <= 1):
            raise ConfigError(f"flip must lie in [0, 1], not {self.flip}")
        if not (all(0 <= factor <= 1 for factor in self.colour[:3]) and 0 <= self.colour[3] <= 0.5):
            raise ConfigError(f"colour must be three strengths in [0, 1] and a turn in [0, 0.5], not {self.colour}")
        if self.randaugment < 0:
            raise ConfigError(f"randaugment must not be negative, not {self.randaugment}")
        if not (0 <= self.randaugment_magnitude <= 30):
            raise ConfigError(f"randaugment_magnitude must lie in [0, 30], not {self.randaugment_magnitude}")
        if not (0 <= self.erasing <= 1):
            raise ConfigError(f"erasing must lie in [0, 1], not {self.erasing}")
        if not (0 < self.erasing_area[0] <= self.erasing_area[1] <= 1):
            raise ConfigError(f"erasing_area must be two rising shares of the frame in (0, 1], not {self.erasing_area}")
        for name, strength in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not (strength >= 0 and math.isfinite(strength)):
                raise ConfigError(f"{name} must be 0 or a positive number, not {strength}")
        parse_views(self.views)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimisation, its schedule and its randomness."""

    __pydantic_config__ = _STRICT

    epochs: int = 120
    """Passes over the training clips."""

    batch_size: int = 64
    """Clips of one optimiser step, of all processes together."""

    accumulate: int = 1
    """Parts that a step's batch is computed in, one after the other: less memory, the same gradient. Batch
    normalisation then sees one part at a time."""

    balanced: bool = False
    """Every class has equally many clips in an epoch (those of the first head count), and over the run each of a
    class's clips is seen equally often."""

    optimiser: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum is the papers'; AdamW learns small networks from nothing in far fewer steps."""

    lr: float = 0.01
    """Peak learning rate at `batch_size`. Unless it is given, a changed batch scales it: linearly for SGD, with the
    square root of the batch for AdamW."""

    momentum: float = 0.9
    """Of SGD with Nesterov's form."""

    weight_decay: float = 1e-4
    """On every parameter: as an L2 penalty in SGD, decoupled from the gradient in AdamW."""

    clip_norm: float = 40.0
    """The gradient's norm is cut to this."""

    schedule: Literal["step", "cosine", "plateau"] = "step"
    """`step` and `plateau` divide the rate by 10, at `milestones` or when validation top-1 stands still."""

    milestones: tuple[float, ...] = (85, 105)
    """Epochs after which `step` divides; one with a fraction falls within an epoch. Unless they are given, changed
    `epochs` move them in proportion."""

    patience: int = 5
    """`plateau` divides at the end of this many epochs in a row without a better validation top-1."""

    warmup_epochs: float = 0.0
    """The rate rises linearly to its peak over these epochs; changed `epochs` cut it to a quarter of the run."""

    stop_after: int = 0
    """Epochs without a better validation result after which the run ends; 0: it never ends early."""

    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes (Szegedy et al. 2016)."""

    ema: float = 0.0
    """Decay of a running average of the weights, rising to this value over the first steps. Where it is not 0, the
    average is what is validated and what `best.pt` and `last.pt` hold as the weights."""

    frozen: Literal["none", "stem", "res2", "res3", "res4", "res5"] = "none"
    """The backbone up to here keeps its weights and the statistics of its batch normalisation."""

    auxiliary_weight: float = 0.5
    """Weight of the auxiliary head's loss."""

    explosion: float = 100.0
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

    seed: int = 0
    """The seed of everything that is random."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"--epochs must be at least 1, not {self.epochs}")
        if self.batch_size < 1:
            raise ConfigError(f"--batch-size must be at least 1, not {self.batch_size}")
        if not (1 <= self.accumulate <= self.batch_size):
            raise ConfigError(
                f"accumulate must lie between 1 and the batch size, {self.batch_size}, not {self.accumulate}"
            )
        if self.stop_after < 0:
            raise ConfigError(f"stop_after must not be negative, not {self.stop_after}")
        if not (0 <= self.label_smoothing < 1):
            raise ConfigError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing}")
        if not (0 <= self.ema < 1):
            raise ConfigError(f"ema must lie in [0, 1), not {self.ema}")
        if not (self.explosion >= 0):
            raise ConfigError(f"explosion must not be negative, not {self.explosion}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ConfigError(f"--lr must be a positive number, not {self.lr}")
        if self.patience < 1:
            raise ConfigError(f"patience must be at least 1, not {self.patience}")
        if self.clip_norm <= 0:
            raise ConfigError(f"clip_norm must be positive, not {self.clip_norm}")
        if self.seed < 0:
            raise ConfigError(f"--seed must not be negative, not {self.seed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data a run was trained on; enough to find it again and to refuse another."""

    __pydantic_config__ = _STRICT

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines a training run."""

    __pydantic_config__ = _STRICT

    recipe: str
    """The preset that this was derived from."""

    model: ModelConfig
    sampling: SamplingConfig
    train: TrainConfig
    data: DataConfig

    def __post_init__(self) -> None:
        sampling = self.sampling
        if self.model.modality == "flow" and (any(sampling.colour) or sampling.randaugment or sampling.erasing):
            raise ConfigError("colour, randaugment and erasing change pictures: optical flow has none of them")


Settings = TypeVar("Settings")


def to_dict(settings: Any) -> dict[str, Any]:
    """A settings object as plain JSON values."""
    return dataclasses.asdict(settings)


def from_dict(kind: type[Settings], values: object) -> Settings:
    """Build `kind` from the plain values of `to_dict`.

    Raises:
        ConfigError: a field is missing, unknown or of the wrong type; the message names it.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.1 s that `tdpn --help` does not need

    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = first["type"] != "unexpected_keyword_argument" and isinstance(first["input"], (str, int, float))
        given = f", not {first['input']!r}" if wrong else ""
        where = place if kind is RunConfig else f"{kind.__name__}.{place}"
        raise ConfigError(f"{first['msg']}{given}", where=where) from error


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


def whole_frames(views: str) -> bool:
    """Whether views are of whole frames: the network is fully convolutional and takes them as they are."""
    return views.endswith(WHOLE)
