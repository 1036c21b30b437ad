"""Large batches in small memory: the encoder sees micro-batches, the objective sees the whole batch.

A contrastive loss compares every row with all others, so its gradient is not a sum over micro-batches. But given the
gradient with respect to the projections z it is one: dL/dθ = Σ_k (∂z_k/∂θ)ᵀ · dL/dz_k. This is GradCache (Gao et al.
2021, arXiv 2101.06983).
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mscon.terms import MSConOutput

Entry = TypeVar("Entry")
Loss = TypeVar("Loss", Tensor, MSConOutput)


def micro_batched(
    model: nn.Module,
    micro_batches: Sequence[Entry],
    loss: Callable[[Any], Loss],
    *,
    prepare: Callable[[Entry], Any] = lambda entry: entry,
    backward: Callable[[Tensor], object] = torch.autograd.backward,
    no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Loss:
    """The gradient of a loss over a whole batch, in the memory of one micro-batch and of all projections.

        out = micro_batched(model, images.split(256), lambda projections: loss_fn(projections, labels))

    stands in for `out = loss_fn(model(images), labels)` and `out.total.backward()`:

    1. every micro-batch goes through the model without a graph, which gives the projections;
    2. `loss` and its gradient with respect to the projections are computed on the whole batch;
    3. every micro-batch goes through the model again, with a graph, and takes its part of that gradient back.

    Gradients are added to those of the model's parameters, and of any that `loss` uses, as `backward` does. The price
    is one more forward pass. A batch of one micro-batch takes the plain way.

    *Chance and state.* Both passes start each micro-batch from the same state of torch's generators (CPU, and the CUDA
    devices that the model is on), and from the same buffers. So dropout, drop-path and random views are the same
    twice, and the gradient is exact. Afterwards, generators and buffers are where one plain forward pass over the
    micro-batches leaves them. Chance that does not come from those generators must not depend on the call.

    *Batch normalisation* takes its statistics from one micro-batch at a time, as it does from one process at a time
    under DDP. The gradient is exact for that model, which is another one than that of the whole batch. Running
    statistics move once per micro-batch. `MSConModel` offers norms to which the size of a micro-batch is nothing.

    **Arguments:**

    - `model`: from one input to a tensor (B, d) or to name → (B, d); also one that DDP or Fabric has wrapped.
    - `micro_batches`: at least one; what each of them is made from, such as `images.split(256)`. Sizes may differ.
    - `loss`: from the projections of all micro-batches, one below the other in order, to a number or to what
      `MSConLoss` returns. Called once.
    - `prepare`: from an entry of `micro_batches` to the model's input, called in both passes: row numbers to images,
      say, so that they are never in memory all at once.
    - `backward`: such as `fabric.backward`. What it multiplies a loss by counts once.
    - `no_sync`: under DDP, `model.no_sync` or `lambda: fabric.no_backward_sync(model)`; gradients are then shared
      once, with the last micro-batch.

    **Returns:** what `loss` returned. An autocast around the call holds for all of it.

    **Raises:** `ValueError` for no micro-batch at all.
    """
    if not micro_batches:
        raise ValueError("micro_batched needs at least one micro-batch")
    if len(micro_batches) == 1:
        out = loss(model(prepare(micro_batches[0])))
        backward(_total(out))
        return out

    devices = sorted({each.device.index for each in model.parameters() if each.is_cuda})
    states, parts = [], []
    with torch.no_grad(), _buffers_at_first_call(model) as buffers:
        for entry in micro_batches:
            states.append(_random_state(devices))
            parts.append(model(prepare(entry)))
    torch.clear_autocast_cache()  # older torch keeps weights there that were cast without a graph: no gradient passes
    for each in buffers:
        each.put_back()

    sizes = [len(_tensors(part)[0]) for part in parts]
    projections = joined(parts)
    del parts
    for each in _tensors(projections):
        each.requires_grad_()
    out = loss(projections)
    backward(_total(out))
    gradients = [None if each.grad is None else each.grad.split(sizes) for each in _tensors(projections)]
    after = _random_state(devices)

    try:
        for number, entry in enumerate(micro_batches):
            with no_sync() if number < len(micro_batches) - 1 else nullcontext():
                _set_random_state(states[number], devices)
                pairs = [
                    (z, gradient[number])
                    for z, gradient in zip(_tensors(model(prepare(entry))), gradients, strict=True)
                    if gradient is not None and z.requires_grad
                ]
                if pairs:
                    backward(_Given.apply(*[g for _, g in pairs], *[z for z, _ in pairs]))
    finally:
        _set_random_state(after, devices)
    return out


def joined(parts: Sequence[Any]) -> Any:
    """The projections of several micro-batches, tensors or name → tensor, one below the other in order."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def split_rows(rows: int, at_most: int | None) -> tuple[Tensor, ...]:
    """Row numbers 0 … rows − 1 in as few micro-batches as hold `at_most` rows each; sizes differ by one at most.

    None stands for one micro-batch of all rows.
    """
    return torch.arange(rows).tensor_split(-(-rows // at_most) if at_most else 1)


class _Given(torch.autograd.Function):
    """0 as a function of z, with a gradient that is known already.

    It does not depend on what `backward` multiplies its number by, as a GradScaler does: the gradient of the loss was
    multiplied by it already. Going through `backward` is what Fabric asks for.
    """

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.gradients = tensors[: len(tensors) // 2]
        return tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None for _ in ctx.gradients), *ctx.gradients)


@contextmanager
def _buffers_at_first_call(model: nn.Module) -> Generator[list["_Buffers"]]:
    """The model's buffers as its first forward pass within finds them: DDP gives those of one process to all first."""
    inner = next((each.module for each in model.modules() if isinstance(each, DistributedDataParallel)), model)
    taken: list[_Buffers] = []

    def take(*_: Any) -> None:
        if not taken:
            taken.append(_Buffers(inner))

    hook = inner.register_forward_pre_hook(take)
    try:
        yield taken
    finally:
        hook.remove()


class _Buffers:
    """A model's buffers as they were: running statistics, and whatever else a forward pass moves."""

    def __init__(self, model: nn.Module):
        self.kept = [
            (module, name, buffer, buffer.clone())
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]

    @torch.no_grad()
    def put_back(self) -> None:
        for module, name, buffer, before in self.kept:
            buffer.copy_(before)
            setattr(module, name, buffer)  # a module may have put another tensor in its place


def _total(out: Tensor | MSConOutput) -> Tensor:
    return out.total if isinstance(out, MSConOutput) else out


def _tensors(projections: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return [projections] if isinstance(projections, Tensor) else list(projections.values())


def _random_state(devices: Sequence[int]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _set_random_state(state: Sequence[Tensor], devices: Sequence[int]) -> None:
    torch.set_rng_state(state[0])
    for device, each in zip(devices, state[1:], strict=True):
        torch.cuda.set_rng_state(each, device)
