"""Anchors that count differently: weighted means as written, in the loss and in every mark beside it."""

import pytest
import torch
from torch import Tensor

from mscon import MSConLoss
from mscon.contrast import contrastive_loss
from mscon.log import TermMeans
from mscon.similarity import Categorical, Continuous, RankNContrast, Similarity
from mscon.weighting import Excess

N = 14
CODES = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, -1, 3, 0, 1, 2])
NUMBERS = CODES.double().where(CODES >= 0, float("nan")).square()
KINDS: dict[str, tuple[Similarity, Tensor]] = {
    "categorical": (Categorical(), CODES),
    "continuous": (Continuous(), NUMBERS),
    "rank_n_contrast": (RankNContrast(), NUMBERS),
}


def rows() -> Tensor:
    return torch.randn(N, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", KINDS)
def test_loss_and_marks_are_weighted_means_over_the_anchors(name: str) -> None:
    similarity, values = KINDS[name]
    weights = torch.rand(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights[3] = 0.0
    out = MSConLoss({"a": similarity}, weighting="equal")({"a": rows()}, {"a": values}, anchor_weights={"a": weights})
    losses = contrastive_loss(rows(), similarity.targets(values))
    for key in ("loss", "floor", "chance"):
        each = [float(w) * float(x) for w, x, a in zip(weights, getattr(losses, key), losses.anchors, strict=True) if a]
        total = sum(float(w) for w, a in zip(weights, losses.anchors, strict=True) if a)
        assert float(getattr(out.terms["a"], key)) == pytest.approx(sum(each) / total), key
    told = losses.anchors & (weights > 0)
    assert out.terms["a"].anchors == told.sum()
    assert float(out.terms["a"].mass) == pytest.approx(float(weights[told].sum()))


def test_only_the_ratios_of_weights_count_and_even_ones_are_none() -> None:
    weights = torch.rand(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss_fn = MSConLoss({"a": Categorical()}, weighting="equal")

    def total(weights: Tensor | None) -> Tensor:
        given = None if weights is None else {"a": weights}
        return loss_fn({"a": rows()}, {"a": CODES}, anchor_weights=given).total

    torch.testing.assert_close(total(7.0 * weights), total(weights))
    torch.testing.assert_close(total(torch.full((N,), 3.0)), total(None))
    more = weights.clone()
    more[CODES < 0] = 1e6  # no anchor, whatever it weighs
    torch.testing.assert_close(total(more), total(weights))


def test_class_weights_and_given_ones_are_multiplied() -> None:
    of_classes = torch.tensor([0.5, 2.0, 1.0, 3.0])
    weights = torch.rand(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    both = MSConLoss({"a": Categorical(of_classes)}, weighting="equal")
    plain = MSConLoss({"a": Categorical()}, weighting="equal")
    one = both({"a": rows()}, {"a": CODES}, anchor_weights={"a": weights}).total
    other = plain({"a": rows()}, {"a": CODES}, anchor_weights={"a": weights * of_classes[CODES]}).total
    torch.testing.assert_close(one, other)


def test_without_weight_there_is_no_loss_and_no_gradient() -> None:
    z = rows().requires_grad_()
    weights = {"a": torch.zeros(N)}
    out = MSConLoss({"a": Categorical()}, weighting="equal")({"a": z}, {"a": CODES}, anchor_weights=weights)
    out.total.backward()
    assert out.total == 0.0
    assert out.terms["a"].relative_excess.isnan()
    assert z.grad is not None
    assert not z.grad.any()


def test_without_weight_a_weighting_learns_nothing() -> None:
    weights = {"a": torch.zeros(N)}
    for weighting in ("uncertainty", "excess"):
        loss_fn = MSConLoss({"a": Categorical(), "b": Categorical()}, weighting=weighting)
        out = loss_fn({"a": rows(), "b": rows()}, {"a": CODES, "b": CODES}, anchor_weights=weights)
        assert out.terms["a"].anchors == 0
        if weighting == "uncertainty":
            out.total.backward()
            (log_variance,) = loss_fn.parameters()
            assert log_variance.grad is not None
            assert (log_variance.grad != 0).tolist() == [False, True]
        else:
            assert isinstance(loss_fn.weighting, Excess)
            assert loss_fn.weighting.batches[:, 0].tolist() == [0.0, 0.0, 0.0]
            assert loss_fn.weighting.batches[2, 1] > 0


def test_means_over_batches_are_weighted_as_the_anchors_are() -> None:
    means, weights = TermMeans(), [1.0, 10.0]
    loss_fn = MSConLoss({"a": Categorical()}, weighting="equal")
    losses: list[float] = []
    for seed, weight in enumerate(weights):
        z = torch.randn(N, 5, generator=torch.Generator().manual_seed(seed))
        out = loss_fn({"a": z}, {"a": CODES}, anchor_weights={"a": torch.full((N,), weight)})
        means.add(out)
        losses.append(float(out.terms["a"].loss))
    assert means.take()["a"]["loss"] == pytest.approx((losses[0] + 10.0 * losses[1]) / 11.0)


def test_weights_pass_no_gradient() -> None:
    weights = torch.rand(N, requires_grad=True)
    z = rows().requires_grad_()
    MSConLoss({"a": Categorical()})({"a": z}, {"a": CODES}, anchor_weights={"a": weights}).total.backward()
    assert weights.grad is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"b": torch.ones(N)}, r"anchor_weights names \['b'\]"),
        ({"a": torch.ones(N - 1)}, "one number for each"),
        ({"a": torch.linspace(-1.0, 1.0, N)}, r"anchor_weights\['a'\] must be numbers from 0 on, not from -1.0 to 1.0"),
        ({"a": torch.full((N,), torch.nan)}, "must be numbers from 0 on, not from nan"),
        ({"a": torch.full((N,), torch.inf)}, "must be numbers from 0 on"),
    ],
)
def test_weights_that_do_not_match_are_refused(given: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MSConLoss({"a": Categorical()})({"a": rows()}, {"a": CODES}, anchor_weights=given)


def test_a_code_without_a_class_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="class 2, where there are 2 weights"):
        Categorical(class_weights=torch.ones(2)).anchor_weights(torch.tensor([0, 2]))


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [torch.nan, 1.0], [torch.inf, 1.0]])
def test_class_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="class_weights must be numbers from 0 on"):
        Categorical(torch.tensor(weights))
