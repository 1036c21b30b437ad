"""Kernel targets: the definition, engines that agree with it, far anchors, circles, missing values."""

import math
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon.contrast import Head, RankTargets, contrastive_loss, contrastive_losses, push
from mscon.contrast.kernel_targets import KernelTargets

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def textbook(values: list[float], bandwidth: float, period: float | None) -> Tensor:
    """q pair by pair, in plain Python."""
    known = [value for value in values if not math.isnan(value)]
    q = torch.zeros(len(known), len(known), dtype=torch.float64)
    for i, v in enumerate(known):
        gaps = {j: abs(v - w) for j, w in enumerate(known) if j != i}
        if period is not None:
            gaps = {j: min(abs(v - known[j]) % period, period - abs(v - known[j]) % period) for j in gaps}
        if not gaps:
            continue
        least = min(gaps.values())
        if least > 11 * bandwidth:
            kernel = {j: 1.0 if gap == least else 0.0 for j, gap in gaps.items()}
        else:
            kernel = {j: math.exp(-(gap**2) / (2 * bandwidth**2)) for j, gap in gaps.items()}
        for j, k in kernel.items():
            q[i, j] = k / sum(kernel.values())
    return q


VALUES = [0.0, 0.1, 0.1, 0.35, 0.5, float("nan"), 0.9, 0.97, 0.75]


@pytest.mark.parametrize("bandwidth", [0.003, 0.02, 0.1, 3.0])
@pytest.mark.parametrize("period", [None, 1.0])
def test_targets_are_the_textbooks(bandwidth: float, period: float | None) -> None:
    targets = KernelTargets.of(torch.tensor(VALUES, dtype=torch.float64), bandwidth=bandwidth, period=period)
    q = textbook(VALUES, bandwidth, period)
    torch.testing.assert_close(targets.matrix(), q, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(targets.floor, -torch.xlogy(q, q).sum(dim=1), rtol=1e-9, atol=1e-12)
    assert targets.rows.tolist() == [0, 1, 2, 3, 4, 6, 7, 8]
    assert targets.anchors.all()


def result(z: Tensor, targets: KernelTargets, engine: str, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    losses = contrastive_loss(leaf, targets, temperature=temperature, engine=engine)  # pyright: ignore[reportArgumentType]
    (losses.loss * torch.linspace(0.5, 1.5, len(z), dtype=z.dtype)).mean().backward()
    assert leaf.grad is not None
    return losses.loss.detach(), losses.floor, leaf.grad


@pytest.mark.parametrize("n", [2, 3, 40, 600, 1100])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("bandwidth", "period"), [(1e-4, None), (0.05, None), (0.05, 1.0), (2.0, None)])
def test_tiled_equals_dense(n: int, temperature: float, bandwidth: float, period: float | None) -> None:
    generator = torch.Generator().manual_seed(n)
    z = torch.randn(n, 8, dtype=torch.float64, generator=generator)
    values = torch.rand(n, dtype=torch.float64, generator=generator).round(decimals=3)
    values[torch.rand(n, generator=generator) < 0.1] = float("nan")
    targets = KernelTargets.of(values, bandwidth=bandwidth, period=period)
    expected = result(z, targets, "dense", temperature)
    torch.testing.assert_close(result(z, targets, "tiled", temperature), expected, rtol=0, atol=1e-9)
    if bandwidth < 0.01:
        return  # the roundings of values in float32 are no longer small beside it
    single = result(z.float(), targets, "tiled", temperature)
    torch.testing.assert_close(single[0].double(), expected[0], rtol=1e-5, atol=1e-5 / temperature)
    assert (single[2] - expected[2]).norm() <= 1e-5 * max(float(expected[2].norm()), 1.0 / temperature)


@pytest.mark.parametrize("engine", ["dense", "tiled"])
def test_gradient_equals_finite_differences(engine: str) -> None:
    z = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = KernelTargets.of(torch.tensor(VALUES, dtype=torch.float64), bandwidth=0.02)

    def losses(z: Tensor) -> Tensor:
        return contrastive_loss(z, targets, temperature=0.3, engine=engine).loss  # pyright: ignore[reportArgumentType]

    assert torch.autograd.gradcheck(losses, z.requires_grad_(), atol=1e-4)


@given(
    values=st.lists(st.one_of(st.floats(-50, 50), st.just(float("nan"))), min_size=1, max_size=20),
    period=st.sampled_from([None, 7.0]),
    bandwidth=st.sampled_from([0.01, 1.0, 30.0]),
    engine=st.sampled_from(["dense", "tiled"]),
)
@settings(deadline=None, max_examples=80)
def test_permuting_and_adding_unlabelled_rows(
    values: list[float], period: float | None, bandwidth: float, engine: str
) -> None:
    n = len(values)
    z = torch.randn(n + 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    given_values = torch.tensor([*values, *[float("nan")] * 3], dtype=torch.float64)
    order = torch.randperm(n + 3, generator=torch.Generator().manual_seed(1))

    def losses(z: Tensor, values: Tensor) -> Tensor:
        return contrastive_loss(z, KernelTargets.of(values, bandwidth=bandwidth, period=period), engine=engine).loss  # pyright: ignore

    plain = losses(z[:n], given_values[:n])
    assert plain.isfinite().all()
    torch.testing.assert_close(losses(z, given_values)[:n], plain)
    torch.testing.assert_close(losses(z[order], given_values[order]), losses(z, given_values)[order])
    assert not losses(z, given_values)[n:].any()


def test_a_wide_kernel_is_no_preference_and_a_narrow_one_the_nearest() -> None:
    values = torch.tensor([0.0, 1.0, 3.0, 10.0, 10.5], dtype=torch.float64)
    wide = KernelTargets.of(values, bandwidth=1e6).matrix()
    torch.testing.assert_close(wide, (1 - torch.eye(5, dtype=torch.float64)) / 4)
    narrow = KernelTargets.of(values, bandwidth=1e-3)
    assert narrow.matrix().argmax(dim=1).tolist() == [1, 0, 1, 4, 3]
    assert not narrow.floor.any()


def test_bad_settings_are_refused() -> None:
    for bandwidth in (0.0, 1e-30, math.nan):
        with pytest.raises(ValueError, match="a bandwidth must be from 1e-12 to 1e12"):
            KernelTargets.of(torch.zeros(3), bandwidth=bandwidth)
    for of in (RankTargets.of, partial(KernelTargets.of, bandwidth=1.0)):
        for period in (-1.0, 0.0, math.inf, math.nan):
            with pytest.raises(ValueError, match="a period must be positive and finite"):
                of(torch.zeros(3), period=period)
        with pytest.raises(ValueError, match=r"an infinite value has no distance to others \(row 2\)"):
            of(torch.tensor([0.0, torch.nan, torch.inf]))


@pytest.mark.parametrize(("count", "period"), [(5, None), (10, None), (24, 24.0)])
def test_far_from_all_others_both_neighbours_at_the_same_distance_pull(count: int, period: float | None) -> None:
    values = (2.0 * torch.arange(count, dtype=torch.float64) + 1.0) / (2 * count) * (period or 1.0)
    q = KernelTargets.of(values, bandwidth=1e-3, period=period).matrix()
    inner = q if period else q[1:-1]
    assert ((inner > 0).sum(dim=1) == 2).all()
    torch.testing.assert_close(inner.max(dim=1).values, torch.full((len(inner),), 0.5, dtype=torch.float64))


def test_large_numbers_lose_nothing_to_the_type_of_the_projections() -> None:
    seconds = 1.7e9 + 60.0 * torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    targets = KernelTargets.of(seconds, bandwidth=5.0)
    dense, tiled = (contrastive_loss(z, targets, engine=engine) for engine in ("dense", "tiled"))
    torch.testing.assert_close(tiled.loss, dense.loss, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(tiled.floor, dense.floor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("span", "bandwidth"), [(1e8, 60.0), (1e8, 10.0), (3e9, 10.0), (1e20, 1.0)])
def test_a_bandwidth_that_is_small_beside_the_range_is_no_more_blurred_by_tiles(span: float, bandwidth: float) -> None:
    generator = torch.Generator().manual_seed(0)
    about = span * torch.rand(32, dtype=torch.float64, generator=generator)
    moments = (about.repeat(8) + bandwidth * torch.rand(256, dtype=torch.float64, generator=generator)).sort().values
    z = torch.randn(256, 8, generator=generator)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for engine in ("dense", "tiled"):
        leaf = z.clone().requires_grad_()
        losses = contrastive_loss(leaf, KernelTargets.of(moments, bandwidth=bandwidth), engine=engine)
        losses.mean.backward()  # pyright: ignore[reportUnknownMemberType]
        assert leaf.grad is not None
        found.append((losses.loss.detach(), losses.floor, leaf.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4, check_dtype=False)


def test_fused_kernels_are_refused_where_float32_would_blur_a_bandwidth() -> None:
    with pytest.raises(ValueError, match=r"or over more than 1,000 bandwidths"):
        contrastive_loss(torch.randn(4, 3), KernelTargets.of(torch.rand(4), bandwidth=1e-5), engine="triton")


def test_fused_kernels_are_refused_on_a_circle() -> None:
    with pytest.raises(ValueError, match="no kernel for values on a circle"):
        contrastive_loss(torch.randn(4, 3), KernelTargets.of(torch.rand(4), bandwidth=0.1, period=1.0), engine="triton")


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
def test_heads_on_circles_and_on_lines_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "_may_be_triton", lambda engine, _: engine == "auto")
    generator, periods = torch.Generator().manual_seed(0), (1.0, None, 1.0, None)
    heads = [
        Head(
            torch.nn.functional.normalize(torch.randn(140, 3, generator=generator), dim=1).to(DEVICE),
            KernelTargets.of(torch.rand(140, generator=generator).to(DEVICE), bandwidth=0.1, period=period),
            temperature,
            "float32",
        )
        for period, temperature in zip(periods, (0.1, 0.2, 0.3, 0.4), strict=True)
    ]
    for together, alone in zip(contrastive_losses(heads), heads, strict=True):
        expected = contrastive_losses([alone], engine="dense")[0].loss
        torch.testing.assert_close(together.loss, expected, rtol=1e-4, atol=1e-4)


def test_one_value_far_off_does_not_make_distances_equal() -> None:
    targets = KernelTargets.of(torch.tensor([0.0, 0.5, 1.3, 1e6]), bandwidth=1e-3)
    assert targets.matrix()[1].tolist() == [1.0, 0.0, 0.0, 0.0]
