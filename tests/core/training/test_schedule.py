"""The learning rate where training stands."""

import pytest

from tdpn_core.checkpoint import TrainingState
from tdpn_core.config.schema import TrainConfig
from tdpn_core.training.optim import is_over, learning_rate


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


def test_a_run_ends_early_when_nothing_got_better_for_so_many_epochs() -> None:
    results = [(0.5, 1.0), (0.6, 1.0), (0.6, 0.9), (0.6, 0.9), (0.4, 0.8)]  # the third is better by its loss

    def over(epochs: int, **settings: int) -> bool:
        history = [{"val_top1": top1, "val_loss": loss, "top1": 0.0, "loss": 0.0} for top1, loss in results[:epochs]]
        state = TrainingState(epoch=epochs, history=history)
        return is_over(TrainConfig(epochs=9, milestones=(), **settings), state)

    assert [over(epochs, stop_after=2) for epochs in range(6)] == [False] * 5 + [True]
    assert over(4, stop_after=1)
    assert not over(5)
    assert is_over(TrainConfig(epochs=5, milestones=()), TrainingState(epoch=5))
