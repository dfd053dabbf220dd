"""What each family's paper or release reports: accuracy with its source. Nothing here was measured by this project."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tdpn_core.config.families import Arch, ModelName

TITLES: Mapping[ModelName, str] = {
    "tdpn": "Temporal Difference Pyramid Network",
    "tsn": "Temporal Segment Networks (Wang et al., 2016)",
    "tsm": "Temporal Shift Module (Lin et al., 2019)",
    "slowonly": "SlowFast's slow pathway alone (Feichtenhofer et al., 2019)",
    "c2d": "2D ResNet on every frame (Wang et al., 2018)",
    "i3d": "Inflated 3D Inception (Carreira and Zisserman, 2017), or ResNet",
    "slowfast": "SlowFast (Feichtenhofer et al., 2019)",
    "tpn": "Temporal Pyramid Network over SlowOnly (Yang et al., 2020)",
    "tdn": "Temporal Difference Networks (Wang et al., 2021)",
    "r2plus1d": "R(2+1)D (Tran et al., 2018)",
    "tsn+tdpn": "TDPN's differences and pyramid over TSN",
    "tsm+tdpn": "TDPN's differences and pyramid over TSM",
    "tsn+tpn": "TPN's pyramid over TSN",
    "tsm+tpn": "TPN's pyramid over TSM",
}
"""What each family is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One row of somebody's table."""

    arch: Arch
    clip: str
    """Frames and interval as the source writes them."""

    data: str
    top1: float
    """Per cent."""

    top5: float | None = None
    source: str
    note: str = ""

    def __str__(self) -> str:
        both = f"{self.top1:g}" + (f" / {self.top5:g}" if self.top5 is not None else "")
        extra = f", {self.note}" if self.note else ""
        return f"{self.data} {both} ({self.arch} {self.clip}{extra}; {self.source})"


_K400, _SSV1, _SSV2 = "Kinetics-400", "Something-Something V1", "Something-Something V2"
_PAPER, _ZOO, _MM = "the paper", "pytorchvideo", "mmaction2"

PUBLISHED: Mapping[ModelName, tuple[Published, ...]] = {
    "tdpn": (
        Published(arch="r50", clip="32x2", data=_K400, top1=78.9, top5=93.8, source=_PAPER),
        Published(arch="r101", clip="32x2", data=_K400, top1=79.6, top5=94.3, source=_PAPER),
    ),
    "tsn": (
        Published(arch="r50", clip="8 segments", data=_K400, top1=74.12, top5=91.34, source=_MM),
        Published(arch="r101", clip="8 segments", data=_K400, top1=75.89, top5=92.07, source=_MM),
    ),
    "tsm": (
        Published(arch="r50", clip="8 frames", data=_K400, top1=74.1, source="mit-han-lab", note="dense"),
        Published(arch="r50", clip="8 segments", data=_SSV1, top1=45.6, source="mit-han-lab"),
        Published(arch="r50", clip="8 segments", data=_SSV2, top1=61.2, source="mit-han-lab"),
    ),
    "slowonly": (
        Published(arch="r50", clip="8x8", data=_K400, top1=75.96, top5=92.4, source=_MM, note="from ImageNet"),
        Published(arch="r50", clip="8x8", data=_K400, top1=74.58, top5=91.63, source=_ZOO),
    ),
    "c2d": (Published(arch="r50", clip="8x8", data=_K400, top1=71.46, top5=89.68, source=_ZOO),),
    "i3d": (
        Published(
            arch="inception",
            clip="64x1",
            data=f"{_K400} (test)",
            top1=71.1,
            top5=89.3,
            source="kinetics-i3d",
            note="RGB",
        ),
        Published(
            arch="inception",
            clip="64x1",
            data=f"{_K400} (test)",
            top1=74.2,
            top5=91.3,
            source="kinetics-i3d",
            note="two streams",
        ),
        Published(arch="r50", clip="8x8", data=_K400, top1=73.27, top5=90.7, source=_ZOO),
    ),
    "slowfast": (
        Published(arch="r50", clip="8x8", data=_K400, top1=77.0, top5=92.6, source="PySlowFast"),
        Published(arch="r101", clip="8x8", data=_K400, top1=77.9, top5=93.27, source=_ZOO),
    ),
    "tpn": (
        Published(arch="r50", clip="8x8", data=_K400, top1=76.1, source="decisionforce/TPN"),
        Published(arch="r50", clip="16x4", data=_K400, top1=77.3, source="decisionforce/TPN"),
        Published(arch="r50", clip="32x2", data=_K400, top1=77.7, source="decisionforce/TPN"),
        Published(arch="r101", clip="32x2", data=_K400, top1=78.9, source="decisionforce/TPN"),
    ),
    "tdn": (
        Published(arch="r50", clip="8 segments", data=_K400, top1=76.6, top5=92.8, source="MCG-NJU/TDN"),
        Published(arch="r50", clip="8 segments", data=_SSV1, top1=52.3, top5=80.6, source="MCG-NJU/TDN"),
        Published(arch="r50", clip="8 segments", data=_SSV2, top1=64.0, top5=88.8, source="MCG-NJU/TDN"),
    ),
    "r2plus1d": (
        Published(arch="r50", clip="16x4", data=_K400, top1=76.01, top5=92.23, source=_ZOO),
        Published(
            arch="r18", clip="16 frames", data=_K400, top1=57.5, top5=78.81, source="torchvision", note="single clips"
        ),
    ),
    "tsn+tdpn": (
        Published(arch="r50", clip="8 segments", data="EPIC-KITCHENS verb", top1=62.5, source=_PAPER),
        Published(arch="r50", clip="8 segments", data="EPIC-KITCHENS noun", top1=43.2, source=_PAPER),
    ),
    "tsm+tdpn": (),
    "tsn+tpn": (),
    "tsm+tpn": (
        Published(arch="r50", clip="8 segments", data=_SSV1, top1=50.7, source="decisionforce/TPN"),
        Published(arch="r50", clip="8 segments", data=_SSV2, top1=64.7, source="decisionforce/TPN"),
    ),
}
"""An empty row: nobody reported that network."""
