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
        ("model", "arch", "r51", "^model.arch: Input should be .*, not 'r51'"),
        ("train", "lr", "fast", "^train.lr: Input should be a valid number.*, not 'fast'"),
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
        (model_config, {"num_classes": {}}, "model.num_classes: Dictionary should have at least 1 item"),
        (model_config, {"num_classes": {"action": 0}}, "model.num_classes.action: .* or equal to 1, not 0"),
        (model_config, {"num_frames": 0}, "model.num_frames: .* or equal to 1, not 0"),
        (model_config, {"input_size": 16}, "model.input_size: .* or equal to 32, not 16"),
        (model_config, {"width": 0.0}, "model.width: .* greater than 0, not 0.0"),
        (model_config, {"temporal_kernels": (1, 1, 2, 3)}, "model.temporal_kernels.2: must be odd, not 2"),
        (model_config, {"dropout": 1.0}, "model.dropout: .* less than 1, not 1.0"),
        (model_config, {"levels": ("res5", "res4")}, "levels must rise and end with res5"),
        (model_config, {"levels": ("res2", "res3")}, "levels must rise and end with res5"),
        (model_config, {"temporal_rates": (8,)}, "4 levels need as many temporal_rates"),
        (model_config, {"width": 4.5}, "model.width: .* or equal to 4, not 4.5"),
        (model_config, {"name": "slowfast", "alpha": 0}, "model.alpha: .* or equal to 1, not 0"),
        (model_config, {"name": "c2d", "temporal_strides": (1, 0, 2)}, "model.temporal_strides.1: .* to 1, not 0"),
        (model_config, {"name": "slowonly", "temporal_blocks": (3, -1, 2, 2)}, "model.temporal_blocks.1: .* to 0, not"),
        (model_config, {"levels": ("res4", "res5")}, "temporal has a global module on res2, which is not among"),
        (SamplingConfig, {"interval": 0}, "--interval must be at least 1"),
        (SamplingConfig, {"crop_area": (0.5, 0.2)}, "crop_area must be two rising shares"),
        (SamplingConfig, {"crop_ratio": (2.0, 1.0)}, "crop_ratio must be two rising ratios"),
        (SamplingConfig, {"flip": 1.5}, "flip must lie in"),
        (SamplingConfig, {"jitter": (320, 256)}, "jitter must be two rising short sides in pixels"),
        (SamplingConfig, {"colour": (0.4, 1.2, 0.4, 0.1)}, "colour must be three strengths"),
        (SamplingConfig, {"colour": (0.4, 0.4, 0.4, 0.6)}, "colour must be three strengths"),
        (SamplingConfig, {"randaugment": -1}, "randaugment must not be negative, not -1"),
        (SamplingConfig, {"randaugment_magnitude": 31}, "randaugment_magnitude must lie in"),
        (SamplingConfig, {"erasing": -0.1}, "erasing must lie in"),
        (SamplingConfig, {"erasing_area": (0.0, 0.5)}, "erasing_area must be two rising shares"),
        (SamplingConfig, {"mixup": -1.0}, "mixup must be 0 or a positive number"),
        (SamplingConfig, {"cutmix": float("inf")}, "cutmix must be 0 or a positive number"),
        (SamplingConfig, {"views": "3"}, "--views is CLIPSxCROPS"),
        (TrainConfig, {"epochs": 0}, "--epochs must be at least 1"),
        (TrainConfig, {"batch_size": 0}, "--batch-size must be at least 1"),
        (TrainConfig, {"accumulate": 0}, "accumulate must lie between 1 and the batch size, 64, not 0"),
        (TrainConfig, {"accumulate": 65}, "accumulate must lie between 1 and the batch size, 64, not 65"),
        (TrainConfig, {"stop_after": -1}, "stop_after must not be negative, not -1"),
        (TrainConfig, {"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), not 1.0"),
        (TrainConfig, {"ema": 1.0}, r"ema must lie in \[0, 1\), not 1.0"),
        (TrainConfig, {"explosion": -1.0}, "explosion must not be negative, not -1.0"),
        (TrainConfig, {"lr": float("nan")}, "--lr must be a positive number"),
        (TrainConfig, {"clip_norm": 0.0}, "clip_norm must be positive"),
        (TrainConfig, {"seed": -1}, "--seed must not be negative"),
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
