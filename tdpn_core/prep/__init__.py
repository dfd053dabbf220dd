"""Preparation: from a root folder of clips to shards, with a ledger of what became of every clip."""

from tdpn_core.prep.run import PrepReport, pack_dataset, prepare
from tdpn_core.prep.settings import PrepConfig

__all__ = ["PrepConfig", "PrepReport", "pack_dataset", "prepare"]
