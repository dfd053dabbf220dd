"""All settings: frozen, typed, documented where they stand, saved with every run and checkpoint.

One dataclass a concern. There is no inheritance and no registry: a named configuration is a function in
`recipes.py` that returns a whole `RunConfig`. `to_dict` and `from_dict` are the two ways out of and into this file.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeVar, get_args

from tdpn_core.errors import ConfigError

ModelName = Literal["tdpn"]
Arch = Literal["r18", "r34", "r50", "r101"]
Level = Literal["res2", "res3", "res4", "res5"]
Temporal = Literal["none", "global", "local"]
Flow = Literal["cascade", "parallel", "top_down", "bottom_up", "none"]

LEVELS: tuple[Level, ...] = get_args(Level)
_STRICT = {"extra": "forbid"}  # a stored configuration with a field that we do not know is refused, not ignored


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network, completely: two equal configurations build two networks of equal parameters and formulas."""

    __pydantic_config__ = _STRICT

    name: ModelName = "tdpn"
    """Which family of networks."""

    arch: Arch = "r50"
    """Depth of the residual backbone."""

    num_classes: dict[str, int] = dataclasses.field(default_factory=lambda: {"action": 400})
    """Classes of each head: one head named `action`, or `verb` and `noun`."""

    num_frames: int = 8
    """T, the sampled frames of a clip."""

    input_size: int = 224
    """Side in pixels of the square clip that the network is trained on. Other sizes, and rectangles, can be run."""

    width: float = 1.0
    """Scales every channel count, kept multiples of 32; below 1 for small data."""

    temporal_kernels: tuple[int, int, int, int] = (1, 1, 3, 3)
    """Temporal kernel of each block's first convolution in res2..res5. (1, 1, 1, 1) is the paper's Table I."""

    attention: bool = True
    """Self-attention over space in res5 in place of its 3x3 convolutions (BoTNet)."""

    position_resize: Literal["clamp", "interpolate", "error"] = "clamp"
    """What attention's relative positions do at another size than `input_size`."""

    levels: tuple[Level, ...] = LEVELS
    """The backbone levels that enter the pyramid, low to high, res5 last. (res4, res5) is TPN."""

    temporal: tuple[Temporal, Temporal, Temporal, Temporal] = ("global", "global", "local", "local")
    """The temporal-difference module on res2, res3, res4, res5. Table IV is four settings of it."""

    window: Literal[1, 5] = 5
    """Frames around each sampled frame that the local module reads. 1: differences between sampled frames only."""

    local_fusion: Literal["add", "mean"] = "add"
    """How the local module joins its level: added (zero at the start), or TDN's 0.5 / 0.5 mean."""

    flow: Flow = "cascade"
    """The pyramid's flows; `cascade` is what TPN's released code and weights do."""

    spatial_modulation: Literal["conv", "separable"] = "conv"
    """`separable` cuts the neck's cost about sevenfold."""

    temporal_rates: tuple[int, ...] | None = None
    """Temporal max-pool rate of each pyramid level; None: T for all, so that every level keeps one step."""

    dropout: float = 0.5
    """Before every linear classifier."""

    auxiliary_head: bool = True
    """A second classifier on res4, in training only."""

    def __post_init__(self) -> None:
        if not self.num_classes or min(self.num_classes.values()) < 1:
            raise ConfigError(f"num_classes must name at least one class a head, not {self.num_classes}")
        if self.num_frames < 1:
            raise ConfigError(f"--frames must be at least 1, not {self.num_frames}")
        if self.input_size < 32:
            raise ConfigError(f"--size must be at least 32 pixels, not {self.input_size}")
        if not (0 < self.width <= 4):
            raise ConfigError(f"--width must lie in (0, 4], not {self.width}")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.temporal_kernels):
            raise ConfigError(f"temporal_kernels must be odd, not {self.temporal_kernels}")
        if not (0 <= self.dropout < 1):
            raise ConfigError(f"dropout must lie in [0, 1), not {self.dropout}")
        order = [LEVELS.index(level) for level in self.levels]
        if not order or order != sorted(set(order)) or self.levels[-1] != "res5":
            raise ConfigError(f"levels must rise and end with res5, not {self.levels}")
        if self.temporal_rates is not None and len(self.temporal_rates) != len(self.levels):
            raise ConfigError(f"{len(self.levels)} levels need as many temporal_rates, not {self.temporal_rates}")
        for level, module in zip(LEVELS, self.temporal, strict=True):
            if module != "none" and level not in self.levels:
                raise ConfigError(f"temporal has a {module} module on {level}, which is not among levels {self.levels}")

    @property
    def frames_per_step(self) -> int:
        """Source frames that each sampled frame brings along: `window` where a local module reads them, else 1."""
        return self.window if "local" in self.temporal else 1


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
    """Test views, clips in time x crops in space, whose probabilities are averaged: 1x1, 10x3, 2x3."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """RGB mean of a pixel in [0, 1] (ImageNet's)."""

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
    """Clips of one optimiser step."""

    optimiser: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum is the papers'; AdamW learns small networks from nothing in far fewer steps."""

    lr: float = 0.01
    """Peak learning rate, already scaled to `batch_size`."""

    momentum: float = 0.9
    """Of SGD with Nesterov's form."""

    weight_decay: float = 1e-4
    """On every parameter: as an L2 penalty in SGD, decoupled from the gradient in AdamW."""

    clip_norm: float = 40.0
    """The gradient's norm is cut to this."""

    schedule: Literal["step", "cosine", "plateau"] = "step"
    """`step` and `plateau` divide the rate by 10, at `milestones` or when validation top-1 stands still."""

    milestones: tuple[int, ...] = (85, 105)
    """Epochs after which `step` divides."""

    patience: int = 5
    """Epochs without a better validation top-1 after which `plateau` divides."""

    warmup_epochs: float = 0.0
    """The rate rises linearly to its peak over these epochs."""

    auxiliary_weight: float = 0.5
    """Weight of the auxiliary head's loss."""

    seed: int = 0
    """The seed of everything that is random."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"--epochs must be at least 1, not {self.epochs}")
        if self.batch_size < 1:
            raise ConfigError(f"--batch-size must be at least 1, not {self.batch_size}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ConfigError(f"--lr must be a positive number, not {self.lr}")
        if self.clip_norm <= 0:
            raise ConfigError(f"clip_norm must be positive, not {self.clip_norm}")
        if self.seed < 0:
            raise ConfigError(f"--seed must not be negative, not {self.seed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data a run was trained on; enough to find it again and to refuse another."""

    __pydantic_config__ = _STRICT

    path: str
    """The folder with the manifest."""

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
    """All else that decides how frames were made (`tdpn_core.video.encoding.Encoding`): prediction makes them alike."""


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
        raise ConfigError(f"{kind.__name__}.{place}: {first['msg']}") from error


def parse_views(views: str) -> tuple[int, int]:
    """`10x3` as (clips in time, crops in space).

    Raises:
        ConfigError: not of that form, or crops other than 1 or 3.
    """
    clips, _, crops = views.partition("x")
    if not (clips.isdecimal() and crops in ("1", "3") and int(clips) >= 1):
        raise ConfigError(f"--views is CLIPSxCROPS with 1 or 3 crops, such as 10x3 or 1x1, not {views!r}")
    return int(clips), int(crops)
