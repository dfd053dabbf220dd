"""Frozen features: what a network computes of clips before it classifies them, in files."""

from tdpn_core.features.extract import FeatureOptions, extract_features
from tdpn_core.features.store import Features, read_features

__all__ = ["FeatureOptions", "Features", "extract_features", "read_features"]
