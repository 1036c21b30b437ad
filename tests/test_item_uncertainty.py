"""Uncertainty of items: what teaches the head, and what reaches the encoder."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mscon import Categorical, Instance, MSConLoss, contrastive_loss
from mscon.contrast import AnchorLosses, LabelTargets
from mscon.errors import UserError
from mscon.item_uncertainty import LARGEST, heteroscedastic, item_weights
from mscon.recipe import Recipe
from mscon.train import train
from processes import in_processes


def batch(rows: int = 40, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Projections that know their class, and its labels, of which some are wrong and the last is missing."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % classes
    z = torch.nn.functional.one_hot(labels, 6).double() + 0.1 * torch.randn(
        rows, 6, generator=generator, dtype=torch.float64
    )
    labels[:3] = (labels[:3] + 1) % classes
    labels[-1] = -1
    return z.requires_grad_(), labels


def losses_of(z: Tensor, labels: Tensor) -> AnchorLosses:
    return contrastive_loss(z, LabelTargets.of(labels), temperature=0.2)


def test_the_heads_loss_is_least_at_the_mean_relative_excess() -> None:
    losses = losses_of(*batch())
    relative = ((losses.loss - losses.floor) / (losses.chance - losses.floor))[losses.anchors].detach()
    log_variance = torch.zeros((), dtype=torch.float64, requires_grad=True)
    best = torch.tensor(relative.mean().log().item(), dtype=torch.float64, requires_grad=True)
    for at, expected in ((best, 0.0), (log_variance, float(1 - relative.mean()))):
        heteroscedastic(losses, at.expand(40)).sum().div(len(relative)).backward()
        assert at.grad is not None
        assert float(at.grad) == pytest.approx(expected, abs=1e-9)
    assert float(heteroscedastic(losses, torch.zeros(40, dtype=torch.float64))[-1].detach()) == 0.0


def test_beyond_its_bound_log_variance_is_taken_at_it_and_can_come_back() -> None:
    losses = losses_of(*batch())
    far = torch.full((40,), LARGEST + 3.0, dtype=torch.float64, requires_grad=True)
    value = heteroscedastic(losses, far)
    torch.testing.assert_close(value, heteroscedastic(losses, torch.full((40,), LARGEST, dtype=torch.float64)))
    value.sum().backward()
    assert far.grad is not None
    assert (far.grad[losses.anchors] > 0).all()


def test_log_variance_learns_and_the_encoder_does_not_hear_of_it() -> None:
    z, labels = batch()
    loss_fn = MSConLoss({"a": Categorical(), "b": Instance()}, temperature=0.2, weighting="equal").double()
    values = {"a": labels, "b": torch.arange(20).repeat(2)}
    (plain,) = torch.autograd.grad(loss_fn({"a": z, "b": z}, values).total, z)
    log_variance = torch.zeros(40, dtype=torch.float64, requires_grad=True)
    out = loss_fn({"a": z, "b": z}, values, log_variance={"a": log_variance})
    got, taught = torch.autograd.grad(out.total, [z, log_variance])
    torch.testing.assert_close(got, plain)
    losses = losses_of(z, labels)
    relative = (losses.loss - losses.floor) / (losses.chance - losses.floor).clamp(min=1e-3)
    expected = ((1.0 - relative) * losses.anchors / losses.count).detach()
    torch.testing.assert_close(taught, expected)
    torch.testing.assert_close(out.total, loss_fn({"a": z, "b": z}, values).total)


def test_names_and_lengths_that_do_not_match_are_refused() -> None:
    z, labels = batch()
    loss_fn = MSConLoss({"a": Categorical()})
    with pytest.raises(ValueError, match="log_variance names"):
        loss_fn({"a": z}, {"a": labels}, log_variance={"b": z[:, 0]})
    with pytest.raises(ValueError, match="one number for each of the 40 rows"):
        loss_fn({"a": z}, {"a": labels}, log_variance={"a": z[:7, 0]})


def test_anchors_of_which_nothing_is_told_apart_teach_nothing() -> None:
    z, labels = batch()
    losses = losses_of(z, torch.zeros_like(labels))
    log_variance = torch.zeros(40, dtype=torch.float64, requires_grad=True)
    value = heteroscedastic(losses, log_variance)
    value.sum().backward()
    assert losses.anchors.all()
    assert not value.any()
    assert log_variance.grad is not None
    assert not log_variance.grad.any()


def test_a_step_of_the_encoder_is_the_same_with_an_uncertainty_head(tiny: dict, tmp_path: Path) -> None:
    change = {"training.epochs": 1, "training.clip": 0.1, "objective.weighting": "equal", "training.batch_size": 64}
    runs = [
        train(Recipe.of(tiny, change | {"objective.item_uncertainty": given}), tmp_path / f"{given}")
        for given in (False, True)
    ]
    plain, beside = (run.model().state_dict() for run in runs)
    for name, value in plain.items():
        assert torch.equal(value, beside[name]), name


def taught(rank: int) -> tuple[Tensor, ...]:
    """The gradients of z and of log σ² on all 40 rows, or on this process's half of them."""
    z, labels = batch()
    mine = slice(None) if rank < 0 else slice(20 * rank, 20 * rank + 20)
    z, log_variance = z.detach()[mine].requires_grad_(), torch.zeros(40, dtype=torch.float64)[mine].requires_grad_()
    loss_fn = MSConLoss({"a": Categorical()}, temperature=0.2, weighting="equal", gather_distributed=rank >= 0)
    total = loss_fn({"a": z}, {"a": labels[mine]}, log_variance={"a": log_variance}).total
    return torch.autograd.grad(total, (z, log_variance))


def test_averaged_over_two_processes_the_heads_gradient_is_that_of_one(tmp_path: Path) -> None:
    halves, whole = in_processes(taught, 2, tmp_path), taught(-1)
    for each in range(2):  # what a row's process says of it; the other one says 0, and DDP halves the sum
        found = torch.cat([half[each] for half in halves]) / 2
        torch.testing.assert_close(found, whole[each])


def test_items_weigh_by_their_uncertainty_and_an_even_one_changes_nothing() -> None:
    weights = item_weights(torch.tensor([-50.0, 0.0, 1.0], requires_grad=True))
    assert not weights.requires_grad
    torch.testing.assert_close(weights, 1.0 / (0.1 + torch.tensor([-LARGEST, 0.0, 1.0]).exp()))
    z, labels = batch()
    loss_fn = MSConLoss({"a": Categorical()}, weighting="equal").double()
    even = item_weights(torch.full((40,), 0.3, dtype=torch.float64))
    out = loss_fn({"a": z}, {"a": labels}, anchor_weights={"a": even})
    torch.testing.assert_close(out.total, loss_fn({"a": z}, {"a": labels}).total)


def test_a_run_that_weighs_its_items_takes_other_steps(tiny: dict, tmp_path: Path) -> None:
    change = {"training.epochs": 2, "objective.weighting": "equal", "objective.item_uncertainty": True}
    runs = [
        train(Recipe.of(tiny, change | {"objective.item_weights": given}), tmp_path / f"{given}")
        for given in (False, True)
    ]
    plain, weighed = (run.model().state_dict() for run in runs)
    assert any(not torch.equal(value, weighed[name]) for name, value in plain.items() if name.startswith("encoder"))
    assert all(value.isfinite().all() for value in weighed.values())
    with pytest.raises(UserError, match=r"set objective\.item_uncertainty"):
        Recipe.of(tiny, {"objective.item_weights": True})
