"""A grid of settings, each an ordinary run: trained, evaluated, compared clip by clip with the first."""

from tdpn_core.ablate.compare import Row
from tdpn_core.ablate.run import Ablation, ablate

__all__ = ["Ablation", "Row", "ablate"]
