"""The objective against its formula, written out."""

import math

import numpy as np
import pytest
import torch

from tdpn_core.sampling.mixup import Mix
from tdpn_core.training.loss import (
    MultilabelLoss,
    correct_clips,
    guessing_loss,
    label_counts,
    mean_loss,
    objective,
    positive_weights,
)


def _cross_entropy(logits: torch.Tensor, label: int) -> float:
    return (logits.exp().sum().log() - logits[label]).item()


def test_heads_are_averaged_and_the_auxiliary_loss_is_weighted() -> None:
    torch.manual_seed(0)
    logits = {"verb": torch.randn(2, 3), "noun": torch.randn(2, 5)}
    auxiliary = {"verb": torch.randn(2, 3), "noun": torch.randn(2, 5)}
    labels = {"verb": torch.tensor([0, 2]), "noun": torch.tensor([4, 1])}

    def mean(values: dict[str, torch.Tensor]) -> float:
        heads = [sum(_cross_entropy(values[h][i], int(labels[h][i])) for i in range(2)) / 2 for h in values]
        return sum(heads) / len(heads)

    expected = mean(logits) + 0.5 * mean(auxiliary)
    assert abs(objective(logits, auxiliary, labels, weight=0.5).item() - expected) < 1e-6
    assert abs(objective(logits, {}, labels, weight=0.5).item() - mean(logits)) < 1e-6


def test_unlabelled_clips_are_left_out_head_by_head() -> None:
    torch.manual_seed(0)
    logits = {"verb": torch.randn(3, 4), "noun": torch.randn(3, 5)}
    labels = {"verb": torch.tensor([0, -1, 2]), "noun": torch.tensor([-1, -1, -1])}
    verb = (_cross_entropy(logits["verb"][0], 0) + _cross_entropy(logits["verb"][2], 2)) / 2
    assert mean_loss(logits, labels).item() == pytest.approx(verb / 2), "a head without labels adds nothing"


def test_a_whole_batch_has_pytorchs_mean_to_the_bit() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 5, requires_grad=True), torch.tensor([0, 4, -1, 2, 2, 1, 3])
    ours = mean_loss({"action": logits}, {"action": labels})
    theirs = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-1)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


def test_smoothing_spreads_a_share_of_each_label_over_all_classes() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4), torch.tensor([0, -1, 2])
    expected = 0.0
    for row in (0, 2):
        every = sum(_cross_entropy(logits[row], label) for label in range(4)) / 4
        expected += (0.8 * _cross_entropy(logits[row], int(labels[row])) + 0.2 * every) / 2
    assert mean_loss({"a": logits}, {"a": labels}, smoothing=0.2).item() == pytest.approx(expected, abs=1e-6)


def test_parts_of_a_batch_add_up_to_its_mean() -> None:
    torch.manual_seed(0)
    logits = {"verb": torch.randn(5, 4), "noun": torch.randn(5, 6)}
    labels = {"verb": torch.tensor([0, 3, -1, 2, 1]), "noun": torch.tensor([5, -1, -1, -1, 0])}
    counts = label_counts(labels)
    assert counts == {"verb": 4, "noun": 2}

    def part(rows: slice) -> float:
        own = [{head: values[rows] for head, values in both.items()} for both in (logits, labels)]
        return objective(own[0], own[0], own[1], weight=0.5, counts=counts, smoothing=0.1).item()

    whole = objective(logits, logits, labels, weight=0.5, smoothing=0.1).item()
    assert part(slice(0, 2)) + part(slice(2, 5)) == pytest.approx(whole, abs=1e-6)


def test_mixed_clips_have_the_loss_of_both_classes_by_their_shares() -> None:
    torch.manual_seed(0)
    logits = {"verb": torch.randn(3, 4), "noun": torch.randn(3, 5)}
    auxiliary = {"verb": torch.randn(3, 4), "noun": torch.randn(3, 5)}
    labels = {"verb": torch.tensor([0, -1, 2]), "noun": torch.tensor([4, 1, 0])}
    partners = [1, 2, 0]
    mix = Mix(0.3, torch.tensor(partners), None)

    def mean(values: dict[str, torch.Tensor]) -> float:
        heads = []
        for head, rows in values.items():
            known = [int(label) for label in labels[head]]
            own = [_cross_entropy(rows[i], known[i]) for i in range(3) if known[i] >= 0]
            theirs = [_cross_entropy(rows[i], known[partners[i]]) for i in range(3) if known[partners[i]] >= 0]
            heads.append(0.3 * sum(own) / len(own) + 0.7 * sum(theirs) / len(theirs))
        return sum(heads) / 2

    expected = mean(logits) + 0.5 * mean(auxiliary)
    assert objective(logits, auxiliary, labels, weight=0.5, mix=mix).item() == pytest.approx(expected, abs=1e-6)


def _binary(logit: float, has: bool) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if has else 1 - probability)


SEVERAL = torch.tensor([[1, 0, 1], [0, 0, 0], [-1, -1, -1], [0, 1, 0]])


def test_multilabel_loss_is_the_sum_of_binary_cross_entropies_of_labelled_clips() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3)
    pairs = [(row, label) for row in (0, 1, 3) for label in range(3)]
    expected = sum(_binary(logits[row, label].item(), bool(SEVERAL[row, label])) for row, label in pairs) / 3
    assert label_counts({"a": SEVERAL}) == {"a": 3}, "a clip without any class is labelled"
    assert mean_loss({"a": logits}, {"a": SEVERAL}).item() == pytest.approx(expected, abs=1e-6)


def test_multilabel_smoothing_moves_labels_half_of_it_towards_the_other_side() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3)
    expected = 0.0
    for row in (0, 1, 3):
        for label in range(3):
            has = 0.9 if SEVERAL[row, label] else 0.1
            value = logits[row, label].item()
            expected += (has * _binary(value, True) + (1 - has) * _binary(value, False)) / 3
    assert mean_loss({"a": logits}, {"a": SEVERAL}, smoothing=0.2).item() == pytest.approx(expected, abs=1e-5)


def test_asymmetric_loss_is_its_formula_and_spares_classes_that_are_clearly_absent() -> None:
    logits = torch.tensor([[2.0, -1.0, -4.0]])
    expected = 0.0
    for value, has in zip(logits[0].tolist(), (1, 0, 0), strict=True):
        probability = 1 / (1 + math.exp(-value))
        shifted = max(probability - 0.05, 0.0)
        expected += -math.log(probability) if has else -(shifted**4) * math.log(1 - shifted)
    labels = {"a": torch.tensor([[1, 0, 0]])}
    own = MultilabelLoss("asymmetric")
    assert mean_loss({"a": logits}, labels, multilabel=own).item() == pytest.approx(expected, abs=1e-6)
    values = logits.clone().requires_grad_()
    mean_loss({"a": values}, labels, multilabel=own).backward()
    assert values.grad is not None
    assert values.grad[0, 2] == 0, "below the margin nothing pulls"


def test_positive_weights_are_the_odds_of_lacking_a_class_to_the_power_asked_for() -> None:
    labels = {"a": np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 1], [-1, -1, -1]])}
    weights = positive_weights(labels, 0.5)["a"]
    assert weights.tolist() == pytest.approx([math.sqrt(3), 1.0, 1.0]), "a class of every clip has nothing to balance"
    assert positive_weights(labels, 0.0) == {}
    logits = torch.tensor([[0.3, -0.2, 0.1]])
    weighted = MultilabelLoss("binary", {"a": torch.tensor([3.0, 1.0, 1.0])})
    expected = 3 * _binary(0.3, True) + _binary(-0.2, False) + _binary(0.1, True)
    rows = {"a": torch.tensor([[1, 0, 1]])}
    assert mean_loss({"a": logits}, rows, multilabel=weighted).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["binary", "asymmetric"])
def test_parts_of_a_multilabel_batch_add_up_to_its_mean(kind) -> None:
    torch.manual_seed(0)
    logits, labels = {"a": torch.randn(4, 3)}, {"a": SEVERAL}
    counts, own = label_counts(labels), MultilabelLoss(kind)
    parts = [
        mean_loss({"a": logits["a"][part]}, {"a": SEVERAL[part]}, counts=counts, multilabel=own).item()
        for part in (slice(0, 1), slice(1, 4))
    ]
    assert sum(parts) == pytest.approx(mean_loss(logits, labels, multilabel=own).item(), abs=1e-6)


def test_mixed_multilabel_clips_have_the_loss_of_both_sets_of_classes() -> None:
    torch.manual_seed(0)
    logits, labels = {"a": torch.randn(2, 3)}, {"a": SEVERAL[:2]}
    mix = Mix(0.7, torch.tensor([1, 0]), None)
    own, theirs = (mean_loss(logits, {"a": rows}).item() for rows in (SEVERAL[:2], SEVERAL[:2].flip(0)))
    loss = objective(logits, {}, labels, weight=0.5, mix=mix).item()
    assert loss == pytest.approx(0.7 * own + 0.3 * theirs, abs=1e-6)


def test_guessing_every_class_with_one_half_has_the_guessing_loss() -> None:
    loss = mean_loss({"a": torch.zeros(4, 3)}, {"a": SEVERAL}).item()
    assert guessing_loss({"a": 3}, weight=0.5, auxiliary=False, multilabel=True) == pytest.approx(loss)


def test_first_class_is_right_if_it_is_any_of_the_clips() -> None:
    logits = {"a": torch.tensor([[0.1, 0.0, 0.9], [0.1, 0.0, 0.9], [9.0, 0.0, 0.0], [0.0, 0.0, 1.0]])}
    assert correct_clips(logits, {"a": SEVERAL}).item() == 1
