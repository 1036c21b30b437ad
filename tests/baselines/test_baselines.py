"""Losses to compare with: equal to their equations as written, and no row without a label has a say."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mscon.baselines import CrossEntropy, SummedLosses, Triplets
from mscon.baselines.triplets import _drawn
from mscon.weighting import Uncertainty
from processes import in_processes

VALUES = torch.tensor([0, 1, 2, 1, -1, 0, 2, 2, 1, -1])


def outputs(width: int, rows: int = 10, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_cross_entropy_is_the_equation() -> None:
    logits, counts = outputs(3), torch.tensor([10, 30, 60])
    found = CrossEntropy(counts)(logits, VALUES)
    for row, value in enumerate(VALUES.tolist()):
        if value < 0:
            assert not found.anchors[row]
            assert found.loss[row] == found.chance[row] == 0
        else:
            exps = logits[row].double().exp()
            assert float(found.loss[row]) == pytest.approx(-float((exps[value] / exps.sum()).log()), rel=1e-5)
            assert float(found.chance[row]) == pytest.approx(-np.log(counts[value].item() / 100))
    assert int(found.count) == 8
    assert not found.floor.any()


def test_what_ignores_the_image_has_the_loss_of_chance() -> None:
    counts = torch.tensor([10, 30, 60])
    constant = counts.double().log().float().expand(10, 3)
    found = CrossEntropy(counts)(constant, VALUES)
    torch.testing.assert_close(found.loss, found.chance)


def test_classes_that_training_lacks_are_finite() -> None:
    found = CrossEntropy(torch.tensor([5, 0]))(outputs(2, 2), torch.tensor([0, 1]))
    assert bool(found.chance.isfinite().all())


@pytest.mark.parametrize(("width", "values"), [(2, VALUES), (3, torch.full((10,), 3))])
def test_logits_and_classes_must_fit(width: int, values: Tensor) -> None:
    with pytest.raises(ValueError, match="class"):
        CrossEntropy(torch.tensor([1, 1, 1]))(outputs(width), values)


def test_triplets_are_the_equation_over_all_of_them() -> None:
    """With very many draws the mean is that over all triplets of the batch."""
    z = outputs(4)
    found = Triplets(draws=20_000)(z, VALUES, training=False)
    for row, value in enumerate(VALUES.tolist()):
        near = [each for each in range(10) if value >= 0 and VALUES[each] == value and each != row]
        far = [each for each in range(10) if value >= 0 and VALUES[each] >= 0 and VALUES[each] != value]
        assert bool(found.anchors[row]) == bool(near and far)
        if near and far:
            d = (z - z[row]).norm(dim=1)
            wanted = np.mean([max(0.0, float(d[p] - d[n]) + 0.2) for p in near for n in far])
            assert float(found.loss[row]) == pytest.approx(wanted, rel=0.03)
            assert found.chance[row] == pytest.approx(0.2)


def test_only_the_allowed_are_drawn_and_all_of_them_alike() -> None:
    allowed = torch.rand(5, 12, generator=torch.Generator().manual_seed(1)) < 0.4
    allowed[:, 0] = True
    drawn = _drawn(allowed, 60_000, torch.Generator().manual_seed(0))
    for row in range(5):
        counts = torch.bincount(drawn[row], minlength=12)
        assert not counts[~allowed[row]].any()
        share = counts[allowed[row]] / 60_000 * allowed[row].sum()
        assert bool((share - 1).abs().max() < 0.05)


def test_outside_training_triplets_stay_the_same() -> None:
    z, loss = outputs(4), Triplets()
    torch.testing.assert_close(loss(z, VALUES, training=False).loss, loss(z, VALUES, training=False).loss)
    assert not torch.equal(loss(z, VALUES, training=True).loss, loss(z, VALUES, training=True).loss)


def test_equal_distances_cost_the_margin_and_penalties_show_in_the_gradient_alone() -> None:
    z = torch.zeros(10, 4, requires_grad=True)
    found = Triplets()(z + 0.5, VALUES)
    torch.testing.assert_close(found.loss, found.chance)
    with torch.no_grad():
        plain = Triplets(sparsity=0.0, shrinkage=0.0)(z + 0.5, VALUES)
    torch.testing.assert_close(plain.loss, found.loss)
    (gradient,) = torch.autograd.grad(found.loss.sum(), z)
    wanted = (5e-4 + 2 * 5e-3 * 0.5) / 4
    torch.testing.assert_close(gradient[VALUES >= 0], torch.full((8, 4), wanted), rtol=1e-3, atol=1e-6)
    assert not gradient[VALUES < 0].any()


def test_a_batch_without_triplets_gives_zero_with_a_gradient_of_zero() -> None:
    z = outputs(4).requires_grad_()
    out = SummedLosses({"a": Triplets()})({"a": z}, {"a": torch.zeros(10, dtype=torch.int64)})
    out.total.backward()
    assert out.total == 0
    assert int(out.terms["a"].anchors) == 0
    assert z.grad is not None
    assert not z.grad.any()


def two(weighting: object = "equal") -> tuple[SummedLosses, dict[str, Tensor], dict[str, Tensor]]:
    losses = {"a": CrossEntropy(torch.tensor([1, 1, 1])), "b": CrossEntropy(torch.tensor([3, 1]))}
    values = {"a": VALUES, "b": VALUES.clamp(max=1)}
    return SummedLosses(losses, weighting=weighting), {"a": outputs(3), "b": outputs(2, seed=1)}, values  # type: ignore[arg-type]


def test_the_total_is_the_weighted_sum_of_means() -> None:
    loss_fn, logits, values = two({"a": 0.5, "b": 1.5})
    out = loss_fn(logits, values)
    each = [F.cross_entropy(logits[name][values[name] >= 0], values[name][values[name] >= 0]) for name in "ab"]
    torch.testing.assert_close(out.total, 0.5 * each[0] + 1.5 * each[1])
    assert [float(out.terms[name].weight) for name in "ab"] == [0.5, 1.5]


def test_uncertainty_is_kendalls() -> None:
    """L/σ² + log σ, as he has it."""
    weighting = Uncertainty(2, paper=True, start=0.0, penalty=0.5)
    loss_fn, logits, values = two(weighting)
    assert not weighting.log_variance.any()
    sigmas = {"a": 1.3, "b": 0.8}
    weighting.log_variance.data = 2 * torch.tensor(list(sigmas.values())).log()
    out = loss_fn(logits, values)
    wanted = sum(float(out.terms[name].loss.detach()) / sigma**2 + np.log(sigma) for name, sigma in sigmas.items())
    assert float(out.total.detach()) == pytest.approx(wanted, rel=1e-5)


def halves(rank: int) -> tuple[float, dict[str, Tensor]]:
    """The total and the logits' gradients of all rows (rank −1), or of one of two processes' uneven parts of them."""
    loss_fn, logits, values = two("uncertainty")
    mine = slice(None) if rank < 0 else (slice(0, 3), slice(3, 10))[rank]
    leaves = {name: each[mine].requires_grad_() for name, each in logits.items()}
    out = loss_fn(leaves, {name: each[mine] for name, each in values.items()})
    out.total.backward()
    return float(out.total.detach()), {name: each.grad for name, each in leaves.items() if each.grad is not None}


def test_two_processes_with_a_part_of_the_rows_each_are_one_with_all(tmp_path: Path) -> None:
    (total, gradients), parts = halves(-1), in_processes(halves, 2, tmp_path)
    assert [each for each, _ in parts] == pytest.approx([total, total])
    for name, expected in gradients.items():
        together = torch.cat([each[name] for _, each in parts]) / 2  # DistributedDataParallel's mean
        torch.testing.assert_close(together, expected)


def test_what_only_contrastive_losses_have_is_refused() -> None:
    loss_fn, logits, values = two()
    weights = {"a": torch.ones(10)}
    for more in ({"anchor_weights": weights}, {"log_variance": weights}, {"embedding": torch.ones(10, 2)}):
        with pytest.raises(ValueError, match="for MSConLoss alone"):
            loss_fn(logits, values, **more)
    with pytest.raises(ValueError, match="at least one loss"):
        SummedLosses({})


def test_weightings_that_read_contrastive_losses_are_refused() -> None:
    for weighting in ("excess", "uncertainty-exact"):
        with pytest.raises(ValueError, match="reads contrastive losses"):
            two(weighting)
