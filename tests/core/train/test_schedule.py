"""The learning rate where training stands."""

import pytest

from tdpn_core.config import TrainConfig
from tdpn_core.train.schedule import learning_rate


def test_the_step_schedule_divides_by_ten_at_each_milestone() -> None:
    config = TrainConfig(lr=0.01, epochs=120, milestones=(85, 105))
    rates = [learning_rate(config, epochs) for epochs in (0, 84.99, 85, 104.99, 105, 119)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_the_cosine_schedule_falls_from_the_peak_to_zero_after_the_warm_up() -> None:
    config = TrainConfig(lr=0.1, epochs=12, schedule="cosine", milestones=(), warmup_epochs=2)
    assert learning_rate(config, 0) == 0
    assert learning_rate(config, 1) == pytest.approx(0.05)
    assert learning_rate(config, 2) == pytest.approx(0.1)
    assert learning_rate(config, 7) == pytest.approx(0.05)
    assert learning_rate(config, 12) == pytest.approx(0)


def test_the_plateau_schedule_divides_as_often_as_it_was_told() -> None:
    config = TrainConfig(lr=0.01, schedule="plateau")
    assert learning_rate(config, 50, drops=0) == pytest.approx(0.01)
    assert learning_rate(config, 50, drops=2) == pytest.approx(0.0001)
