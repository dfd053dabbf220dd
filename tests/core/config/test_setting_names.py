"""Settings by the names that people give them."""

import pytest

from tdpn_core.config.setting_names import SYNONYMS, nearest_setting, setting_help, setting_paths


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("learning_rate", "train.lr"),
        ("train.learning_rate", "train.lr"),
        ("learning-rate", "train.lr"),
        ("lr", "train.lr"),
        ("batchsize", "train.batch_size"),
        ("model.batch_size", "train.batch_size"),
        ("optimizer", "train.optimiser"),
        ("num_segments", "model.num_frames"),
        ("image_size", "model.input_size"),
        ("model.flows", "model.flow"),
        ("train.mixup", "sampling.mixup"),
        ("color_jitter", "sampling.colour"),
        ("noise_probability", "sampling.erasing"),
        ("hue", "sampling.colour"),
    ],
)
def test_nearest_setting_other_name_gives_the_setting_meant(name: str, meant: str) -> None:
    assert nearest_setting(name) == f"did you mean {meant}?"


def test_nearest_setting_nothing_alike_gives_an_example() -> None:
    assert nearest_setting("xyzzy") == "for example --set model.flow=parallel"


def test_every_synonym_means_a_setting_and_is_none_itself() -> None:
    assert set(SYNONYMS.values()) <= set(setting_paths())
    assert not set(SYNONYMS) & {path.partition(".")[2] for path in setting_paths() if path != "model.name"}


def test_every_setting_has_help() -> None:
    assert [path for path in setting_paths() if not setting_help(path)] == []
    assert setting_help("train.lr").startswith("Peak learning rate")
