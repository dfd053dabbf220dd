"""Names of settings, and suggestions for unknown names."""

from __future__ import annotations

import difflib
import re

from tdpn_core.config.settings import all_settings

SYNONYMS: dict[str, str] = {
    "learning_rate": "train.lr",
    "base_lr": "train.lr",
    "rate": "train.lr",
    "batch": "train.batch_size",
    "bs": "train.batch_size",
    "epoch": "train.epochs",
    "num_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "optimizer": "train.optimiser",
    "optim": "train.optimiser",
    "wd": "train.weight_decay",
    "decay": "train.weight_decay",
    "grad_clip": "train.clip_norm",
    "clip_grad": "train.clip_norm",
    "gradient_clip": "train.clip_norm",
    "max_norm": "train.clip_norm",
    "scheduler": "train.schedule",
    "lr_schedule": "train.schedule",
    "lr_scheduler": "train.schedule",
    "lr_policy": "train.schedule",
    "lr_steps": "train.milestones",
    "steps": "train.milestones",
    "warmup": "train.warmup_epochs",
    "early_stopping": "train.stop_after",
    "early_stop": "train.stop_after",
    "smoothing": "train.label_smoothing",
    "ema_decay": "train.ema",
    "freeze": "train.frozen",
    "frozen_stages": "train.frozen",
    "aux_weight": "train.auxiliary_weight",
    "amp": "train.precision",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "mixed_precision": "train.precision",
    "dtype": "train.precision",
    "gradient_checkpointing": "train.checkpointing",
    "accumulation": "train.accumulate",
    "accumulation_steps": "train.accumulate",
    "gradient_accumulation": "train.accumulate",
    "random_seed": "train.seed",
    "class_balanced": "train.balanced",
    "syncbn": "train.sync_bn",
    "model": "model.name",
    "backbone": "model.arch",
    "depth": "model.arch",
    "frames": "model.num_frames",
    "clip_len": "model.num_frames",
    "clip_length": "model.num_frames",
    "segments": "model.num_frames",
    "num_segments": "model.num_frames",
    "size": "model.input_size",
    "image_size": "model.input_size",
    "img_size": "model.input_size",
    "crop_size": "model.input_size",
    "resolution": "model.input_size",
    "drop": "model.dropout",
    "dropout_rate": "model.dropout",
    "stride": "sampling.interval",
    "tau": "sampling.interval",
    "frame_interval": "sampling.interval",
    "sampling_rate": "sampling.interval",
    "resize": "sampling.short_side",
    "test_size": "sampling.short_side",
    "scale": "sampling.crop_area",
    "crop_scale": "sampling.crop_area",
    "ratio": "sampling.crop_ratio",
    "hflip": "sampling.flip",
    "horizontal_flip": "sampling.flip",
    "color": "sampling.colour",
    "color_jitter": "sampling.colour",
    "colour_jitter": "sampling.colour",
    "random_erasing": "sampling.erasing",
    "rand_augment": "sampling.randaugment",
    "num_crops": "sampling.views",
    "num_clips": "sampling.views",
    "test_views": "sampling.views",
    "crops": "sampling.views",
}
"""Common names of settings in other programs."""

_CLOSE = 0.75
"""Similarity from which a name counts as a misspelling of another."""


def setting_paths() -> list[str]:
    """Return every setting by its path, such as `train.lr`."""
    return [setting.name for setting in all_settings()]


def setting_help(path: str) -> str:
    """Return the docstring of a setting as one line; empty if there is none."""
    return next((setting.help for setting in all_settings() if setting.name == path), "")


def models_with(path: str) -> tuple[str, ...]:
    """Return the families of networks that have the setting; empty if all have it."""
    return next((setting.models for setting in all_settings() if setting.name == path), ())


def nearest_setting(name: str) -> str:
    """Return a hint for an unknown setting: `did you mean train.lr?`."""
    wanted = name.lower().replace("-", "_").strip()
    field = wanted.rpartition(".")[2]
    found = _by_name(wanted, field) or SYNONYMS.get(field) or _mistyped(wanted, field) or _by_words(field.split("_"))
    return f"did you mean {found}?" if found else "for example --set model.flow=parallel"


def _by_name(wanted: str, field: str) -> str | None:
    """Return the setting of that name in another section."""
    return next((path for path in setting_paths() if path == wanted or path.partition(".")[2] == field), None)


def _mistyped(wanted: str, field: str) -> str | None:
    known = {path: path for path in setting_paths()}
    known |= {path.partition(".")[2]: path for path in setting_paths()} | SYNONYMS
    near = difflib.get_close_matches(field, known, 1, _CLOSE) or difflib.get_close_matches(wanted, known, 1, _CLOSE)
    return known[near[0]] if near else None


def _by_words(words: list[str]) -> str | None:
    """Return the setting whose name and help match most of the words, its name counting twice; None if none matches."""
    scores = {}
    for setting in all_settings():
        own = set(setting.name.partition(".")[2].split("_"))
        text = set(re.findall(r"[a-z]+", setting.help.lower()))
        scores[setting.name] = sum(2 * (word in own) + (word in text) for word in words if len(word) > 2)
    best = max(scores, key=lambda path: scores[path])
    return best if scores[best] else None
