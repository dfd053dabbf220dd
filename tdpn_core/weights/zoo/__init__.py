"""Published checkpoints by name: their metadata, and their files on this machine."""

from tdpn_core.weights.zoo.classes import class_names
from tdpn_core.weights.zoo.entry import ByHand, Package, Web, ZooEntry
from tdpn_core.weights.zoo.store import address, entry_at, is_here, obtain, place, recorded_digest, results_folder
from tdpn_core.weights.zoo.table import DEFAULT, ZOO, find_entry, imagenet, list_weights

__all__ = [
    "DEFAULT",
    "ZOO",
    "ByHand",
    "Package",
    "Web",
    "ZooEntry",
    "address",
    "class_names",
    "entry_at",
    "find_entry",
    "imagenet",
    "is_here",
    "list_weights",
    "obtain",
    "place",
    "recorded_digest",
    "results_folder",
]
