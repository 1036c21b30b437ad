"""Targets among types: what they are by definition, and that sums over types give the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mscon.contrast import contrastive_loss
from mscon.contrast.type_targets import TypeTargets

SETS = [(0,), (0, 1), (1, 2), (3,), (0, 1, 2), (4, 5), (5,)]


def memberships(sets: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    members = [number for number, groups in enumerate(sets) for _ in groups]
    return torch.tensor(members), torch.tensor([group for groups in sets for group in groups])


def by_groups(n: int, seed: int = 0) -> tuple[TypeTargets, Tensor]:
    """Targets of n rows with the sets above, and q pair by pair from the definition."""
    generator = torch.Generator().manual_seed(seed)
    types = torch.cat([torch.arange(len(SETS)), torch.randint(len(SETS), (n - len(SETS),), generator=generator)])
    members, groups = memberships(SETS)
    weights = torch.rand(6, generator=generator, dtype=torch.float64)[groups]
    rows = torch.arange(n) * 2
    targets = TypeTargets.of_groups(rows, types, members, groups, weights, batch=2 * n)
    tags = [set(SETS[t]) for t in types.tolist()]
    weight = {int(group): float(each) for group, each in zip(groups, weights, strict=True)}
    sizes = {group: sum(group in each for each in tags) for group in weight}
    q = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        total = sum(weight[g] for g in tags[i] if sizes[g] > 1)
        for j in range(n):
            if i != j and total > 0:
                q[i, j] = sum(weight[g] / total / (sizes[g] - 1) for g in tags[i] & tags[j])
    return targets, q


@pytest.mark.parametrize("n", [7, 12, 60])
def test_groups_share_each_anchor_out_by_weight_and_then_evenly(n: int) -> None:
    targets, q = by_groups(n)
    torch.testing.assert_close(targets.matrix(), q)
    some = q.sum(dim=1) > 0
    torch.testing.assert_close(q.sum(dim=1)[some], torch.ones(int(some.sum()), dtype=torch.float64))
    assert torch.equal(targets.anchors, some)
    torch.testing.assert_close(targets.floor, -torch.xlogy(q, q).sum(dim=1))


@pytest.mark.parametrize("own", [slice(None), slice(3, 9), slice(0, 0)])
def test_mean_target_and_its_gradient_are_the_matrix_and_its_transpose(own: slice) -> None:
    targets, q = by_groups(30)
    z = torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(targets.matrix(own), q[own])
    torch.testing.assert_close(targets.mean_target(z, own), q[own] @ z)
    torch.testing.assert_close(targets.mean_target_gradient(z[own], own), q[own].mT @ z[own])


@pytest.mark.parametrize("sparse", [False, True])
def test_a_matrix_is_scaled_row_by_row_and_never_counts_the_anchor(sparse: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    v = torch.rand(4, 4, generator=generator) * (torch.rand(4, 4, generator=generator) < 0.6)
    v[3] = 0.0
    types = torch.tensor([0, 1, 2, 3, 0, 0, 2])
    targets = TypeTargets.of_matrix(torch.arange(7), types, v.to_sparse() if sparse else v, batch=7)
    q = v.double()[types][:, types].fill_diagonal_(0.0)
    q = q / q.sum(dim=1, keepdim=True).where(q.sum(dim=1, keepdim=True) > 0, 1.0)
    torch.testing.assert_close(targets.matrix(), q)
    torch.testing.assert_close(targets.floor, -torch.xlogy(q, q).sum(dim=1))
    assert torch.equal(targets.anchors, q.sum(dim=1) > 0)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("bad", [-1.0, torch.nan, torch.inf])
def test_a_matrix_of_no_likeness_is_refused(bad: float, sparse: bool) -> None:
    v = torch.eye(3)
    v[0, 1] = bad
    with pytest.raises(ValueError, match="how alike 3 types are takes as many rows and columns of numbers from 0 on"):
        TypeTargets.of_matrix(torch.arange(3), torch.arange(3), v.to_sparse() if sparse else v, batch=3)
    with pytest.raises(ValueError, match=r"not \(2, 2\)"):
        TypeTargets.of_matrix(torch.arange(3), torch.arange(3), torch.eye(2), batch=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_engines_agree(dtype: torch.dtype) -> None:
    targets, _ = by_groups(300)
    z = torch.randn(600, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    results = []
    for engine in ("dense", "tiled"):
        leaf = z.clone().requires_grad_()
        losses = contrastive_loss(leaf, targets, engine=engine)  # pyright: ignore[reportArgumentType]
        assert (losses.loss >= losses.floor - 1e-5).all()
        losses.loss.square().mean().backward()
        results.append((losses.loss.detach(), leaf.grad))
    exact = dtype == torch.float64
    torch.testing.assert_close(results[0], results[1], rtol=1e-10 if exact else 1e-4, atol=1e-10 if exact else 1e-6)


def test_without_a_group_in_common_there_are_no_anchors() -> None:
    members, groups = memberships([(0,), (1,), (2,)])
    targets = TypeTargets.of_groups(torch.arange(3), torch.arange(3), members, groups, torch.ones(3), batch=3)
    z = torch.randn(3, 4, requires_grad=True)
    losses = contrastive_loss(z, targets)
    losses.mean.backward()
    assert losses.count == 0
    assert z.grad is not None
    assert not z.grad.any()


@pytest.mark.parametrize("layout", [torch.Tensor.to_dense, torch.Tensor.to_sparse])
@pytest.mark.parametrize("much", [1.0, 1e8, 1e30])
def test_what_a_row_has_in_common_with_itself_leaves_no_rounding_behind(
    layout: Callable[[Tensor], Tensor], much: float
) -> None:
    v = torch.rand(30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v.diagonal().fill_(0.0)
    types, z = torch.arange(30), torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    plain, beside = (
        TypeTargets.of_matrix(types, types, layout(each), batch=30)
        for each in (v, v + much * torch.eye(30, dtype=torch.float64))
    )
    assert torch.equal(beside.matrix(), plain.matrix())
    assert torch.equal(beside.floor, plain.floor)
    torch.testing.assert_close(beside.mean_target(z), plain.matrix().float() @ z)
