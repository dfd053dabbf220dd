"""TDPN: action recognition from a folder of videos to a trained, evaluated network.

The public API has one typed function per command. Modules follow the data: `datasets`, `video`, `shards`, `sampling`,
`model`, `training`, `evaluation`, `prediction`, `exporting`. Importing this package imports none of them: each name is
imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tdpn_core.version import __version__

if TYPE_CHECKING:
    from tdpn_core.ablation.ablate import Ablation, ablate
    from tdpn_core.api import (
        Inspection,
        bench_models,
        compare,
        draw_clips,
        evaluate,
        evaluate_timeline,
        extract_archive,
        fetch_weights,
        inspect_data,
        predict,
        predict_archive,
    )
    from tdpn_core.bench.compute import Bench
    from tdpn_core.bench.data import ReadingBench, bench_reading
    from tdpn_core.catalogue import ModelInfo, list_models
    from tdpn_core.config.families import Family, find_family, known_models
    from tdpn_core.config.overrides import TrainOverrides
    from tdpn_core.config.schema import RunConfig
    from tdpn_core.config.settings import Setting, all_settings
    from tdpn_core.datasets.background import BackgroundOptions
    from tdpn_core.datasets.clip_table import Dataset
    from tdpn_core.datasets.options import DatasetOptions
    from tdpn_core.datasets.registry import detect, known_datasets, read_dataset
    from tdpn_core.demo.demo import DemoResult, run_demo
    from tdpn_core.doctor import Finding, examine
    from tdpn_core.errors import TdpnError
    from tdpn_core.evaluation.evaluate import Comparison, Evaluation
    from tdpn_core.evaluation.options import ScoreOptions
    from tdpn_core.exporting.export import ExportOptions, ExportReport, export
    from tdpn_core.features.extract import FeatureOptions, extract_features
    from tdpn_core.features.store import Features, read_features
    from tdpn_core.hub_upload import Upload, push
    from tdpn_core.model.registry import create_model
    from tdpn_core.prediction.options import PredictOptions
    from tdpn_core.prediction.results import Prediction, Segment
    from tdpn_core.prediction.windows import Windowing
    from tdpn_core.prep.options import PrepConfig
    from tdpn_core.prep.overview import Overview
    from tdpn_core.prep.prepare import PrepReport, pack_dataset, prepare, understand
    from tdpn_core.progress import Progress
    from tdpn_core.recipes.presets import known_recipes
    from tdpn_core.sampling.dataset import TrainingClips, ViewClips
    from tdpn_core.sampling.loader import Batch, TrainingLoader, view_batches
    from tdpn_core.shards.manifest import find_prepared, known_data
    from tdpn_core.shards.reader import ClipStore
    from tdpn_core.training.launch import train
    from tdpn_core.training.probe import train_probe
    from tdpn_core.training.review import review_labels
    from tdpn_core.training.trainer import TrainResult
    from tdpn_core.video.encode_options import Encoding
    from tdpn_core.weights.load import load_model
    from tdpn_core.weights.zoo import ZooEntry, list_weights

__all__ = [
    "Ablation",
    "BackgroundOptions",
    "Batch",
    "Bench",
    "ClipStore",
    "Comparison",
    "Dataset",
    "DatasetOptions",
    "DemoResult",
    "Encoding",
    "Evaluation",
    "ExportOptions",
    "ExportReport",
    "Family",
    "FeatureOptions",
    "Features",
    "Finding",
    "Inspection",
    "ModelInfo",
    "Overview",
    "PredictOptions",
    "Prediction",
    "PrepConfig",
    "PrepReport",
    "Progress",
    "ReadingBench",
    "RunConfig",
    "ScoreOptions",
    "Segment",
    "Setting",
    "TdpnError",
    "TrainOverrides",
    "TrainResult",
    "TrainingClips",
    "TrainingLoader",
    "Upload",
    "ViewClips",
    "Windowing",
    "ZooEntry",
    "__version__",
    "ablate",
    "all_settings",
    "bench_models",
    "bench_reading",
    "compare",
    "create_model",
    "detect",
    "draw_clips",
    "evaluate",
    "evaluate_timeline",
    "examine",
    "export",
    "extract_archive",
    "extract_features",
    "fetch_weights",
    "find_family",
    "find_prepared",
    "inspect_data",
    "known_data",
    "known_datasets",
    "known_models",
    "known_recipes",
    "list_models",
    "list_weights",
    "load_model",
    "pack_dataset",
    "predict",
    "predict_archive",
    "prepare",
    "push",
    "read_dataset",
    "read_features",
    "review_labels",
    "run_demo",
    "train",
    "train_probe",
    "understand",
    "view_batches",
]

_MODULES = {
    "ablation.ablate": ("Ablation", "ablate"),
    "api": (
        "Inspection",
        "bench_models",
        "compare",
        "draw_clips",
        "evaluate",
        "evaluate_timeline",
        "extract_archive",
        "fetch_weights",
        "inspect_data",
        "predict",
        "predict_archive",
    ),
    "bench.compute": ("Bench",),
    "bench.data": ("ReadingBench", "bench_reading"),
    "catalogue": ("ModelInfo", "list_models"),
    "config.families": ("Family", "find_family", "known_models"),
    "config.overrides": ("TrainOverrides",),
    "config.schema": ("RunConfig",),
    "config.settings": ("Setting", "all_settings"),
    "datasets.clip_table": ("Dataset",),
    "datasets.background": ("BackgroundOptions",),
    "datasets.options": ("DatasetOptions",),
    "datasets.registry": ("detect", "known_datasets", "read_dataset"),
    "demo.demo": ("DemoResult", "run_demo"),
    "doctor": ("Finding", "examine"),
    "errors": ("TdpnError",),
    "evaluation.evaluate": ("Comparison", "Evaluation"),
    "evaluation.options": ("ScoreOptions",),
    "exporting.export": ("ExportOptions", "ExportReport", "export"),
    "features.extract": ("FeatureOptions", "extract_features"),
    "features.store": ("Features", "read_features"),
    "hub_upload": ("Upload", "push"),
    "model.registry": ("create_model",),
    "prediction.options": ("PredictOptions",),
    "prediction.results": ("Prediction", "Segment"),
    "prediction.windows": ("Windowing",),
    "prep.options": ("PrepConfig",),
    "prep.overview": ("Overview",),
    "prep.prepare": ("PrepReport", "pack_dataset", "prepare", "understand"),
    "progress": ("Progress",),
    "recipes.presets": ("known_recipes",),
    "sampling.dataset": ("TrainingClips", "ViewClips"),
    "sampling.loader": ("Batch", "TrainingLoader", "view_batches"),
    "shards.manifest": ("find_prepared", "known_data"),
    "shards.reader": ("ClipStore",),
    "training.launch": ("train",),
    "training.probe": ("train_probe",),
    "training.review": ("review_labels",),
    "training.trainer": ("TrainResult",),
    "video.encode_options": ("Encoding",),
    "weights.load": ("load_model",),
    "weights.zoo": ("ZooEntry", "list_weights"),
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
    """Return the public names, including those not imported yet."""
    return sorted({*globals(), *__all__})
