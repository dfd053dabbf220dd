"""Naming what happens in videos that nobody prepared."""

from tdpn_core.predict.result import NetworkInfo, Prediction, Segment
from tdpn_core.predict.run import SHORTEST, PredictOptions, predict
from tdpn_core.predict.windows import Windowing

__all__ = ["SHORTEST", "NetworkInfo", "PredictOptions", "Prediction", "Segment", "Windowing", "predict"]
