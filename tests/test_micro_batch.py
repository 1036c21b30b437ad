"""Micro-batches: the gradient of the whole batch, and a state as if each micro-batch had been seen once."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrizations import spectral_norm

from mscon import Categorical, MSConLoss, micro_batched
from mscon.lightning import Fabric
from mscon.micro_batch import joined, split_rows
from mscon.terms import MSConOutput
from mscon.weighting import WeightingChoice
from processes import in_processes

ROWS, WIDTH = 23, 6
SIZES = (7, 7, 9)


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(ROWS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> dict[str, Tensor]:
    codes = torch.randint(-1, 4, (2, ROWS), generator=torch.Generator().manual_seed(1))
    return {"category": codes[0], "closure": codes[1]}


class Heads(nn.Module):
    """An encoder and two heads; `between` is what a test is about."""

    def __init__(self, between: nn.Module):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(WIDTH, 8), between, nn.Tanh())
        self.heads = nn.ModuleDict({"category": nn.Linear(8, 3), "closure": nn.Linear(8, 5)})

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        h = self.encoder(batch)
        return {name: head(h) for name, head in self.heads.items()}


class Counted(nn.Module):
    """Rows times a number that is another one in every call, kept in a buffer that each call replaces."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x * (1 + 0.1 * self.calls)


def made(between: nn.Module) -> Heads:
    torch.manual_seed(2)
    return Heads(between).double()


def objective(weighting: WeightingChoice = "uncertainty") -> MSConLoss:
    return MSConLoss({"category": Categorical(), "closure": Categorical()}, weighting=weighting).double()


def gradients(*modules: nn.Module) -> list[Tensor]:
    found = [p.grad for module in modules for p in module.parameters()]
    assert all(each is not None for each in found)
    return [each for each in found if each is not None]


def assert_equal_gradients(ours: tuple[nn.Module, ...], theirs: tuple[nn.Module, ...]) -> None:
    for mine, other in zip(gradients(*ours), gradients(*theirs), strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [SIZES, (1, 22), (ROWS,), (1,) * ROWS], ids=str)
def test_the_gradient_is_that_of_the_whole_batch(
    inputs: Tensor, labels: dict[str, Tensor], sizes: tuple[int, ...]
) -> None:
    model, loss_fn = made(nn.Identity()), objective()
    plain, plain_loss_fn = deepcopy(model), deepcopy(loss_fn)
    out = micro_batched(model, inputs.split(sizes), lambda z: loss_fn(z, labels))
    expected = plain_loss_fn(plain(inputs), labels)
    expected.total.backward()
    assert_equal_gradients((model, loss_fn), (plain, plain_loss_fn))
    assert isinstance(out, MSConOutput)
    torch.testing.assert_close(out.total, expected.total, rtol=1e-12, atol=1e-12)
    assert out.terms["category"].anchors == expected.terms["category"].anchors


def test_gradients_are_added_to_those_that_are_there(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Identity()), objective("equal")
    once = deepcopy(model)
    micro_batched(once, inputs.split(SIZES), lambda z: loss_fn(z, labels))
    for _ in range(2):
        micro_batched(model, inputs.split(SIZES), lambda z: loss_fn(z, labels))
    for twice, single in zip(gradients(model), gradients(once), strict=True):
        torch.testing.assert_close(twice, 2 * single, rtol=1e-12, atol=1e-12)


def test_a_model_of_one_tensor_and_a_loss_of_one_number(inputs: Tensor) -> None:
    model = nn.Linear(WIDTH, 3).double()
    plain = deepcopy(model)
    value = micro_batched(model, inputs.split(SIZES), lambda z: (z @ z.T).exp().sum().log())
    expected = (plain(inputs) @ plain(inputs).T).exp().sum().log()
    expected.backward()
    assert_equal_gradients((model,), (plain,))
    assert isinstance(value, Tensor)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


BETWEEN: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Dropout(0.4),
    "batch norm": lambda: nn.BatchNorm1d(8),
    "cumulative batch norm": lambda: nn.BatchNorm1d(8, momentum=None),
    "spectral norm": lambda: spectral_norm(nn.Linear(8, 8)),
    "replaced buffer": Counted,
    "all": lambda: nn.Sequential(nn.Dropout(0.2), nn.BatchNorm1d(8), Counted(), nn.Dropout(0.2)),
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN.keys())
def test_all_is_left_as_one_plain_pass_over_the_micro_batches_leaves_it(
    inputs: Tensor, labels: dict[str, Tensor], between: Callable[[], nn.Module]
) -> None:
    model, loss_fn = made(between()), objective("equal")
    plain = deepcopy(model)
    torch.manual_seed(3)
    plain_z = joined([plain(each) for each in inputs.split(SIZES)])
    loss_fn(plain_z, labels).total.backward()
    plain_state = torch.get_rng_state()

    seen: list[dict[str, Tensor]] = []
    torch.manual_seed(3)
    micro_batched(model, inputs.split(SIZES), lambda z: seen.append(z) or loss_fn(z, labels))
    assert torch.equal(torch.get_rng_state(), plain_state)
    assert_equal_gradients((model,), (plain,))
    for name in plain_z:
        torch.testing.assert_close(seen[0][name].detach(), plain_z[name].detach(), rtol=1e-12, atol=1e-12)
    ours, theirs = dict(model.named_buffers()), dict(plain.named_buffers())
    for name, buffer in theirs.items():
        torch.testing.assert_close(ours[name], buffer, rtol=1e-12, atol=1e-12)


def ghost_norm(x: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Batch normalisation with statistics of each micro-batch, as written; means and unbiased variances beside it."""
    parts = x.split(sizes)
    means, variances = [part.mean(dim=0) for part in parts], [part.var(dim=0, correction=0) for part in parts]
    normal = [(p - m) / (v + 1e-5).sqrt() for p, m, v in zip(parts, means, variances, strict=True)]
    return torch.cat(normal), means, [v * len(p) / (len(p) - 1) for v, p in zip(variances, parts, strict=True)]


def test_batch_norm_takes_its_statistics_from_each_micro_batch_once(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.BatchNorm1d(8)), objective("equal")
    plain = deepcopy(model)
    micro_batched(model, inputs.split(SIZES), lambda z: loss_fn(z, labels))

    normal, means, variances = ghost_norm(plain.encoder[0](inputs), SIZES)
    norm = plain.encoder[1]
    assert isinstance(norm, nn.BatchNorm1d)
    h = torch.tanh(normal * norm.weight + norm.bias)
    loss_fn({name: head(h) for name, head in plain.heads.items()}, labels).total.backward()
    for mine, other in zip(gradients(model), gradients(plain), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)

    running_mean, running_var = torch.zeros(8, dtype=torch.float64), torch.ones(8, dtype=torch.float64)
    for mean, var in zip(means, variances, strict=True):
        running_mean, running_var = 0.9 * running_mean + 0.1 * mean, 0.9 * running_var + 0.1 * var
    moved = model.encoder[1]
    assert isinstance(moved, nn.BatchNorm1d)
    torch.testing.assert_close(moved.running_mean, running_mean.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moved.running_var, running_var.detach(), rtol=1e-12, atol=1e-12)
    assert moved.num_batches_tracked == len(SIZES)


def test_inputs_are_made_when_they_are_needed_and_the_same_twice(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Identity()), objective("equal")
    plain = deepcopy(model)
    made_from: list[list[int]] = []

    def noisy(rows: Tensor) -> Tensor:
        made_from.append(rows.tolist())
        return inputs[rows] + torch.randn(len(rows), WIDTH, dtype=torch.float64)

    parts = torch.arange(ROWS).split(SIZES)
    torch.manual_seed(4)
    micro_batched(model, parts, lambda z: loss_fn(z, labels), prepare=noisy)
    assert made_from == [rows.tolist() for rows in (*parts, *parts)]
    torch.manual_seed(4)
    loss_fn(joined([plain(noisy(rows)) for rows in parts]), labels).total.backward()
    assert_equal_gradients((model,), (plain,))


def test_a_loss_of_its_own_chance_moves_the_generator_on_once(inputs: Tensor) -> None:
    def noisy(z: Tensor) -> Tensor:
        return (nn.functional.dropout(z, 0.5) @ z.T).exp().sum().log()

    model = nn.Sequential(nn.Dropout(0.3), nn.Linear(WIDTH, 3)).double()
    plain = deepcopy(model)
    torch.manual_seed(8)
    noisy(joined([plain(each) for each in inputs.split(SIZES)])).backward()
    plain_state = torch.get_rng_state()
    torch.manual_seed(8)
    micro_batched(model, inputs.split(SIZES), noisy)
    assert torch.equal(torch.get_rng_state(), plain_state)
    assert_equal_gradients((model,), (plain,))


def test_the_graph_of_one_micro_batch_at_a_time_is_alive(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alive: list[weakref.ref[Tensor]] = []
            self.with_graph = 0

        def forward(self, x: Tensor) -> Tensor:
            assert all(each() is None for each in self.alive), "an activation of an earlier micro-batch is still held"
            y = torch.sin(x)
            self.with_graph += y.requires_grad
            self.alive.append(weakref.ref(y))
            return torch.exp(y) * y

    watched = Watched()
    model, loss_fn = made(watched), objective("equal")
    micro_batched(model, inputs.split(SIZES), lambda z: loss_fn(z, labels))
    assert len(watched.alive) == 2 * len(SIZES)
    assert watched.with_graph == len(SIZES)


def test_one_micro_batch_is_the_plain_way(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Identity()), objective("equal")
    passes: list[bool] = []
    model.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    micro_batched(model, [inputs], lambda z: loss_fn(z, labels))
    assert passes == [True]


def test_what_backward_multiplies_the_loss_by_counts_once(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Identity()), objective("equal")
    scaled = deepcopy(model)
    micro_batched(model, inputs.split(SIZES), lambda z: loss_fn(z, labels))
    micro_batched(
        scaled, inputs.split(SIZES), lambda z: loss_fn(z, labels), backward=lambda loss: (1024.0 * loss).backward()
    )
    for mine, other in zip(gradients(scaled), gradients(model), strict=True):
        torch.testing.assert_close(mine, 1024.0 * other, rtol=0, atol=0)


def test_projections_may_feed_each_other_or_nothing(inputs: Tensor) -> None:
    class Chained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = nn.Linear(WIDTH, 4), nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            first = self.first(x)
            return {"first": first, "second": self.second(first), "unused": self.third(first), "again": first}

    def loss(z: dict[str, Tensor]) -> Tensor:
        return (z["first"] ** 3).sum() + (z["second"] ** 2).sum() + (z["again"] ** 4).sum()

    torch.manual_seed(5)
    model = Chained().double()
    model.second.requires_grad_(False)
    plain = deepcopy(model)
    micro_batched(model, inputs.split(SIZES), loss)
    loss(plain(inputs)).backward()
    assert_equal_gradients((model.first,), (plain.first,))
    assert all(p.grad is None for p in [*model.second.parameters(), *model.third.parameters()])


def test_a_model_that_learns_nothing_still_teaches_the_objective(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Identity()).requires_grad_(False), objective()
    plain_loss_fn = deepcopy(loss_fn)
    micro_batched(model, inputs.split(SIZES), lambda z: loss_fn(z, labels))
    plain_loss_fn(model(inputs), labels).total.backward()
    assert_equal_gradients((loss_fn,), (plain_loss_fn,))


def test_autocast_around_the_call_holds_for_both_passes(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Dropout(0.3)).float(), objective("equal").float()
    plain, batch = deepcopy(model), inputs.float()
    dtypes: set[torch.dtype] = set()
    model.heads["category"].register_forward_hook(lambda _, __, z: dtypes.add(z.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(6)
        micro_batched(model, batch.split(SIZES), lambda z: loss_fn(z, labels))
        torch.manual_seed(6)
        loss_fn(joined([plain(each) for each in batch.split(SIZES)]), labels).total.backward()
    assert dtypes == {torch.bfloat16}
    for mine, other in zip(gradients(model), gradients(plain), strict=True):
        # bfloat16 keeps 8 bits; the plain pass adds up the micro-batches' gradients in it, ours in float32.
        torch.testing.assert_close(mine, other, rtol=0, atol=0.03 * float(other.abs().max()))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_under_fabric(inputs: Tensor, labels: dict[str, Tensor], precision: str) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # pyright: ignore[reportArgumentType]
    model, loss_fn = made(nn.Identity()).float(), objective("equal").float()
    plain, batch = deepcopy(model), inputs.float()
    wrapped, wrapped_plain = fabric.setup_module(model), fabric.setup_module(plain)
    micro_batched(
        wrapped,
        batch.split(SIZES),
        lambda z: loss_fn(z, labels),
        backward=fabric.backward,
        no_sync=lambda: fabric.no_backward_sync(wrapped),
    )
    fabric.backward(loss_fn(wrapped_plain(batch), labels).total)
    tolerance = 1e-5 if precision == "32-true" else 0.03
    for mine, other in zip(gradients(model), gradients(plain), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=tolerance * float(other.abs().max()))


def test_all_but_the_last_micro_batch_are_kept_from_synchronising(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    held: list[bool] = []
    inside = False

    @contextmanager
    def no_sync() -> Iterator[None]:
        nonlocal inside
        inside = True
        yield
        inside = False

    model, loss_fn = made(nn.Identity()), objective("equal")
    model.encoder.register_forward_hook(lambda *_: held.append(inside) if torch.is_grad_enabled() else None)
    model.encoder[2].register_full_backward_hook(lambda *_: held.append(inside))
    micro_batched(model, inputs.split(SIZES), lambda z: loss_fn(z, labels), no_sync=no_sync)
    assert held == [True, True, True, True, False, False], "forward and backward of each micro-batch"


def similar_rows(z: Tensor) -> Tensor:
    return (z @ z.mT).exp().sum().log()


def shared_gradients(rank: int) -> None:
    """Two processes with rows of their own: gradients are those of one process, and are shared once a step."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    plain, whole, model = DistributedDataParallel(deepcopy(layers)), deepcopy(layers), DistributedDataParallel(layers)
    shared: list[int] = []

    def counted(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # pyright: ignore[reportPrivateImportUsage]
        shared.append(bucket.index())
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda f: f.value()[0] / 2)

    model.register_comm_hook(None, counted)
    both = torch.randn(2, 23, 6, dtype=torch.float64)
    for _ in range(2):
        model.zero_grad()
        shared.clear()
        micro_batched(model, both[rank].split([7, 7, 9]), similar_rows, no_sync=model.no_sync)
        assert shared
        assert shared == sorted(set(shared))
    similar_rows(plain(both[rank])).backward()
    ((similar_rows(whole(both[0])) + similar_rows(whole(both[1]))) / 2).backward()
    for ours, theirs, alone in zip(gradients(model), gradients(plain), gradients(whole), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours, alone, rtol=1e-12, atol=1e-12)


def shared_buffers(rank: int) -> None:
    """DDP gives the first process's buffers to all at the start of a step; the gradient is that of a model with
    those, in both passes.
    """
    torch.manual_seed(0)
    layers = nn.Sequential(spectral_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 4)).double()
    model, alone = DistributedDataParallel(deepcopy(layers)), deepcopy(layers)
    if rank:
        for buffer in model.buffers():
            buffer.copy_(nn.functional.normalize(torch.randn_like(buffer), dim=0))
    both = torch.randn(2, 23, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = both[rank].split([7, 7, 9])
    micro_batched(model, parts, similar_rows, no_sync=model.no_sync)
    similar_rows(torch.cat([alone(part) for part in parts])).backward()
    for ours, theirs in zip(gradients(model), gradients(alone), strict=True):
        dist.all_reduce(theirs)
        torch.testing.assert_close(ours, theirs / 2, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(model.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("work", [shared_gradients, shared_buffers])
def test_two_processes_share_a_step(work: Callable[[int], None], tmp_path: Path) -> None:
    in_processes(work, 2, tmp_path)


def test_a_step_that_breaks_off_leaves_the_generators_after_it(inputs: Tensor) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise KeyboardInterrupt
            return x * torch.rand_like(x)

    torch.manual_seed(5)
    with pytest.raises(KeyboardInterrupt):
        micro_batched(Broken(), inputs.split(SIZES), lambda z: z.sum())
    broken = torch.get_rng_state()
    torch.manual_seed(5)
    for part in inputs.split(SIZES):
        torch.rand_like(part)
    assert torch.equal(broken, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_dropout_on_a_cuda_device_is_the_same_twice(inputs: Tensor, labels: dict[str, Tensor]) -> None:
    model, loss_fn = made(nn.Dropout(0.4)).cuda(), objective("equal").cuda()
    plain, batch, codes = deepcopy(model), inputs.cuda(), {name: each.cuda() for name, each in labels.items()}
    torch.manual_seed(7)
    micro_batched(model, batch.split(SIZES), lambda z: loss_fn(z, codes))
    state = torch.cuda.get_rng_state()
    torch.manual_seed(7)
    loss_fn(joined([plain(each) for each in batch.split(SIZES)]), codes).total.backward()
    assert torch.equal(torch.cuda.get_rng_state(), state)
    for mine, other in zip(gradients(model), gradients(plain), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 97])
@pytest.mark.parametrize("at_most", [None, 1, 2, 3, 16, 200])
def test_rows_are_split_into_as_few_and_as_equal_parts_as_can_be(rows: int, at_most: int | None) -> None:
    parts = split_rows(rows, at_most)
    assert torch.equal(torch.cat(parts), torch.arange(rows))
    sizes = [len(part) for part in parts]
    most = at_most or rows
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert (len(parts) - 1) * most < rows


def test_no_micro_batch_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one micro-batch"):
        micro_batched(nn.Identity(), [], lambda z: z.sum())
