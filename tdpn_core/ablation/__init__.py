"""A grid of settings, each an ordinary run: trained, evaluated, compared clip by clip with the first."""

from tdpn_core.ablation.ablate import Ablation, ablate
from tdpn_core.ablation.statistics import Row

__all__ = ["Ablation", "Row", "ablate"]
