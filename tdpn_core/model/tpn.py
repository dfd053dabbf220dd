"""TPN: the pyramid on res4 and res5 of SlowOnly, TSN or TSM, without temporal differences.

Yang et al., "Temporal Pyramid Network for Action Recognition", CVPR 2020.
"""

from __future__ import annotations

from tdpn_core.config.families import Family, Published
from tdpn_core.config.family_settings import (
    TPNConfig,
    TSMTPNConfig,
    TSNTPNConfig,
)
from tdpn_core.model.baselines.resnets import slowonly, tsn
from tdpn_core.model.baselines.tsm import tsm
from tdpn_core.model.tdpn import TDPN, with_pyramid


def _over_slowonly(config: TPNConfig) -> TDPN:
    return with_pyramid(config, slowonly(config))


def _over_tsn(config: TSNTPNConfig) -> TDPN:
    return with_pyramid(config, tsn(config))


def _over_tsm(config: TSMTPNConfig) -> TDPN:
    return with_pyramid(config, tsm(config))


_SOURCE = "decisionforce/TPN"
_GLUON = "gluon-cv"

TPN_FAMILY = Family(
    title="Temporal Pyramid Network over SlowOnly (Yang et al., 2020)",
    config=TPNConfig,
    build=_over_slowonly,
    published=(
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=76.1, source=_SOURCE),
        Published(arch="r50", clip="16x4", data="Kinetics-400", top1=77.3, source=_SOURCE),
        Published(arch="r50", clip="32x2", data="Kinetics-400", top1=77.7, source=_SOURCE),
        Published(arch="r101", clip="32x2", data="Kinetics-400", top1=78.9, source=_SOURCE),
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=77.04, source=_GLUON),
        Published(arch="r50", clip="16x4", data="Kinetics-400", top1=77.33, source=_GLUON),
        Published(arch="r50", clip="32x2", data="Kinetics-400", top1=78.9, source=_GLUON),
        Published(arch="r101", clip="8x8", data="Kinetics-400", top1=78.1, source=_GLUON),
        Published(arch="r101", clip="16x4", data="Kinetics-400", top1=79.39, source=_GLUON),
        Published(arch="r101", clip="32x2", data="Kinetics-400", top1=79.7, source=_GLUON),
    ),
)
TSN_TPN_FAMILY = Family(title="TPN's pyramid over TSN", config=TSNTPNConfig, build=_over_tsn)
TSM_TPN_FAMILY = Family(
    title="TPN's pyramid over TSM",
    config=TSMTPNConfig,
    build=_over_tsm,
    published=(
        Published(arch="r50", clip="8 segments", data="Something-Something V1", top1=50.7, source=_SOURCE),
        Published(arch="r50", clip="8 segments", data="Something-Something V2", top1=64.7, source=_SOURCE),
    ),
)
