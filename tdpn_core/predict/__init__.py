"""Naming what happens in videos that nobody prepared."""

from tdpn_core.predict.run import Prediction, PredictOptions, Segment, predict
from tdpn_core.predict.windows import Windowing

__all__ = ["PredictOptions", "Prediction", "Segment", "Windowing", "predict"]
