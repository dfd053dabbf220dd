"""The report states the views of the run's own validation, from the one place that defines them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from tdpn_core.config.schema import VALIDATION_VIEWS, RunConfig
from tdpn_core.evaluation.report import text


def result(views: str, own: str | None = VALIDATION_VIEWS) -> Any:
    origin = SimpleNamespace(
        validation={"epoch": 3.0, "top1": 0.5}, split="val", views=views, trained_on="same", data_digest="same"
    )
    config = SimpleNamespace(validation_views=own)
    return cast(
        Any, SimpleNamespace(scores=SimpleNamespace(origin=origin), heads=["action"], is_measured=True, config=config)
    )


def test_validated_names_the_views_of_validation_and_other_ones_as_a_reason() -> None:
    begin = f"The run's own validation after epoch 3: top-1 50.00% at {VALIDATION_VIEWS} views"
    assert text.validated(result(VALIDATION_VIEWS)) == f"{begin}."
    assert text.validated(result("10x3")) == f"{begin}; this score is at 10x3."


def test_validated_follows_the_views_of_validation() -> None:
    begin = "The run's own validation after epoch 3: top-1 50.00% at"
    assert text.validated(result("2x1", "2x1")) == f"{begin} 2x1 views."
    assert text.validated(result("2x1", None)) == f"{begin} the features' views; this score is at 2x1."


@pytest.mark.parametrize(
    ("recipe", "mode", "views", "expected"),
    [
        ("small", "dense", "10x3", "1x1"),
        ("probe-linear", "segments", "2x3", "2x3"),
        ("probe-linear", "dense", "10x3", "10x3"),
        ("probe-attentive", "dense", "10x1", None),
    ],
)
def test_validation_views_of_a_probe_are_those_of_its_features(
    recipe: str, mode: Literal["dense", "segments"], views: str, expected: str | None, fresh_config: RunConfig
) -> None:
    sampling = replace(fresh_config.sampling, mode=mode, views=views)
    assert replace(fresh_config, recipe=recipe, sampling=sampling).validation_views == expected
