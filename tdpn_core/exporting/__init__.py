"""Export a network as one file for other programs: uint8 frames in, probabilities out."""

from tdpn_core.exporting.export import ExportOptions, ExportReport

__all__ = ["ExportOptions", "ExportReport"]
