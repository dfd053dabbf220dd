"""Predict classes of videos that were not prepared."""

from tdpn_core.prediction.options import PredictOptions
from tdpn_core.prediction.results import NetworkInfo, Prediction, Segment
from tdpn_core.prediction.windows import Windowing

__all__ = ["NetworkInfo", "PredictOptions", "Prediction", "Segment", "Windowing"]
