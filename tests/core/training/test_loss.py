"""The objective against its formula, written out."""

import pytest
import torch

from tdpn_core.sampling.mixup import Mix
from tdpn_core.training.loss import label_counts, mean_cross_entropy, objective


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
    assert mean_cross_entropy(logits, labels).item() == pytest.approx(verb / 2), "a head without labels adds nothing"


def test_a_whole_batch_has_pytorchs_mean_to_the_bit() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 5, requires_grad=True), torch.tensor([0, 4, -1, 2, 2, 1, 3])
    ours = mean_cross_entropy({"action": logits}, {"action": labels})
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
    assert mean_cross_entropy({"a": logits}, {"a": labels}, smoothing=0.2).item() == pytest.approx(expected, abs=1e-6)


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
