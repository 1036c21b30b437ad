"""The shape of representations: each figure against its equation as written, its invariances, and its ends."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mscon.evaluate import geometry
from mscon.evaluate.geometry import cosines, effective_rank, linear_cka, uniformity
from mscon.weighting import gradient_products


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def products_of(losses: Callable[[Tensor], dict[str, Tensor]], h: Tensor) -> Tensor:
    h = h.clone().requires_grad_()
    return gradient_products(list(losses(h).values()), h)


def turn(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(draw(d, d, seed=seed)).Q


def hsic(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate of Song et al. 2012, as written."""
    n, one = len(x), torch.ones(len(x), dtype=torch.float64)
    k, m = (each @ each.T * (1 - torch.eye(n)) for each in (x, y))
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return ((k @ m).trace() + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def test_cka_is_that_of_the_unbiased_estimates_as_written() -> None:
    x, y = draw(40, 7), draw(40, 3, seed=1) + draw(40, 7)[:, :3] + 5
    expected = float(hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt())
    assert 0.1 < expected < 0.9
    assert linear_cka(x, y) == pytest.approx(expected)
    assert linear_cka(y, x) == pytest.approx(expected)


def biased_cka(x: Tensor, y: Tensor) -> float:
    """As if the items were the whole: Kornblith et al. 2019, eq. 3."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


@pytest.mark.parametrize("items", [24, 60, 200, 2000])
def test_cka_of_independent_rows_is_about_0_however_few_they_are(items: int) -> None:
    pairs = [[F.normalize(draw(items, 128, seed=2 * seed + each)) for each in (0, 1)] for seed in range(20)]
    found, as_the_whole = (sum(cka(*pair) for pair in pairs) / 20 for cka in (linear_cka, biased_cka))
    assert found < 0.06
    assert as_the_whole == pytest.approx(1 / (1 + items / 128), abs=0.03)


def test_cka_of_many_items_is_that_of_the_whole() -> None:
    x = draw(20000, 4)
    y = x[:, :2] + draw(20000, 2, seed=1)
    assert linear_cka(x, y) == pytest.approx(biased_cka(x, y), abs=1e-3)


def test_cka_knows_neither_rotation_nor_shift_nor_scale_nor_the_items_order() -> None:
    x = draw(40, 7)
    y = x[:, :5] + draw(40, 5, seed=1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    assert linear_cka(x, 3 * x @ turn(7, 3) + 100) == pytest.approx(1.0)
    assert 0.1 < linear_cka(x, y) == pytest.approx(linear_cka(x[order], (y @ turn(5, 4) - 9)[order]))
    assert linear_cka(x, x @ draw(7, 7, seed=5)) < 0.99  # but any other linear map it knows


def test_cka_of_parts_that_do_not_go_together_is_0_and_of_a_point_is_undefined() -> None:
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(4.0))
    assert linear_cka(grid[:, :1], grid[:, 1:]) == 0.0
    assert math.isnan(linear_cka(grid, torch.full((20, 3), 0.1)))
    assert math.isnan(linear_cka(grid, torch.eye(20))), "each as far from any as from any other"
    assert math.isnan(linear_cka(grid[:3], grid[:3]))


def test_effective_rank_counts_directions_of_equal_variance() -> None:
    x = torch.cat([torch.eye(6), -torch.eye(6)]) @ turn(6, 0).float()
    assert effective_rank(x) == pytest.approx(6.0)
    assert effective_rank(x[:, :1] * torch.ones(1, 50)) == pytest.approx(1.0)
    assert effective_rank(7 * x + 3) == pytest.approx(6.0, rel=1e-4)


def test_effective_rank_is_the_exponential_of_the_entropy_of_the_covariances_eigenvalues() -> None:
    x = draw(50, 4) @ torch.diag(torch.tensor([5.0, 2.0, 1.0, 0.1], dtype=torch.float64))
    shares = torch.linalg.eigvalsh(torch.cov(x.T))
    shares = shares / shares.sum()
    assert effective_rank(x) == pytest.approx(float((-(shares * shares.log()).sum()).exp()))
    assert effective_rank(draw(10, 200)) < 9  # no more directions than differences


def test_effective_rank_of_one_point_is_0_whatever_float32_leaves_of_it() -> None:
    point = draw(1, 512).float() * 100
    rounded = point * (1 + 1e-7 * draw(300, 512).float())
    assert not torch.equal(rounded[0], rounded[1])
    assert effective_rank(rounded) == 0.0
    assert math.isnan(linear_cka(rounded, draw(300, 3).float()))
    assert effective_rank(point * (1 + 1e-3 * draw(300, 512).float())) > 100


def test_uniformity_is_the_logarithm_of_the_mean_potential_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    z = F.normalize(draw(30, 5))
    squares = torch.cdist(z, z).square()[~torch.eye(30, dtype=torch.bool)]
    expected = float((-2 * squares).exp().mean().log())
    assert uniformity(z) == pytest.approx(expected)
    assert uniformity(4 * z) == pytest.approx(expected)
    monkeypatch.setattr(geometry, "CHUNK", 8 * 30 * 7)  # seven rows at a time, and two in the end
    assert uniformity(z) == pytest.approx(expected)


def test_uniformity_of_a_point_of_clusters_and_of_the_whole_sphere() -> None:
    assert uniformity(torch.ones(20, 4)) == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(uniformity(torch.ones(1, 4)))
    clusters = torch.eye(4, dtype=torch.float64).repeat_interleave(500, dim=0)
    assert uniformity(clusters) == pytest.approx(math.log((499 + 1500 * math.exp(-4)) / 1999))
    assert uniformity(draw(2000, 64)) == pytest.approx(-4 + 8 / 64, abs=0.02)


def test_gradient_products_are_those_of_finite_differences() -> None:
    h, step = draw(5, 3), 1e-6
    maps = {"a": draw(3, 2, seed=1), "b": draw(3, 4, seed=2)}

    def losses(h: Tensor) -> dict[str, Tensor]:
        return {name: (h @ each).tanh().square().mean() for name, each in maps.items()}

    numbers = torch.zeros(2, 15, dtype=torch.float64)
    for place in range(15):
        nudge = torch.zeros(15, dtype=torch.float64).index_fill(0, torch.tensor(place), step).view(5, 3)
        up, down = losses(h + nudge), losses(h - nudge)
        numbers[:, place] = torch.stack([(up[name] - down[name]) / (2 * step) for name in maps])
    torch.testing.assert_close(products_of(losses, h), numbers @ numbers.T, rtol=1e-6, atol=1e-12)


def test_cosines_tell_helping_from_harming_and_know_no_weights() -> None:
    target = draw(6, 3)

    def losses(h: Tensor) -> dict[str, Tensor]:
        near = (h - target).square().sum()
        return {"near": near, "same": 7 * near, "far": -near, "apart": h[:, 0].sum() * 0 + (h[:2] ** 2).sum()} | {
            "idle": torch.zeros((), requires_grad=True) + 0
        }

    with torch.inference_mode():
        h = draw(6, 3, seed=1)
    found = cosines(products_of(losses, h))
    assert found[0, 1] == pytest.approx(1.0)
    assert found[0, 2] == pytest.approx(-1.0)
    assert abs(found[0, 3]) < 0.9
    assert found[4].isnan().all()
    assert not found[:4, :4].isnan().any()


def test_products_of_batches_add_up_to_those_of_all_items() -> None:
    h = draw(8, 3)
    maps = draw(2, 3, seed=1)

    def losses(h: Tensor) -> dict[str, Tensor]:
        return {str(place): (h @ each).square().sum() for place, each in enumerate(maps)}

    parts = products_of(losses, h[:5]) + products_of(losses, h[5:])
    torch.testing.assert_close(parts, products_of(losses, h))
