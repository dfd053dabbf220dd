"""Frozen features of clips: the input of a network's classifier, stored in files."""

from tdpn_core.features.extract import FeatureOptions, extract_features
from tdpn_core.features.store import Features, read_features

__all__ = ["FeatureOptions", "Features", "extract_features", "read_features"]
