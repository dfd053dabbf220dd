"""Preparation: from a root folder of clips to shards, with a ledger of what became of every clip."""

from tdpn_core.prep.options import PrepConfig
from tdpn_core.prep.prepare import PrepReport, pack_dataset

__all__ = ["PrepConfig", "PrepReport", "pack_dataset"]
