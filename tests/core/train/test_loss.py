"""The objective against its formula, written out."""

import torch

from tdpn_core.train.loss import objective


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
