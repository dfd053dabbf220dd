"""Naming what happens in videos that nobody prepared."""

from tdpn_core.predict.result import Prediction, Segment
from tdpn_core.predict.run import PredictOptions, predict
from tdpn_core.predict.windows import Windowing

__all__ = ["PredictOptions", "Prediction", "Segment", "Windowing", "predict"]
