"""Naming what happens in videos that nobody prepared."""

from tdpn_core.predict.run import Prediction, predict

__all__ = ["Prediction", "predict"]
