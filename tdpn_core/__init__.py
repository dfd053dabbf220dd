"""TDPN: action recognition from a folder of videos to a trained, evaluated network.

The public API: what a command does, one typed function does. Modules follow the data: `datasets`, `video`, `shards`,
`sampling`, `model`, `training`, `evaluation`, `prediction`, `exporting`. Importing this package imports none of them:
each name is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tdpn_core.version import __version__

if TYPE_CHECKING:
    from tdpn_core.ablation.ablate import Ablation, ablate
    from tdpn_core.api import compare, evaluate, predict
    from tdpn_core.bench.compute import bench_inference, bench_training
    from tdpn_core.bench.data import bench_reading
    from tdpn_core.config.overrides import TrainOverrides
    from tdpn_core.config.schema import RunConfig
    from tdpn_core.config.settings import all_settings
    from tdpn_core.datasets.clip_table import Dataset
    from tdpn_core.datasets.options import DatasetOptions
    from tdpn_core.datasets.registry import detect, read_dataset
    from tdpn_core.demo.demo import DemoResult, run_demo
    from tdpn_core.doctor import examine
    from tdpn_core.errors import TdpnError
    from tdpn_core.evaluation.evaluate import Comparison, Evaluation
    from tdpn_core.evaluation.options import ScoreOptions
    from tdpn_core.exporting.export import ExportOptions, ExportReport, export
    from tdpn_core.model.registry import create_model
    from tdpn_core.prediction.predict import PredictOptions
    from tdpn_core.prediction.results import Prediction, Segment
    from tdpn_core.prediction.windows import Windowing
    from tdpn_core.prep.options import PrepConfig
    from tdpn_core.prep.overview import Overview, overview
    from tdpn_core.prep.prepare import PrepReport, pack_dataset, prepare
    from tdpn_core.progress import Progress
    from tdpn_core.sampling.dataset import TrainingClips, ViewClips
    from tdpn_core.sampling.loader import Batch, TrainingLoader, view_batches
    from tdpn_core.shards.manifest import find_prepared
    from tdpn_core.shards.reader import ClipStore
    from tdpn_core.training.launch import train
    from tdpn_core.training.trainer import TrainResult
    from tdpn_core.video.encode_options import Encoding
    from tdpn_core.weights.load import load_model

__all__ = [
    "Ablation",
    "Batch",
    "ClipStore",
    "Comparison",
    "Dataset",
    "DatasetOptions",
    "DemoResult",
    "Encoding",
    "Evaluation",
    "ExportOptions",
    "ExportReport",
    "Overview",
    "PredictOptions",
    "Prediction",
    "PrepConfig",
    "PrepReport",
    "Progress",
    "RunConfig",
    "ScoreOptions",
    "Segment",
    "TdpnError",
    "TrainOverrides",
    "TrainResult",
    "TrainingClips",
    "TrainingLoader",
    "ViewClips",
    "Windowing",
    "__version__",
    "ablate",
    "all_settings",
    "bench_inference",
    "bench_reading",
    "bench_training",
    "compare",
    "create_model",
    "detect",
    "evaluate",
    "examine",
    "export",
    "find_prepared",
    "load_model",
    "overview",
    "pack_dataset",
    "predict",
    "prepare",
    "read_dataset",
    "run_demo",
    "train",
    "view_batches",
]

_MODULES = {
    "ablation.ablate": ("Ablation", "ablate"),
    "api": ("compare", "evaluate", "predict"),
    "bench.compute": ("bench_inference", "bench_training"),
    "bench.data": ("bench_reading",),
    "config.overrides": ("TrainOverrides",),
    "config.schema": ("RunConfig",),
    "config.settings": ("all_settings",),
    "datasets.clip_table": ("Dataset",),
    "datasets.options": ("DatasetOptions",),
    "datasets.registry": ("detect", "read_dataset"),
    "demo.demo": ("DemoResult", "run_demo"),
    "doctor": ("examine",),
    "errors": ("TdpnError",),
    "evaluation.evaluate": ("Comparison", "Evaluation"),
    "evaluation.options": ("ScoreOptions",),
    "exporting.export": ("ExportOptions", "ExportReport", "export"),
    "model.registry": ("create_model",),
    "prediction.predict": ("PredictOptions",),
    "prediction.results": ("Prediction", "Segment"),
    "prediction.windows": ("Windowing",),
    "prep.options": ("PrepConfig",),
    "prep.overview": ("Overview", "overview"),
    "prep.prepare": ("PrepReport", "pack_dataset", "prepare"),
    "progress": ("Progress",),
    "sampling.dataset": ("TrainingClips", "ViewClips"),
    "sampling.loader": ("Batch", "TrainingLoader", "view_batches"),
    "shards.manifest": ("find_prepared",),
    "shards.reader": ("ClipStore",),
    "training.launch": ("train",),
    "training.trainer": ("TrainResult",),
    "video.encode_options": ("Encoding",),
    "weights.load": ("load_model",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name on first use: importing the package must not load torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
