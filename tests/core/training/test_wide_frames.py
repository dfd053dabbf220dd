"""A subject that fills a wide frame is tested as it was trained: default views do not ruin a small network."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tdpn_core import recipes
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import VALIDATION_VIEWS, DataConfig, RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.evaluation.inference import score_split
from tdpn_core.evaluation.metrics import top_k
from tdpn_core.model.base import Network
from tdpn_core.recipes.auto_recipe import Facts
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.sampling.loader import TrainingLoader
from tdpn_core.training.train_step import Learner

HEIGHT, WIDTH, FRAMES = 54, 96, 4


class Poses:
    """Still clips of 16:9 with one subject over their middle three fifths: a pair of blobs, alike or not in colour.

    Which of both it is needs both ends: no crop that cuts one off can tell.
    """

    def __init__(self, count: int, first: int) -> None:
        self.ids = [f"clip-{first + number}" for number in range(count)]
        self.counts = np.full(count, FRAMES)
        self.classes = {"action": ["alike", "different"]}
        self.labels = {"action": np.arange(count) % 2}
        self._first = first

    def __len__(self) -> int:
        return len(self.ids)

    def size(self, clip: int) -> tuple[int, int]:
        return HEIGHT, WIDTH

    def decode(self, clip: int, frames: Sequence[int]) -> np.ndarray:
        rng = np.random.default_rng(self._first + clip)
        picture = rng.integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        left = int(rng.integers(2))
        right = left ^ int(self.labels["action"][clip])
        middle = HEIGHT // 2 + int(rng.integers(-6, 7))
        for place, colour in ((0.25, left), (0.75, right)):
            at = round(place * WIDTH)
            picture[middle - 10 : middle + 10, at - 5 : at + 5] = (230, 30, 30) if colour else (30, 30, 230)
        return np.stack([picture] * len(frames))


@pytest.fixture(scope="module")
def trained() -> tuple[Network, RunConfig]:
    """A small network, trained by the recipe's own settings and crops."""
    source = Poses(64, 0)
    data = DataConfig(
        path="x", dataset="folder", classes=source.classes, classes_digest="c", digest="d", short_side=HEIGHT
    )
    facts = Facts(per_class=(32, 32), frames=FRAMES, side=HEIGHT, aspect=WIDTH / HEIGHT)
    settings = {
        "model.name": "tsn",
        "model.width": "0.125",
        "model.num_frames": "1",
        "model.dropout": "0",
        "sampling.flip": "0",
        "train.ema": "0",
    }
    config, _ = recipes.configure(
        "finetune", data, facts, TrainOverrides(model="tsn", size=48, batch_size=16, settings=settings)
    )
    learner = Learner(config, source.ids, Runtime(torch.device("cpu")))
    dataset = TrainingClips(source, config.model, config.sampling, seed=0)
    loader = TrainingLoader(dataset, batch_size=16, seed=0, workers=0)
    number = 0
    for epoch in range(16):
        for batch in loader.epoch(epoch):
            learner.step(batch, number=number, lr=0.004 * (1 - epoch / 16))
            number += 1
    return learner.eval_model.eval(), config


def _top1(network: Network, config: RunConfig, views: str) -> float:
    source = Poses(64, 1000)
    scores = score_split(network, source, config, views=views, workers=0)
    return top_k(scores["action"], source.labels["action"], 1)


def test_default_views_on_a_wide_frame_give_the_validation_figure(trained: tuple[Network, RunConfig]) -> None:
    network, config = trained
    by_views = {views: _top1(network, config, views) for views in (VALIDATION_VIEWS, "2x3", config.sampling.views)}
    assert by_views[VALIDATION_VIEWS] > 0.9, "it has learned"
    assert by_views[config.sampling.views] == by_views[VALIDATION_VIEWS]
    assert by_views[config.sampling.views] >= max(by_views.values()) - 0.05


def test_crops_of_another_size_than_trained_ruin_a_small_network(trained: tuple[Network, RunConfig]) -> None:
    network, config = trained
    larger = replace(config.sampling, side_crops="short_side", short_side=round(config.model.input_size * 8 / 7))
    assert _top1(network, replace(config, sampling=larger), "2x3") < _top1(network, config, config.sampling.views) - 0.2
