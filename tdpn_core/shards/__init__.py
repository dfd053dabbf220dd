"""Prepared clips on disk: HDF5 shards, listed with checksums in a manifest."""

from tdpn_core.shards.manifest import Manifest, Shard, find_prepared, load_manifest
from tdpn_core.shards.reader import ClipStore

__all__ = ["ClipStore", "Manifest", "Shard", "find_prepared", "load_manifest"]
