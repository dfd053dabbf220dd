"""Preparation: pack a folder of clips into shards, with a ledger of the outcome for every clip."""

from tdpn_core.prep.options import PrepConfig
from tdpn_core.prep.prepare import PrepReport, pack_dataset, understand

__all__ = ["PrepConfig", "PrepReport", "pack_dataset", "understand"]
