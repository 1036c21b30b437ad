"""Class weights: what balance makes of them, and anchors that count by them."""

import pytest
import torch

from mscon import MSConLoss
from mscon.contrast import contrastive_loss
from mscon.similarity import Categorical, balanced_weights

COUNTS = torch.tensor([90, 9, 1, 0])


@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_weights_fall_with_the_size_of_a_class_and_have_a_mean_of_1_over_the_items(balance: float) -> None:
    weights = balanced_weights(COUNTS, balance)
    assert float((weights * COUNTS).sum() / COUNTS.sum()) == pytest.approx(1.0)
    torch.testing.assert_close(weights[1:3] / weights[0], torch.tensor([10.0**balance, 90.0**balance]))
    assert weights[3] == 0.0


def test_without_an_item_no_class_counts() -> None:
    assert balanced_weights(torch.zeros(3, dtype=torch.int64), 1.0).tolist() == [0.0, 0.0, 0.0]
    assert len(balanced_weights(torch.zeros(0, dtype=torch.int64), 1.0)) == 0


def test_at_balance_1_the_loss_is_the_mean_over_classes_of_each_ones_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.tensor([0] * 12 + [1] * 5 + [2] * 2 + [-1])
    z = torch.randn(len(codes), 6, generator=generator)
    similarity = Categorical(balanced_weights(torch.bincount(codes[codes >= 0]), 1.0))
    out = MSConLoss({"a": similarity}, weighting="equal")({"a": z}, {"a": codes})
    losses = contrastive_loss(z, similarity.targets(codes)).loss
    means = [losses[codes == code].mean() for code in range(3)]
    torch.testing.assert_close(out.total, torch.stack(means).mean())


def test_missing_labels_have_no_weight() -> None:
    weights = Categorical(torch.tensor([2.0, 0.5])).anchor_weights(torch.tensor([1, -1, 0, -5]))
    assert weights is not None
    assert weights.tolist() == [0.5, 0.0, 2.0, 0.0]
    assert Categorical().anchor_weights(torch.tensor([0])) is None
    of_no_class = Categorical(torch.zeros(0)).anchor_weights(torch.tensor([-1, -1]))
    assert of_no_class is not None
    assert of_no_class.tolist() == [0.0, 0.0]
