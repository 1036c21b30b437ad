"""The loss of one similarity: the textbook formula, engines that agree, and laws that hold for any batch."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon.contrast import (
    LabelTargets,
    check_engine,
    contrastive_loss,
    product_precision,
    simclr_loss,
    supcon_loss,
)
from mscon.contrast.tiled import tiled_push
from mscon.similarity import Tags

ENGINES = ["dense", "tiled"]


def textbook(z: Tensor, labels: list[int], temperature: float) -> float:
    """SupCon's L_out in plain Python: one anchor, one positive, one sum at a time."""
    z = torch.nn.functional.normalize(z.double(), dim=1)
    seen = [i for i, label in enumerate(labels) if label >= 0]
    score = {(i, j): float(z[i] @ z[j]) / temperature for i in seen for j in seen}
    losses = []
    for i in seen:
        positives = [j for j in seen if j != i and labels[j] == labels[i]]
        if positives:
            log_sum = math.log(sum(math.exp(score[i, j]) for j in seen if j != i))
            losses.append(-sum(score[i, p] - log_sum for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def batch(n: int, classes: int, *, missing: float = 0.2, d: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, dtype=torch.float64, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    return z, labels.where(torch.rand(n, generator=generator) >= missing, -1)


def value_and_gradient(z: Tensor, labels: Tensor, **settings: object) -> tuple[Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    losses = contrastive_loss(leaf, LabelTargets.of(labels), **settings)  # pyright: ignore[reportArgumentType]
    # A mean with uneven shares, so that every anchor's own upstream gradient is seen.
    (losses.loss * torch.linspace(0.5, 1.5, len(z), dtype=z.dtype)).mean().backward()
    assert leaf.grad is not None
    return losses.loss.detach(), leaf.grad


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("n", "classes"), [(2, 1), (3, 2), (9, 3), (24, 1), (24, 24), (40, 5)])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
def test_mean_loss_is_the_textbook_formula(engine: str, n: int, classes: int, temperature: float) -> None:
    z, labels = batch(n, classes)
    ours = contrastive_loss(z, LabelTargets.of(labels), temperature=temperature, engine=engine).mean  # pyright: ignore
    assert float(ours) == pytest.approx(textbook(z, labels.tolist(), temperature), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 63, 64, 65, 200, 511, 512, 513, 1200, 2000])
@pytest.mark.parametrize("temperature", [0.005, 0.02, 0.025, 0.1, 2.0])
def test_tiled_equals_dense_in_float64(n: int, temperature: float) -> None:
    z, labels = batch(n, 7, d=16)
    dense, dense_gradient = value_and_gradient(z, labels, temperature=temperature, engine="dense")
    tiled, tiled_gradient = value_and_gradient(z, labels, temperature=temperature, engine="tiled")
    torch.testing.assert_close(tiled, dense, rtol=0, atol=1e-10)
    torch.testing.assert_close(tiled_gradient, dense_gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [2, 65, 513, 2000])
@pytest.mark.parametrize("temperature", [0.005, 0.025, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["random", "one class", "duplicates", "clustered"])
def test_tiled_equals_dense_in_float32(n: int, temperature: float, kind: str) -> None:
    z, labels = batch(n, 1 if kind == "one class" else 9, d=32)
    if kind == "duplicates":
        z = z[:1].expand(n, -1)
    if kind == "clustered":
        z = torch.eye(9, 32, dtype=z.dtype)[labels] + 1e-3 * z
    _, exact = value_and_gradient(z, labels, temperature=temperature, engine="dense")
    values, gradient = value_and_gradient(z.float(), labels, temperature=temperature, engine="tiled")
    expected, _ = value_and_gradient(z.float(), labels, temperature=temperature, engine="dense")
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5 / temperature)
    assert (gradient - exact).norm() <= 1e-5 * max(float(exact.norm()), 1.0 / temperature)


@pytest.mark.parametrize("tile", [1, 3, 7, 16, 20, 64])
@pytest.mark.parametrize("temperature", [0.01, 0.2])
def test_tile_size_changes_nothing(tile: int, temperature: float) -> None:
    z = torch.nn.functional.normalize(batch(20, 2)[0], dim=1)
    torch.testing.assert_close(
        tiled_push([z], temperatures=[temperature], tile=tile), tiled_push([z], temperatures=[temperature], tile=512)
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_gradient_equals_finite_differences(engine: str, temperature: float) -> None:
    z, labels = batch(9, 3, d=4)

    def losses(z: Tensor) -> Tensor:
        return contrastive_loss(z, LabelTargets.of(labels), temperature=temperature, engine=engine).loss  # pyright: ignore

    assert torch.autograd.gradcheck(losses, z.requires_grad_(), atol=1e-4)


def test_second_derivative_of_the_tiled_engine_is_refused() -> None:
    z = torch.nn.functional.normalize(batch(6, 2)[0], dim=1).requires_grad_()
    (push,) = tiled_push([z], temperatures=[0.1])
    with pytest.raises(RuntimeError, match="the tiled engine is differentiable once: take engine='dense'"):
        torch.autograd.grad(push.sum(), z, create_graph=True)


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_a_row_alone_in_its_head_has_no_push_and_no_gradient(temperature: float) -> None:
    z = torch.nn.functional.normalize(batch(1, 1)[0], dim=1).requires_grad_()
    (push,) = tiled_push([z], temperatures=[temperature])
    push.sum().backward()
    assert push.tolist() == [-math.inf]
    assert z.grad is not None
    assert not z.grad.any()


@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=24),
    seed=st.integers(0, 99),
    engine=st.sampled_from(ENGINES),
)
@settings(deadline=None, max_examples=60)
def test_permuting_the_batch_permutes_the_losses(labels: list[int], seed: int, engine: str) -> None:
    z, _ = batch(len(labels), 1, seed=seed)
    codes = torch.tensor(labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    loss, gradient = value_and_gradient_sum(z, codes, engine)
    shuffled, shuffled_gradient = value_and_gradient_sum(z[order], codes[order], engine)
    torch.testing.assert_close(shuffled, loss[order])
    torch.testing.assert_close(shuffled_gradient, gradient[order])


@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=24),
    extra=st.integers(1, 9),
    engine=st.sampled_from(ENGINES),
)
@settings(deadline=None, max_examples=60)
def test_adding_unlabelled_rows_changes_nothing(labels: list[int], extra: int, engine: str) -> None:
    z, _ = batch(len(labels) + extra, 1)
    codes = torch.tensor(labels + [-1] * extra)
    n = len(labels)
    loss, gradient = value_and_gradient_sum(z[:n], codes[:n], engine)
    more, more_gradient = value_and_gradient_sum(z, codes, engine)
    torch.testing.assert_close(more[:n], loss)
    torch.testing.assert_close(more_gradient[:n], gradient)
    assert not more[n:].any()
    assert not more_gradient[n:].any()


def value_and_gradient_sum(z: Tensor, labels: Tensor, engine: str) -> tuple[Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    losses = contrastive_loss(leaf, LabelTargets.of(labels), engine=engine)  # pyright: ignore[reportArgumentType]
    losses.loss.sum().backward()
    assert leaf.grad is not None
    return losses.loss.detach(), leaf.grad


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, -1, -1], [0, 1, 2], [-1]], ids=str)
def test_batch_without_anchors_gives_zero_with_a_zero_gradient(engine: str, labels: list[int]) -> None:
    z = torch.randn(len(labels), 4, requires_grad=True)
    losses = contrastive_loss(z, LabelTargets.of(torch.tensor(labels)), engine=engine)  # pyright: ignore
    losses.mean.backward()
    assert losses.mean.item() == 0.0
    assert losses.count.item() == 0
    assert z.grad is not None
    assert not z.grad.any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_projections_give_the_loss_of_their_float32_values(engine: str, dtype: torch.dtype) -> None:
    z, labels = batch(600, 5, d=32)
    half = z.to(dtype)
    expected, gradient = value_and_gradient(half.float(), labels, engine=engine, temperature=0.04)
    values, half_gradient = value_and_gradient(half, labels, engine=engine, temperature=0.04)
    assert values.dtype == torch.float32
    assert half_gradient.dtype == dtype
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(half_gradient, gradient.to(dtype))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5])
def test_autocast_multiplies_in_bfloat16_and_stays_close(temperature: float) -> None:
    z, labels = batch(1500, 5, d=64)
    exact, exact_gradient = value_and_gradient(z.float(), labels, engine="tiled", temperature=temperature)
    with torch.autocast("cpu", torch.bfloat16):
        values, gradient = value_and_gradient(z.float(), labels, engine="tiled", temperature=temperature)
        again, gradient_again = value_and_gradient(z.float(), labels, engine="tiled", temperature=temperature)
    assert values.dtype == torch.float32
    assert (values - exact).abs().max() <= 2**-8 / temperature
    assert (gradient - exact_gradient).norm() <= 2**-6 * exact_gradient.norm()
    known = getattr(torch.cpu, "get_capabilities", dict)()
    if known.get("amx_bf16"):
        assert not torch.equal(values, exact)
    elif not known.get("avx512_bf16"):  # with which oneDNN takes bfloat16 for some shapes
        assert torch.equal(values, exact)
    assert torch.equal(values, again)
    assert torch.equal(gradient, gradient_again)


@pytest.mark.parametrize("tags", [False, True], ids=["classes", "tags"])
@pytest.mark.parametrize("engine", ENGINES)
def test_below_a_temperature_of_0_05_autocast_changes_nothing(engine: str, tags: bool) -> None:
    z, labels = batch(700, 5, d=32)
    kind, values = Tags.of([[str(code), "all"] if code >= 0 else None for code in labels.tolist()])
    targets = kind.targets(values) if tags else LabelTargets.of(labels)
    leaf, leaf_inside = z.float().requires_grad_(), z.float().requires_grad_()
    expected = contrastive_loss(leaf, targets, engine=engine, temperature=0.04).mean  # pyright: ignore
    expected.backward()
    with torch.autocast("cpu", torch.bfloat16):
        inside = contrastive_loss(leaf_inside, targets, engine=engine, temperature=0.04).mean  # pyright: ignore
        if engine != "dense":  # whose backward is autograd's
            inside.backward()
    if engine == "dense":
        inside.backward()
    assert torch.equal(inside, expected)
    assert leaf.grad is not None
    assert leaf_inside.grad is not None
    assert torch.equal(leaf_inside.grad, leaf.grad)


@pytest.mark.parametrize("engine", ENGINES)
def test_torchs_own_setting_is_heeded_and_left_as_it_was(engine: str) -> None:
    z, labels = batch(900, 5, d=64)

    def losses(temperature: float) -> Tensor:
        return contrastive_loss(z.float(), LabelTargets.of(labels), engine=engine, temperature=temperature).loss  # pyright: ignore

    exact, exact_low = losses(0.1), losses(0.04)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        coarse, low = losses(0.1), losses(0.04)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert (coarse - exact).abs().max() <= 2**-8 / 0.1
    assert torch.equal(low, exact_low)


def test_a_setting_that_was_inherited_goes_on_being_inherited() -> None:
    z, labels = batch(300, 5)
    matmul, before = torch.backends.mkldnn.matmul, torch.backends.fp32_precision  # pyright: ignore
    matmul.fp32_precision = "none"
    try:
        torch.backends.fp32_precision = "bf16"  # pyright: ignore
        contrastive_loss(z.float(), LabelTargets.of(labels), engine="tiled", temperature=0.04)
        assert matmul.fp32_precision == "bf16"
        torch.backends.fp32_precision = "ieee"  # pyright: ignore
        assert matmul.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = before  # pyright: ignore


@pytest.mark.parametrize(
    ("dtype", "autocast", "temperature", "expected"),
    [
        (torch.float64, torch.bfloat16, 0.1, "float64"),
        (torch.float32, None, 0.1, "float32"),
        (torch.float32, torch.bfloat16, 0.05, "bfloat16"),
        (torch.float32, torch.bfloat16, 0.049, "float32"),
        (torch.float32, torch.float16, 0.1, "float32"),
        (torch.bfloat16, None, 0.1, "bfloat16"),
        (torch.float16, None, 0.1, "float32"),
    ],
)
def test_precision_follows_dtype_autocast_and_temperature(
    dtype: torch.dtype, autocast: torch.dtype | None, temperature: float, expected: str
) -> None:
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        assert product_precision(torch.ones(2, 3, dtype=dtype), temperature) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_may_lie_in_memory_in_any_order(engine: str) -> None:
    z, labels = batch(600, 5)
    expected = value_and_gradient(z, labels, engine=engine)
    for strange in (z.mT.contiguous().mT, torch.stack([z, z], dim=2)[..., 0]):
        assert not strange.is_contiguous()
        values, gradient = value_and_gradient(strange, labels, engine=engine)
        torch.testing.assert_close(values, expected[0])
        torch.testing.assert_close(gradient, expected[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_inference_mode_gives_the_same_values(engine: str) -> None:
    z, labels = batch(600, 5)
    expected = contrastive_loss(z, LabelTargets.of(labels), engine=engine).loss  # pyright: ignore
    with torch.inference_mode():
        torch.testing.assert_close(contrastive_loss(z, LabelTargets.of(labels), engine=engine).loss, expected)  # pyright: ignore


COMPILED = """
import torch
from mscon import MSConLoss
from mscon.similarity import Categorical, Continuous, Hierarchy, Pairs, RankNContrast, Tags

torch.manual_seed(0)
kinds = {
    "category": Categorical(),
    "closure": Categorical(),
    "tags": Tags([("a",), ("b",), ("a", "b")]),
    "path": Hierarchy([("a",), ("a", "b"), ("c",)]),
    "linked": Pairs(torch.tensor([[0, 1], [1, 2]])),
    "year": Continuous(),
    "hour": Continuous(period=24.0),
    "price": RankNContrast(),
}
z = torch.randn(600, 16, dtype=torch.float64)
labels = {name: torch.randint(3, (600,)) for name in kinds}
labels |= {name: torch.rand(600, dtype=torch.float64) for name in ("year", "hour", "price")}
for engine in ("dense", "tiled"):
    loss_fn = MSConLoss(kinds, engine=engine, weighting="equal")

    def total(z):
        return loss_fn({name: z[:, place:] * 2.0 for place, name in enumerate(kinds)}, labels).total

    leaf, compiled_leaf = z.clone().requires_grad_(), z.clone().requires_grad_()
    expected, compiled = total(leaf), torch.compile(total, backend="aot_eager")(compiled_leaf)
    expected.backward()
    compiled.backward()
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(compiled_leaf.grad, leaf.grad)
print("the same")
"""


def test_compiled_code_may_call_it() -> None:
    # In a process of its own: the compiler cannot trace the type checks that are on in this one.
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr


def test_floor_is_the_entropy_of_the_targets_and_the_loss_never_falls_below_it() -> None:
    z, labels = batch(50, 4)
    targets = LabelTargets.of(labels)
    q = targets.matrix()
    torch.testing.assert_close(targets.floor, -(q * q.clamp(min=1e-300).log()).sum(dim=1))
    losses = contrastive_loss(z, targets, temperature=0.1)
    assert (losses.loss >= losses.floor).all()
    assert float(losses.mean_chance) == pytest.approx(math.log(int((labels >= 0).sum()) - 1))


def test_codes_may_be_large_sparse_and_of_any_negative() -> None:
    z, _ = batch(6, 1)
    sparse = torch.tensor([10**15, 3, 10**15, 3, -7, -1])
    torch.testing.assert_close(supcon_loss(z, sparse), supcon_loss(z, torch.tensor([1, 0, 1, 0, -1, -1])))


def test_simclr_is_supcon_with_the_item_as_label() -> None:
    z, _ = batch(12, 1)
    torch.testing.assert_close(simclr_loss(z, views=3), supcon_loss(z, torch.tensor([0, 1, 2, 3] * 3)))
    with pytest.raises(ValueError, match="12 rows are not 5 views"):
        simclr_loss(z, views=5)
    with pytest.raises(ValueError, match="views must be 2 or more"):
        simclr_loss(z, views=1)


def test_supcon_equals_pytorch_metric_learning_when_every_anchor_has_a_positive() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    z, _ = batch(40, 1)
    labels = torch.arange(40) % 5
    torch.testing.assert_close(supcon_loss(z, labels, temperature=0.07), losses.SupConLoss(temperature=0.07)(z, labels))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_supcontrasts_loss_is_supcon_times_temperature_by_its_base(temperature: float) -> None:
    """Its formula (losses.py of HobbitLong/SupContrast), restated: features are items × views × width, unit rows."""
    features = torch.nn.functional.normalize(torch.randn(12, 2, 8, dtype=torch.float64), dim=-1)
    labels = torch.arange(12) % 4
    anchors = torch.cat(features.unbind(dim=1))
    logits = anchors @ anchors.T / temperature
    others = 1.0 - torch.eye(24, dtype=torch.float64)
    positives = (labels[:, None] == labels).double().repeat(2, 2) * others
    log_prob = logits - (logits.exp() * others).sum(1, keepdim=True).log()
    theirs = -(temperature / 0.07) * ((positives * log_prob).sum(1) / positives.sum(1)).view(2, 12).mean()
    ours = supcon_loss(anchors, labels.repeat(2), temperature=temperature)
    torch.testing.assert_close(temperature / 0.07 * ours, theirs)


def test_simclr_is_lightlys_cross_entropy_over_both_views() -> None:
    """NTXentLoss without a memory bank, restated: of an item's other rows the other view is the class."""
    first, second = torch.nn.functional.normalize(torch.randn(2, 10, 6, dtype=torch.float64), dim=-1)
    other = ~torch.eye(10, dtype=torch.bool)

    def half(one: Tensor, two: Tensor) -> Tensor:
        return torch.cat([one @ two.T, (one @ one.T)[other].view(10, 9)], dim=1) / 0.5

    logits = torch.cat([half(first, second), half(second, first)])
    theirs = torch.nn.functional.cross_entropy(logits, torch.arange(10).repeat(2))
    torch.testing.assert_close(simclr_loss(torch.cat([first, second]), temperature=0.5), theirs)


def test_bad_settings_are_refused() -> None:
    z, labels = batch(4, 2)
    with pytest.raises(ValueError, match="temperature must be positive"):
        supcon_loss(z, labels, temperature=0.0)
    with pytest.raises(ValueError, match="engine"):
        check_engine("fast")
    for wrong in (labels[:2], torch.cat([labels, labels])):
        with pytest.raises(ValueError, match=f"4 projections but labels for {len(wrong)} rows: repeat the labels"):
            contrastive_loss(z, LabelTargets.of(wrong))
