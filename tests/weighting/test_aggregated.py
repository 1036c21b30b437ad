"""Weights from gradients: inner products as written, no similarity harmed, through the objective and a training."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mscon import MSConLoss
from mscon.similarity import Categorical
from mscon.terms import BatchTerms
from mscon.weighting import Aggregated, Aggregator, gradient_products
from processes import in_processes

NAMES = ("a", "b", "c")
CONFLICT = torch.tensor([[1.0, -0.5, -0.6], [-0.5, 2.0, -0.7], [-0.6, -0.7, 3.0]], dtype=torch.float64)


def batch(seed: int = 0) -> tuple[Tensor, nn.ModuleDict, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(24, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    heads = nn.ModuleDict({name: nn.Linear(6, 4).double() for name in NAMES})
    labels = {name: torch.randint(0, 3, (24,), generator=generator) for name in NAMES}
    return h, heads, labels


def test_products_are_those_of_the_gradients_one_by_one() -> None:
    h, heads, labels = batch()
    loss_fn = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting="equal")
    losses = [term.loss for term in loss_fn({n: heads[n](h) for n in NAMES}, labels).terms.values()]
    each = [torch.autograd.grad(loss, h, retain_graph=True)[0] for loss in losses]
    expected = torch.stack([torch.stack([(a * b).sum() for a in each]) for b in each])
    torch.testing.assert_close(gradient_products(losses, h), expected)


def test_no_similarity_is_harmed_at_the_embedding_by_upgrad() -> None:
    pytest.importorskip("torchjd")
    h, heads, labels = batch()
    labels["c"] = labels["a"].roll(7)
    z = {n: heads[n](h) for n in NAMES}
    out = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting="UPGrad")(z, labels, embedding=h)
    (total,) = torch.autograd.grad(out.total, h, retain_graph=True)
    weights = torch.stack([term.weight for term in out.terms.values()])
    assert float(weights.sum()) == pytest.approx(3.0)
    for term in out.terms.values():
        (own,) = torch.autograd.grad(term.loss, h, retain_graph=True)
        assert float((own * total).sum()) >= -1e-6 * float(own.norm() * total.norm())


def test_a_function_of_ones_own_is_an_aggregator_and_its_weights_sum_to_the_count() -> None:
    h, heads, labels = batch()
    weighting = Aggregated(3, lambda products: products.diag().rsqrt())
    loss_fn = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting=weighting)
    out = loss_fn({n: heads[n](h) for n in NAMES}, labels, embedding=h)
    lengths = [float(torch.autograd.grad(term.loss, h, retain_graph=True)[0].norm()) for term in out.terms.values()]
    expected = torch.tensor([1 / length for length in lengths], dtype=torch.float64)
    weights = torch.stack([term.weight for term in out.terms.values()])
    torch.testing.assert_close(weights, expected * (3 / expected.sum()))


@pytest.mark.parametrize("useless", [0.0, float("nan")])
def test_where_the_aggregator_has_no_answer_all_are_trusted_alike(useless: float) -> None:
    h, heads, labels = batch()
    weighting = Aggregated(3, lambda products: torch.full_like(products.diag(), useless))
    loss_fn = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting=weighting)
    out = loss_fn({n: heads[n](h) for n in NAMES}, labels, embedding=h)
    assert [float(term.weight) for term in out.terms.values()] == [1.0, 1.0, 1.0]


def test_without_the_embedding_it_says_what_it_needs() -> None:
    h, heads, labels = batch()
    loss_fn = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting=Aggregated(3, lambda p: p.diag()))
    z = {n: heads[n](h) for n in NAMES}
    with pytest.raises(ValueError, match="needs the embedding"):
        loss_fn(z, labels)
    with torch.no_grad():  # no gradients to weigh
        assert loss_fn({n: heads[n](h) for n in NAMES}, labels).total.isfinite()
    assert loss_fn.eval()(z, labels).total.isfinite(), "nor in an evaluation"


@pytest.mark.parametrize("name", ["UPGrad", "DualProj", "MGDA", "PCGrad", "AlignedMTL", "IMTLG"])
def test_the_scale_of_the_gradients_changes_no_weight(name: Aggregator) -> None:
    pytest.importorskip("torchjd")
    terms = BatchTerms(*torch.ones(3, 3), anchors=torch.ones(3, dtype=torch.int64), mass=torch.ones(3))
    weights = [Aggregated(3, name)(terms, scale * CONFLICT).weight for scale in (1.0, 1e-9)]
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-3)
    assert float((weights[0] - 1.0).abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["UPGrad", "MGDA"])
def test_a_similarity_without_anchors_leaves_the_others_their_weights(name: Aggregator) -> None:
    pytest.importorskip("torchjd")
    h, heads, labels = batch()
    z = {n: heads[n](h) for n in NAMES}
    pair = MSConLoss(dict.fromkeys("ab", Categorical()), weighting=name)
    alone = pair({n: z[n] for n in "ab"}, {n: labels[n] for n in "ab"}, embedding=h).terms
    labels["c"][:] = -1
    out = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting=name)(z, labels, embedding=h)
    assert float(out.terms["c"].weight) == 1.0
    for each in "ab":
        torch.testing.assert_close(out.terms[each].weight, alone[each].weight)
    (gradient,) = torch.autograd.grad(out.total, h)
    assert gradient.norm() > 0


def test_what_is_drawn_by_lot_is_drawn_alike_everywhere_and_nothing_else_for_it() -> None:
    pytest.importorskip("torchjd")
    terms = BatchTerms(*torch.ones(3, 3), anchors=torch.ones(3, dtype=torch.int64), mass=torch.ones(3))
    weights: list[Tensor] = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before, weighting = torch.get_rng_state(), Aggregated(3, "PCGrad")
        weights.append(torch.stack([weighting(terms, CONFLICT).weight for _ in range(4)]))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*weights)
    assert len(weights[0].unique(dim=0)) > 1, "another order every time"


def test_an_evaluation_shows_the_last_weights_of_training() -> None:
    h, heads, labels = batch()
    loss_fn = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting=Aggregated(3, lambda products: products.diag()))
    used = [float(each.weight) for each in loss_fn({n: heads[n](h) for n in NAMES}, labels, embedding=h).terms.values()]
    with torch.no_grad():
        shown = loss_fn({n: heads[n](h) for n in NAMES}, labels).terms.values()
    assert [float(each.weight) for each in shown] == used
    assert max(used) > 1.0
    others = dict.fromkeys(NAMES, labels["a"])
    shown = loss_fn.eval()({n: heads[n](h) for n in NAMES}, others, embedding=h).terms.values()
    assert [float(each.weight) for each in shown] == used, "with gradients too"
    assert loss_fn.state_dict()["weighting.calls"] == 1


def shared_out(rank: int) -> list[float]:
    """MGDA's weights for a batch of which each of two processes has half; rank −1 has all of it."""
    torch.manual_seed(0)
    h, heads, labels = batch()
    if rank >= 0:
        own = slice(12 * rank, 12 * (rank + 1))
        h, labels = h.detach()[own].requires_grad_(), {name: each[own] for name, each in labels.items()}
    loss_fn = MSConLoss(dict.fromkeys(NAMES, Categorical()), weighting="MGDA", gather_distributed=True)
    out = loss_fn({n: heads[n](h) for n in NAMES}, labels, embedding=h)
    return [float(term.weight) for term in out.terms.values()]


def test_two_processes_trust_as_one_does(tmp_path: Path) -> None:
    pytest.importorskip("torchjd")
    expected = shared_out(-1)
    assert max(expected) - min(expected) > 0.05
    for weights in in_processes(shared_out, 2, tmp_path):
        assert weights == pytest.approx(expected, rel=1e-6)
