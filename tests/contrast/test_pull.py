"""pull and unit rows: equal to what autograd makes of the formulas as written."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mscon.contrast import LabelTargets, unit_rows
from mscon.contrast.pull import pull


def rows_and_targets(n: int, classes: int) -> tuple[Tensor, LabelTargets]:
    generator = torch.Generator().manual_seed(n)
    z = torch.randn(n, 6, dtype=torch.float64, generator=generator)
    return z, LabelTargets.of(torch.randint(classes, (n,), generator=generator))


@pytest.mark.parametrize(("n", "classes"), [(2, 1), (7, 3), (40, 5), (40, 40)])
@pytest.mark.parametrize("own", [slice(0, 0), slice(1, 2), slice(0, 40), slice(3, 30)])
def test_pull_is_each_row_times_its_mean_target(n: int, classes: int, own: slice) -> None:
    z, targets = rows_and_targets(n, classes)
    own = slice(*own.indices(n))
    ours, plain = z.clone().requires_grad_(), z.clone().requires_grad_()
    weights = torch.linspace(-1.0, 2.0, n, dtype=z.dtype)[own]
    values = pull(ours, targets, own)
    expected = (plain[own] * (targets.matrix(own) @ plain)).sum(dim=1)
    torch.testing.assert_close(values, expected)
    (values * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_mean_target_and_its_gradient_are_the_matrix_and_its_transpose() -> None:
    z, targets = rows_and_targets(30, 4)
    own = slice(5, 21)
    torch.testing.assert_close(targets.mean_target(z, own), targets.matrix(own) @ z)
    torch.testing.assert_close(targets.mean_target_gradient(z[own], own), targets.matrix(own).mT @ z[own])


def test_second_derivative_of_pull_is_refused() -> None:
    z, targets = rows_and_targets(6, 2)
    with pytest.raises(RuntimeError, match="take engine='dense' for second derivatives"):
        torch.autograd.grad(pull(z.requires_grad_(), targets, slice(0, 6)).sum(), z, create_graph=True)


def test_unit_rows_are_normalize_with_both_its_derivatives() -> None:
    z, _ = rows_and_targets(9, 2)
    torch.testing.assert_close(unit_rows(z), F.normalize(z, dim=1))
    assert torch.autograd.gradcheck(unit_rows, z.requires_grad_())
    assert torch.autograd.gradgradcheck(unit_rows, z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_rows_are_raised_to_float32_also_under_autocast(dtype: torch.dtype) -> None:
    z = torch.randn(5, 4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(unit_rows(z), F.normalize(z.float(), dim=1))


def test_a_row_of_zeros_stays_one() -> None:
    assert not unit_rows(torch.zeros(2, 3)).any()
