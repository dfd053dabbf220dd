"""The attentive pooling of a head, and the probe that trains it on frozen features."""

import dataclasses

import numpy as np
import pytest
import torch

from tdpn_core.config.schema import RunConfig
from tdpn_core.features.store import Features
from tdpn_core.model.heads import AttentivePooling, Head, with_changes
from tdpn_core.progress import SILENT
from tdpn_core.training.attentive_probe import fit_attentive
from tdpn_core.training.linear_probe import fit_linear


@pytest.fixture
def pooling() -> AttentivePooling:
    """With attention that depends on the tokens."""
    torch.manual_seed(0)
    made = AttentivePooling(24, width=16, heads=4)
    torch.nn.init.normal_(made.score.weight)
    return made.eval()


def test_attentive_pooling_is_cross_attention_of_one_query(pooling: AttentivePooling) -> None:
    tokens = torch.randn(3, 7, 24)
    expected = torch.empty(3, 16)
    for clip in range(3):
        for head in range(4):
            own = slice(4 * head, 4 * head + 4)
            scores = torch.stack([pooling.score.weight[head] @ token for token in tokens[clip]]) / 24**0.5
            values = torch.stack(
                [pooling.value.weight[own] @ token + pooling.value.bias[own] for token in tokens[clip]]
            )
            expected[clip, own] = (scores.exp() / scores.exp().sum()) @ values
    torch.testing.assert_close(pooling(tokens), expected)


def test_attentive_pooling_does_not_depend_on_the_order_of_tokens(pooling: AttentivePooling) -> None:
    tokens = torch.randn(3, 7, 24)
    torch.testing.assert_close(pooling(tokens[:, torch.randperm(7)]), pooling(tokens))
    assert not torch.allclose(pooling(tokens), pooling(tokens.roll(1, 2)))


def test_attentive_pooling_ignores_tokens_of_very_low_score(pooling: AttentivePooling) -> None:
    tokens, low = torch.randn(3, 7, 24), torch.linalg.lstsq(pooling.score.weight, torch.full((4, 1), -1e4)).solution
    padded = torch.cat([tokens, low.mT.expand(3, 2, 24)], 1)
    torch.testing.assert_close(pooling(padded), pooling(tokens))


def test_untrained_attentive_head_averages_the_time_steps() -> None:
    head = Head(24, {"verb": 5, "noun": 3}, 0.0, "attentive").eval()
    clip = torch.randn(2, 24, 4, 3, 3)
    found = head(clip)
    assert {name: tuple(logits.shape) for name, logits in found.items()} == {"verb": (2, 5), "noun": (2, 3)}
    attention, tokens = head.attention, with_changes(clip.mean((3, 4)))
    average = attention.value(tokens.mean(1)) if attention else tokens
    torch.testing.assert_close(found["noun"], head.linear["noun"](average))


def test_tokens_are_the_steps_and_their_mean_difference_from_neighbours() -> None:
    tokens = with_changes(torch.tensor([[[1.0, 3.0, 8.0], [0.0, 0.0, 6.0]]]))
    assert tokens.tolist() == [[[1.0, 0.0, 2.0, 0.0], [3.0, 0.0, 3.5, 3.0], [8.0, 6.0, 5.0, 6.0]]]
    assert with_changes(torch.ones(1, 2, 1)).tolist() == [[[1.0, 1.0, 0.0, 0.0]]]


def _flagged(config: RunConfig, clips: int, seed: int) -> Features:
    """Clips of two classes: the sign of channel 0 in the one time step of eight that channel 1 marks.

    The other steps cancel it, so that the average over time is equal for both classes.
    """
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(clips, 8, 16)).astype(np.float32)
    labels, marked = rng.integers(2, size=clips), rng.integers(8, size=clips)
    every = np.arange(clips)
    values[:, :, 1] = 0.0
    values[every, marked, 1] = 5.0
    values[:, :, 0] -= values[:, :, 0].mean(1, keepdims=True)
    signs = np.where(labels == 1, 3.0, -3.0)
    values[:, :, 0] -= ((signs - values[every, marked, 0]) / 7)[:, None]
    values[every, marked, 0] = signs
    assert np.abs(values[:, :, 0].mean(1)).max() < 1e-5
    data = dataclasses.replace(config.data, classes={"action": ["down", "up"]})
    return Features(
        ids=[str(clip) for clip in every],
        values=values,
        clip=every,
        start=np.zeros(clips),
        end=np.ones(clips),
        labels={"action": labels},
        config=dataclasses.replace(config, data=data),
        checkpoint="none.pt",
        weights="0",
        split="train",
    )


def test_attentive_probe_learns_what_averages_over_time_do_not_show(fresh_config: RunConfig) -> None:
    known, held_out = _flagged(fresh_config, 200, seed=0), _flagged(fresh_config, 100, seed=1)
    labels = held_out.labels["action"]
    top1 = [
        (probe.probabilities(held_out.values)["action"].argmax(1) == labels).mean()
        for probe in (fit_linear(known, 0, SILENT), fit_attentive(known, 0, SILENT))
    ]
    assert top1[0] < 0.7
    assert top1[1] > 0.9


def test_attentive_probe_of_one_seed_is_the_same(fresh_config: RunConfig) -> None:
    known = _flagged(fresh_config, 40, seed=0)
    first, again = (fit_attentive(known, 0, SILENT).weights() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
