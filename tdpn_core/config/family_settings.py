"""Settings classes of this package's model families, with base classes for common settings.

They are separate from the networks so that settings can be listed, checked and compared without torch. A family of
another package has its settings class next to its network.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from tdpn_core.config.families import LEVELS, Level
from tdpn_core.config.model import ModelConfig
from tdpn_core.errors import ConfigError
from tdpn_core.validation import Count, Odd, settings_class

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Arch = Literal["r18", "r34", "r50", "r101"]
LiteArch = Literal["lite0", "lite1", "lite2"]
AnyArch = Literal["r18", "r34", "r50", "r101", "lite0", "lite1", "lite2"]
Flow = Literal["cascade", "parallel", "top_down", "bottom_up", "none"]
SpatialModulation = Literal["conv", "separable"]
Shift = Literal["none", "residual", "inplace"]
PositionResize = Literal["clamp", "interpolate", "error"]
Temporal = Literal["none", "global", "local"]
Window = Literal[1, 5]
LocalFusion = Literal["add", "mean"]
TemporalKernels = tuple[Odd, Odd, Odd, Odd]
TemporalStrides = tuple[Count, Count, Count]
_Blocks = Annotated[int, Field(ge=0)]

STACK = 5
"""Flow fields that a two-stream network takes as one image, u and v of each in turn."""

WINDOW = 5
"""Frames around a sampled frame, including itself."""

INCEPTION_STRIDES = (2, 2, 2)
"""Temporal strides of the Inception network."""


def is_lite(arch: str) -> TypeIs[LiteArch]:
    """Return whether a depth belongs to EfficientNet-Lite."""
    return arch in get_args(LiteArch)


@settings_class
class BackboneConfig(ModelConfig):
    """Settings of families with any of the backbones."""

    arch: AnyArch = "r50"


@settings_class
class ResidualConfig(BackboneConfig):
    """Settings of families with a residual backbone."""

    arch: Arch = "r50"


@settings_class
class TemporalBlocksConfig(ResidualConfig):
    """Settings of families in which some blocks can lack a temporal kernel."""

    temporal_blocks: tuple[_Blocks, _Blocks, _Blocks, _Blocks] | None = None
    """Number of initial blocks of res2..res5 with the temporal kernel; None: all. PySlowFast's networks of depth 101
    have (3, 4, 6, 3)."""


@settings_class
class AttentionConfig(BackboneConfig):
    """Settings of families with optional attention in res5."""

    attention: bool | None = False
    """Self-attention over space in res5 in place of its 3x3 convolutions (BoTNet); None: in residual networks."""

    position_resize: PositionResize = "clamp"
    """Handling of attention's relative positions at sizes other than `input_size`."""

    def __post_init__(self) -> None:
        """Check that the backbone has convolutions that attention can replace."""
        super().__post_init__()
        if self.attention and is_lite(self.arch):
            what = f"{self.arch} has no 3x3 convolutions in res5 that attention could replace"
            raise ConfigError(what, where="model.attention", hint="omit it, or choose a residual --arch")

    @property
    def attends(self) -> bool:
        """Whether res5 has attention."""
        return not is_lite(self.arch) if self.attention is None else self.attention


@settings_class
class TwoStreamConfig(BackboneConfig):
    """Settings of families that take a stack of flow fields per sampled frame."""

    @property
    def stack(self) -> int:
        """Five flow fields; one RGB frame."""
        return STACK if self.modality == "flow" else 1


@settings_class
class SlowConfig(BackboneConfig):
    """Settings of families based on SlowOnly."""

    temporal_kernels: TemporalKernels | None = None
    """Temporal kernel of each block's first convolution in res2..res5; None: 1,1,3,3 in residual networks, 1,1,1,1 in
    lite ones. 1,1,1,1 is the paper's Table I."""

    @property
    def kernels(self) -> TemporalKernels:
        """The temporal kernels of res2..res5."""
        own = (1, 1, 1, 1) if is_lite(self.arch) else (1, 1, 3, 3)
        return self.temporal_kernels or own


@settings_class
class TSNConfig(TwoStreamConfig):
    """TSN's settings."""

    name: str = "tsn"


@settings_class
class C2DConfig(ResidualConfig):
    """C2D's settings."""

    name: str = "c2d"

    temporal_strides: TemporalStrides = (1, 1, 2)
    """Temporal strides of the first convolution, of the pool after it, and of a pool after res2."""

    padded_pool: bool = True
    """Whether frames are padded before the pool after the first convolution; mmaction2's C2D does not pad."""


@settings_class
class SlowOnlyConfig(AttentionConfig, SlowConfig, TemporalBlocksConfig):
    """SlowOnly's settings."""

    name: str = "slowonly"
    arch: Arch = "r50"


@settings_class
class ShiftConfig(TwoStreamConfig):
    """Settings of families based on TSM."""

    shift: Shift = "residual"
    """TSM's shift over time: `residual`: of the input of each block's residual branch (original code, mmaction2);
    `inplace`: of the block's input, including a strided shortcut (TPN's release); `none`."""


@settings_class
class TSMConfig(ShiftConfig):
    """TSM's settings."""

    name: str = "tsm"


@settings_class
class I3DConfig(ModelConfig):
    """I3D's settings."""

    name: str = "i3d"
    arch: Literal["inception", "r18", "r34", "r50", "r101"] = "inception"
    num_frames: Count = 64

    temporal_strides: TemporalStrides = INCEPTION_STRIDES
    """Temporal strides of the first convolution, of the pool after it, and of a pool after res2."""

    def __post_init__(self) -> None:
        """Check that the Inception network keeps its strides."""
        super().__post_init__()
        if self.arch == "inception" and self.temporal_strides != INCEPTION_STRIDES:
            what = "the Inception i3d has its own temporal_strides"
            raise ConfigError(what, where="model.temporal_strides", hint="give --arch r50 to choose them")

    @property
    def flow_deviation(self) -> float:
        """0.5 for the Inception network, whose flow is in -1..1 as in the original code."""
        return 0.5 if self.arch == "inception" else super().flow_deviation


@settings_class
class SlowFastConfig(TemporalBlocksConfig):
    """SlowFast's settings."""

    name: str = "slowfast"
    num_frames: Count = 32

    alpha: Count = 4
    """Frames of the fast pathway per frame of the slow one."""

    lateral_kernel: Odd = 7
    """Temporal kernel of the lateral convolutions: 7 for alpha 4, 5 for alpha 8."""

    lateral_norm: bool = True
    """Batch normalisation and ReLU after each lateral convolution, as in the original code; mmaction2 has neither."""

    slow_frames: Literal["stride", "linspace"] = "stride"
    """Frames of the slow pathway: each alpha-th (mmaction2), or spread over the clip including its last frame (original
    code)."""

    def __post_init__(self) -> None:
        """Check that the pathways' frames match."""
        super().__post_init__()
        if self.num_frames % self.alpha:
            what = f"the frames must be a multiple of alpha {self.alpha}, not {self.num_frames}"
            raise ConfigError(what, where="model.num_frames")


@settings_class
class TDNConfig(ResidualConfig):
    """TDN's settings."""

    name: str = "tdn"

    @property
    def frames_per_step(self) -> int:
        """Five frames per segment."""
        return WINDOW


@settings_class
class R2Plus1DConfig(ResidualConfig):
    """R(2+1)D's settings."""

    name: str = "r2plus1d"
    num_frames: Count = 16

    form: Literal["paper", "mmaction2"] = "paper"
    """Form of depths 18 and 34. mmaction2's has a pool after the first convolution, 83 channels within that one
    instead of 45, more channels within some others, shortcuts of two convolutions, and an epsilon of 10^-3 (10^-5
    within each pair)."""

    def __post_init__(self) -> None:
        """Check that the form supports the depth."""
        super().__post_init__()
        if self.form == "mmaction2" and self.arch not in ("r18", "r34"):
            raise ConfigError(
                "the form mmaction2 supports only depths 18 and 34", where="model.form", hint="give --arch r34"
            )


@settings_class
class R3DConfig(ModelConfig):
    """R3D's settings."""

    name: str = "r3d"
    arch: Literal["r18", "r34"] = "r18"
    num_frames: Count = 16
    input_size: Annotated[int, Field(ge=32)] = 112

    mixed: bool = False
    """MC3: res3, res4 and res5 convolve only over space and keep the number of time steps."""


@settings_class
class C3DConfig(ModelConfig):
    """C3D's settings. Its linear layers are made for `num_frames` and `input_size`; other maps are averaged to fit."""

    name: str = "c3d"
    arch: Literal["c3d"] = "c3d"
    num_frames: Count = 16
    input_size: Annotated[int, Field(ge=32)] = 112


@settings_class
class PyramidConfig(BackboneConfig):
    """Settings of families with the pyramid."""

    levels: tuple[Level, ...] = LEVELS
    """Backbone levels of the pyramid, low to high, res5 last. TPN uses (res4, res5)."""

    flow: Flow = "cascade"
    """The pyramid's information flows; `cascade` is that of TPN's released code and weights."""

    spatial_modulation: SpatialModulation = "conv"
    """`separable` reduces the neck's cost about sevenfold."""

    temporal_rates: tuple[int, ...] | None = None
    """Temporal max-pool rate of each pyramid level; None: T for all, so that every level has one step."""

    auxiliary_head: bool = True
    """Second classifier on res4, only in training."""

    def __post_init__(self) -> None:
        """Check that levels ascend, and that each has a rate."""
        super().__post_init__()
        order = [LEVELS.index(level) for level in self.levels]
        if not order or order != sorted(set(order)) or self.levels[-1] != "res5":
            raise ConfigError(f"levels must ascend and end with res5, not {self.levels}", where="model.levels")
        if self.temporal_rates is not None and len(self.temporal_rates) != len(self.levels):
            what = f"{len(self.levels)} levels need as many temporal_rates, not {self.temporal_rates}"
            raise ConfigError(what, where="model.temporal_rates")


@settings_class
class DifferenceConfig(PyramidConfig):
    """Settings of families with temporal differences before the pyramid."""

    temporal: tuple[Temporal, Temporal, Temporal, Temporal] = ("global", "global", "local", "local")
    """Temporal difference modules in res2, res3, res4, res5. The paper's Table IV compares four values."""

    window: Window = 5
    """Source frames per sampled frame for the local module; 1: only differences between sampled frames."""

    local_fusion: LocalFusion = "add"
    """Fusion of the local module with its level: `add` (zero initially), or TDN's 0.5 / 0.5 `mean`."""

    def __post_init__(self) -> None:
        """Check that the pyramid contains every level with a module."""
        super().__post_init__()
        for level, module in zip(LEVELS, self.temporal, strict=True):
            if module != "none" and level not in self.levels:
                what = f"has a {module} module on {level}, which is not among levels {self.levels}"
                raise ConfigError(what, where="model.temporal")

    @property
    def frames_per_step(self) -> int:
        """Frames of a local module's `window`, or flow fields of a `stack`."""
        return max(self.window if "local" in self.temporal else 1, super().frames_per_step)


@settings_class
class TDPNConfig(DifferenceConfig, AttentionConfig, SlowConfig):
    """TDPN's settings, as in the paper."""

    name: str = "tdpn"
    attention: bool | None = None


@settings_class
class TSNTDPNConfig(DifferenceConfig, AttentionConfig, TwoStreamConfig):
    """Settings of TDPN on TSN, whose published weights have no attention."""

    name: str = "tsn+tdpn"


@settings_class
class TSMTDPNConfig(DifferenceConfig, AttentionConfig, ShiftConfig):
    """Settings of TDPN on TSM, whose published weights have no attention."""

    name: str = "tsm+tdpn"


@settings_class
class TPNLevelsConfig(PyramidConfig):
    """Settings common to the TPN families."""

    levels: tuple[Level, ...] = ("res4", "res5")


@settings_class
class TPNConfig(TPNLevelsConfig, SlowConfig):
    """Settings of TPN on SlowOnly."""

    name: str = "tpn"


@settings_class
class TSNTPNConfig(TPNLevelsConfig, TwoStreamConfig):
    """Settings of TPN on TSN."""

    name: str = "tsn+tpn"


@settings_class
class TSMTPNConfig(TPNLevelsConfig, ShiftConfig):
    """Settings of TPN on TSM, which TPN's release shifts in place."""

    name: str = "tsm+tpn"
    shift: Shift = "inplace"


@settings_class
class SwinConfig(ModelConfig):
    """Video Swin's settings."""

    name: str = "swin"
    arch: Literal["tiny", "small", "base"] = "tiny"
    num_frames: Count = 32


@settings_class
class MViTConfig(ModelConfig):
    """MViTv2's settings."""

    name: str = "mvit"
    arch: Literal["small"] = "small"
    num_frames: Count = 16


@settings_class
class VideoMAEConfig(ModelConfig):
    """VideoMAE's settings."""

    name: str = "videomae"
    arch: Literal["small", "base", "large"] = "base"
    num_frames: Count = 16


CLASSES: dict[str, type[ModelConfig]] = {
    str(field.default): kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, ModelConfig)
    for field in dataclasses.fields(kind)
    if field.name == "name" and field.default is not dataclasses.MISSING
}
"""Settings class of each family by name."""
