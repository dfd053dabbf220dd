"""Settings say what is wrong with them, and survive being stored."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import (
    DataConfig,
    RunConfig,
    SamplingConfig,
    TrainConfig,
    from_dict,
    parse_views,
    to_dict,
)
from tdpn_core.errors import ConfigError
from tdpn_core.prep.options import PrepConfig
from tdpn_core.video.encode_options import Encoding

DATA = DataConfig(
    path="data/x", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="c", digest="d", short_side=256
)
RUN = RunConfig(
    recipe="small",
    model=model_config(num_classes={"verb": 3, "noun": 4}, temporal_rates=(8, 8, 4, 2), window=1),
    sampling=SamplingConfig(mode="segments", views="10x3"),
    train=TrainConfig(milestones=(1, 2)),
    data=DATA,
)


def test_a_run_survives_json_unchanged() -> None:
    assert from_dict(RunConfig, json.loads(json.dumps(to_dict(RUN)))) == RUN


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("model", "colour", 1, "^model: tdpn has no setting 'colour'; its settings: "),
        ("model", "arch", "r51", "^model.arch: must be .*, not 'r51'"),
        ("train", "lr", "fast", "^train.lr: must be a number, not 'fast'"),
    ],
)
def test_a_stored_run_with_a_foreign_field_or_value_is_refused_by_name(
    section: str, field: str, value: object, message: str
) -> None:
    stored = to_dict(RUN)
    stored[section][field] = value
    with pytest.raises(ConfigError, match=message):
        from_dict(RunConfig, stored)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (model_config, {"num_classes": {}}, "model.num_classes: has 0 entries, fewer than 1"),
        (model_config, {"num_classes": {"action": 0}}, "model.num_classes.action: must be at least 1, not 0"),
        (model_config, {"num_frames": 0}, "model.num_frames: must be at least 1, not 0"),
        (model_config, {"input_size": 16}, "model.input_size: must be at least 32, not 16"),
        (model_config, {"width": 0.0}, "model.width: must be greater than 0, not 0.0"),
        (model_config, {"temporal_kernels": (1, 1, 2, 3)}, "model.temporal_kernels.2: must be odd, not 2"),
        (model_config, {"dropout": 1.0}, "model.dropout: must be less than 1, not 1.0"),
        (model_config, {"levels": ("res5", "res4")}, "levels must ascend and end with res5"),
        (model_config, {"levels": ("res2", "res3")}, "levels must ascend and end with res5"),
        (model_config, {"temporal_rates": (8,)}, "4 levels need as many temporal_rates"),
        (model_config, {"width": 4.5}, "model.width: must be at most 4, not 4.5"),
        (model_config, {"name": "slowfast", "alpha": 0}, "model.alpha: must be at least 1, not 0"),
        (model_config, {"name": "c2d", "temporal_strides": (1, 0, 2)}, "model.temporal_strides.1: .* least 1, not 0"),
        (model_config, {"name": "slowonly", "temporal_blocks": (3, -1, 2, 2)}, "model.temporal_blocks.1: .* 0, not -1"),
        (model_config, {"levels": ("res4", "res5")}, "has a global module on res2, which is not among"),
        (SamplingConfig, {"interval": 0}, "sampling.interval: must be at least 1, not 0"),
        (SamplingConfig, {"mode": "none"}, "sampling.mode: must be 'dense' or 'segments', not 'none'"),
        (SamplingConfig, {"crop_area": (0.5, 0.2)}, r"sampling.crop_area: must be in rising order, not \(0.5, 0.2\)"),
        (SamplingConfig, {"crop_area": (0.5, 1.2)}, "sampling.crop_area.1: must be at most 1, not 1.2"),
        (SamplingConfig, {"crop_area": (0.5,)}, "sampling.crop_area.1: is missing"),
        (SamplingConfig, {"crop_ratio": (2.0, 1.0)}, r"sampling.crop_ratio: must be in rising order, not \(2.0, 1.0\)"),
        (SamplingConfig, {"flip": 1.5}, "sampling.flip: must be at most 1, not 1.5"),
        (SamplingConfig, {"jitter": (320, 256)}, r"sampling.jitter: must be in rising order, not \(320, 256\)"),
        (SamplingConfig, {"colour": (0.4, 1.2, 0.4, 0.1)}, "sampling.colour.1: must be at most 1, not 1.2"),
        (SamplingConfig, {"colour": (0.4, 0.4, 0.4, 0.6)}, "sampling.colour.3: must be at most 0.5, not 0.6"),
        (SamplingConfig, {"randaugment": -1}, "sampling.randaugment: must be at least 0, not -1"),
        (SamplingConfig, {"randaugment_magnitude": 31}, "sampling.randaugment_magnitude: must be at most 30, not 31"),
        (SamplingConfig, {"erasing": -0.1}, "sampling.erasing: must be at least 0, not -0.1"),
        (SamplingConfig, {"erasing_area": (0.0, 0.5)}, "sampling.erasing_area.0: must be greater than 0, not 0.0"),
        (SamplingConfig, {"mixup": -1.0}, "sampling.mixup: must be at least 0, not -1.0"),
        (SamplingConfig, {"cutmix": float("inf")}, "sampling.cutmix: must be a finite number, not inf"),
        (SamplingConfig, {"std": (0.2, 0.0, 0.2)}, "sampling.std.1: must be greater than 0, not 0.0"),
        (SamplingConfig, {"views": "3"}, "--views must be CLIPSxCROPS"),
        (TrainConfig, {"epochs": 0}, "train.epochs: must be at least 1, not 0"),
        (TrainConfig, {"epochs": 1.5}, "train.epochs: must be a whole number, not 1.5"),
        (TrainConfig, {"batch_size": 0}, "train.batch_size: must be at least 1, not 0"),
        (TrainConfig, {"accumulate": 0}, "train.accumulate: must be at least 1, not 0"),
        (TrainConfig, {"accumulate": 65}, "train.accumulate: must be at most the batch size, 64, not 65"),
        (TrainConfig, {"momentum": 1.0}, "train.momentum: must be less than 1, not 1.0"),
        (TrainConfig, {"weight_decay": -0.1}, "train.weight_decay: must be at least 0, not -0.1"),
        (TrainConfig, {"stop_after": -1}, "train.stop_after: must be at least 0, not -1"),
        (TrainConfig, {"label_smoothing": 1.0}, "train.label_smoothing: must be less than 1, not 1.0"),
        (TrainConfig, {"ema": 1.0}, "train.ema: must be less than 1, not 1.0"),
        (TrainConfig, {"max_loss_ratio": -1.0}, "train.max_loss_ratio: must be at least 0, not -1.0"),
        (TrainConfig, {"lr": float("nan")}, "train.lr: must be a finite number, not nan"),
        (TrainConfig, {"lr": "fast"}, "train.lr: must be a number, not 'fast'"),
        (TrainConfig, {"clip_norm": 0.0}, "train.clip_norm: must be greater than 0, not 0.0"),
        (TrainConfig, {"compile": "maybe"}, "train.compile: must be true or false, not 'maybe'"),
        (TrainConfig, {"seed": -1}, "train.seed: must be at least 0, not -1"),
        (TrainConfig, {"rate": 1}, "train.rate: there is no such setting$"),
        (Encoding, {"fps": 0.0}, "encoding.fps: must be greater than 0, not 0.0"),
        (Encoding, {"quality": 32}, "encoding.quality: must be at most 31, not 32"),
        (Encoding, {"max_pixels": 0}, "encoding.max_pixels: must be at least 1, not 0"),
        (PrepConfig, {"block_clips": 0}, "prep.block_clips: must be at least 1, not 0"),
        (PrepConfig, {"shard_bytes": 0}, "prep.shard_bytes: must be at least 1, not 0"),
        (PrepConfig, {"clip_seconds": 0}, "prep.clip_seconds: must be greater than 0, not 0"),
        (RunConfig, {"recipe": "small"}, "model: is missing$"),
    ],
)
def test_impossible_settings_are_refused_with_their_value(kind: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**values)


@pytest.mark.parametrize(("text", "views"), [("10x3", (10, 3)), ("1x1", (1, 1)), ("2x3", (2, 3))])
def test_views_are_clips_by_crops(text: str, views: tuple[int, int]) -> None:
    assert parse_views(text) == views


@pytest.mark.parametrize("text", ["", "x", "0x1", "3x2", "1.5x1", "-1x3", "10 x 3"])
def test_views_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--views"):
        parse_views(text)


def test_extra_frames_are_read_only_where_a_local_module_needs_them() -> None:
    config = model_config()
    assert config.frames_per_step == 5
    assert replace(config, window=1).frames_per_step == 1
    assert replace(config, temporal=("global", "global", "none", "none")).frames_per_step == 1
