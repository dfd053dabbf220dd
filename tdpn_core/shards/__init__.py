"""Prepared clips on disk: HDF5 shards of JPEG frames, listed with their checksums in a manifest."""

from tdpn_core.shards.manifest import Failure, Manifest, Shard, find_prepared, load_manifest
from tdpn_core.shards.store import ClipStore, verify

__all__ = ["ClipStore", "Failure", "Manifest", "Shard", "find_prepared", "load_manifest", "verify"]
