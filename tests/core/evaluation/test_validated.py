"""The report states the views of the run's own validation, from the one place that defines them."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tdpn_core.config.schema import VALIDATION_VIEWS
from tdpn_core.evaluation.report import text


def result(views: str) -> Any:
    origin = SimpleNamespace(
        validation={"epoch": 3.0, "top1": 0.5}, split="val", views=views, trained_on="same", data_digest="same"
    )
    return cast(Any, SimpleNamespace(scores=SimpleNamespace(origin=origin), heads=["action"]))


def test_validated_names_the_views_of_validation_and_other_ones_as_a_reason() -> None:
    begin = f"The run's own validation after epoch 3: top-1 50.00% at {VALIDATION_VIEWS} views"
    assert text.validated(result(VALIDATION_VIEWS)) == f"{begin}."
    assert text.validated(result("10x3")) == f"{begin}; this score is at 10x3."


def test_validated_follows_the_views_of_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "VALIDATION_VIEWS", "2x1")
    assert text.validated(result("2x1")) == "The run's own validation after epoch 3: top-1 50.00% at 2x1 views."
