"""push on a GPU, all similarities in one launch: exact, O(N·d) memory forward and backward, never an N×N tensor.

Only this module and `triton_kernels` import Triton: import them where they are used.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from math import e, log2
from typing import Any, NamedTuple, cast

import torch
import triton  # pyright: ignore[reportMissingTypeStubs]
from jaxtyping import Float
from torch import Tensor

from mscon.contrast import triton_kernels
from mscon.contrast.precision import Precision
from mscon.contrast.ranks import Ranks
from mscon.contrast.tiled import PLAIN_FROM, PushPull
from mscon.contrast.triton_configs import (
    GRADIENT_CONFIGS,
    HOPPER_SHARED,
    PUSH_CONFIGS,
    TUNING_ROWS,
    Config,
    fastest,
    fitting,
    shared_bytes,
)
from mscon.contrast.triton_heads import LIMBS, WIDEST, PackedHeads, tile_width

LEAST_NORMAL = 2.0**-126
"""The least normal float32. A sum of kernel values below it counts as none: its reciprocal would overflow."""

LOG2E = log2(e)

_KERNELS, _TRITON = cast(Any, triton_kernels), cast(Any, triton)

INTERPRETED = bool(_KERNELS.INTERPRETED)
"""Whether Triton's interpreter runs the kernels, on any device: set `TRITON_INTERPRET=1` before the first import."""


def available(device: torch.device) -> bool:
    """Whether the kernels run on tensors of this device: an NVIDIA GPU of compute capability ≥ 8.0, or interpreted."""
    if INTERPRETED:
        return True
    return device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)


def takes(z: Tensor, precision: Precision, *, kernel: bool = False) -> bool:
    """Whether the kernels serve this head on its device: float32, not too wide for a tile of its shared memory."""
    if not available(z.device) or z.dtype != torch.float32 or z.shape[1] > WIDEST:
        return False
    needed: dict[str, Any] = {"width": tile_width(z.shape[1]), "limbs": LIMBS[precision], "kernel": kernel}
    return all(_fitting(configs, z.device, **needed) for configs in (PUSH_CONFIGS, GRADIENT_CONFIGS))


def triton_push(
    heads: Sequence[Float[Tensor, "_ _"]],
    *,
    temperatures: Sequence[float],
    precisions: Sequence[Precision] | None = None,
    ranks: Ranks | None = None,
) -> list[Float[Tensor, " _"]]:
    """push_i = log Σ_{j≠i} exp(z_i·z_j/τ) of several heads, all in one launch. Differentiable once.

    With a_i = upstream_i · exp(−push_i) the gradient is (1/τ) Σ_{j≠i} exp(z_i·z_j/τ) (a_i + a_j) z_j. A program
    computes its own rows alone: 2N²d flops forward and 4N²d backward, the same bits every time in one process. Which
    cut is the fastest is measured anew in each process, unless torch's deterministic algorithms are on.

    Heads of unlike width or precision go apart: a tile is as wide as its widest head. So do temperatures on either
    side of 0.025, below which a running maximum is kept.

    **Arguments:**

    - `heads`: N_c unit rows each, N_c ≥ 0, up to 256 columns, float32 or less.
    - `temperatures`: τ > 0 of each.
    - `precisions`: of each head's products, `"float32"` when left out. Below it an error of 2⁻¹⁶ (`"tf32"`) or 2⁻⁸
      (`"bfloat16"`) in z_i·z_j at worst, or about; push is off by that divided by τ.
    - `ranks`: the processes that all hold these same rows; each computes its share of them. Values are whole, while
      the gradient is a share, of which the sum over the processes is the gradient of the sum of their totals.

    **Returns:** one float32 value per row of each head; −∞ for a head of one row, whose gradient is 0.

    **Raises:** `ValueError` for float64, more than 256 columns or a device that Triton does not serve; `RuntimeError`
    for a second derivative.
    """
    push: list[Tensor] = [torch.empty(0)] * len(heads)
    for members, packing in _groups(heads, temperatures, precisions):
        outputs = _applied(packing, ranks, [heads[c] for c in members])
        for c, output in zip(members, outputs, strict=True):
            push[c] = output
    return push


def triton_push_pull(
    heads: Sequence[Float[Tensor, "_ _"]],
    values: Sequence[Float[Tensor, " _"]],
    bandwidths: Sequence[float],
    *,
    temperatures: Sequence[float],
    precisions: Sequence[Precision] | None = None,
    ranks: Ranks | None = None,
) -> list[PushPull]:
    """push as `triton_push`, and pull toward the targets of a kernel on continuous labels v, in the same pass.

        k_ij = exp(−(v_i − v_j)²/2h²), j ≠ i       q_ij = k_ij / Σ_j k_ij
        pull_i = Σ_j q_ij z_i·z_j/τ                floor_i = H(q_i) = log Σ_j k_ij − Σ_j q_ij log k_ij

    **Arguments:** as `triton_push`; `values` hold v_i of each row and `bandwidths` h > 0 of each head, in one unit.

    **Returns:** push, pull and floor of each head; pull and floor are 0 where every k_ij underflows. push and pull are
    differentiable once, in z alone.

    **Raises:** as `triton_push`.
    """
    results = [PushPull(torch.empty(0), torch.empty(0), torch.empty(0))] * len(heads)
    for members, packing in _groups(heads, temperatures, precisions):
        labels = {"values": [values[c] for c in members], "bandwidths": [bandwidths[c] for c in members]}
        outputs = _applied(partial(packing, **labels), ranks, [heads[c] for c in members])
        for place, c in enumerate(members):
            results[c] = PushPull(*outputs[place :: len(members)])
    return results


def push_forward(
    packed: PackedHeads, *, own: Sequence[slice] | None = None, config: Config | None = None
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "_ 3"]]:
    """push, and with kernel targets the sums over k_ij that `pull_and_floor` takes; without autograd.

    **Arguments:**

    - `packed`: the heads.
    - `own`: the rows of each head to compute, counted from its first; all of them when left out.
    - `config`: how to cut the work up; the fastest known when left out.

    **Returns:** (Σ_j k_ij, Σ_j k_ij z_i·z_j, Σ_j k_ij (v_i − v_j)²) per row beside push, or no rows without values;
    zeros outside `own`, so that the sum over several processes is the whole.
    """
    push = packed.z.new_zeros(len(packed.z), dtype=torch.float32)
    sums = push.new_zeros(len(push) if packed.values is not None else 0, 3)
    values = push if packed.values is None else packed.values
    for table in _tables(packed, own):
        _launch(_KERNELS.push_kernel, PUSH_CONFIGS, packed, table, config, values, push, sums)
    return push, sums


def pull_and_floor(
    packed: PackedHeads, sums: Float[Tensor, "rows 3"]
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Σ_j q_ij z_i·z_j/τ and H(q_i) from the sums of `push_forward`; 0 where Σ_j k_ij underflows."""
    near, pulled, square = sums.unbind(dim=1)
    near, some = near.clamp(min=LEAST_NORMAL), near >= LEAST_NORMAL
    pull, spread = pulled / near, square / near
    for part, temperature in zip(packed.unpack(pull), packed.temperatures, strict=True):
        part.div_(temperature)
    for part, bandwidth in zip(packed.unpack(spread), packed.bandwidths, strict=True):
        part.div_(2.0 * bandwidth**2)
    return pull.where(some, 0.0), (near.log() + spread).where(some, 0.0)


def push_backward(
    packed: PackedHeads,
    push: Float[Tensor, " rows"],
    upstream: Float[Tensor, " rows"],
    *,
    sums: Float[Tensor, "_ 3"] | None = None,
    pull_upstream: Float[Tensor, " rows"] | None = None,
    own: Sequence[slice] | None = None,
    config: Config | None = None,
) -> Float[Tensor, "rows width"]:
    """The gradient of Σ_i upstream_i push_i + pull_upstream_i pull_i with respect to z, own rows only.

    **Arguments:** `push`, `sums` and the two upstream gradients are of all rows, also where `own` is given; the second
    is there when `packed` has values. `own` and `config` as in `push_forward`.

    **Returns:** float32; zeros outside `own`, so that the sum over several processes is the whole.
    """
    of_pull = pull_upstream if pull_upstream is not None else upstream.new_zeros(0)
    # W = exp(s_ij)(a_i + a_j) goes through bfloat16, whose exponents are float32's: its scale costs no precision. But
    # upstream may be 10⁻⁶ or, under a loss scale, 10⁵, and exp(s_ij) and exp(−push_i) span 10³⁵ each. So the power of
    # two below the largest upstream is taken out, exactly, and put back at the end: |W| < 4 then, and a weight that
    # underflows is nothing beside that of the row with the largest.
    unit = _power_of_two(torch.cat([upstream, of_pull]))
    u = upstream / unit
    # A row that is alone in its head has push −∞; +∞ makes its weights 0 in either mode.
    push = push.where(push > -torch.inf, torch.inf)
    b, values = u, u
    if packed.values is not None and sums is not None:
        near = sums[:, 0]
        b = (of_pull / unit / near.clamp(min=LEAST_NORMAL)).where(near >= LEAST_NORMAL, 0.0)
        values = packed.values
    gradient = packed.z.new_zeros(len(packed.z), packed.z.shape[2], dtype=torch.float32)
    for table in _tables(packed, own):
        a = push if table.running else u * (-push).exp()
        _launch(_KERNELS.gradient_kernel, GRADIENT_CONFIGS, packed, table, config, a, u, b, values, unit, gradient)
    return gradient


class _Push(torch.autograd.Function):
    """Outputs: push of every head, and with values pull of every head and floor of every head."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, packing: Callable[[Sequence[Tensor]], PackedHeads], ranks: Ranks | None, *heads: Tensor
    ) -> tuple[Tensor, ...]:
        packed = packing(heads)
        own = [_share(size, ranks) for size in packed.sizes]
        push, sums = push_forward(packed, own=own)
        if ranks:
            push, sums = ranks.sum(push), ranks.sum(sums) if len(sums) else sums
        # What is saved goes as soon as the gradient is there; attributes of ctx stay as long as the loss itself.
        ctx.save_for_backward(push, sums, packed.z, *([] if packed.values is None else [packed.values]))
        ctx.layout, ctx.ranks, ctx.own = replace(packed, z=packed.z[:0], values=None), ranks, own
        ctx.dtypes = [head.dtype for head in heads]
        outputs = [push] if packed.values is None else [push, *pull_and_floor(packed, sums)]
        parts = [part.clone() for output in outputs for part in packed.unpack(output)]
        ctx.mark_non_differentiable(*parts[2 * len(heads) :])
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # as under create_graph=True; autograd alone would return a wrong second derivative
            raise RuntimeError("the triton engine is differentiable once: take engine='dense' for second derivatives")
        push, sums, z, *values = ctx.saved_tensors
        packed: PackedHeads = replace(ctx.layout, z=z, values=values[0] if values else None)
        count = len(packed.sizes)
        ups = [packed.pack(upstream[:count])]
        if packed.values is not None:
            ups.append(packed.pack(upstream[count : 2 * count]))
        if ctx.ranks:
            ups = [ctx.ranks.sum(up) for up in ups]
        of_pull = ups[1] if len(ups) == 2 else None
        gradient = push_backward(packed, push, ups[0], sums=sums, pull_upstream=of_pull, own=ctx.own)
        parts = zip(packed.unpack(gradient), packed.widths, ctx.dtypes, strict=True)
        return None, None, *(part[:, :width].to(dtype) for part, width, dtype in parts)


def _applied(
    packing: Callable[[Sequence[Tensor]], PackedHeads], ranks: Ranks | None, heads: list[Tensor]
) -> tuple[Tensor, ...]:
    return cast(Any, _Push).apply(packing, ranks, *heads)


def _groups(
    heads: Sequence[Tensor], temperatures: Sequence[float], precisions: Sequence[Precision] | None
) -> list[tuple[list[int], Callable[..., PackedHeads]]]:
    """The numbers of the heads that are packed together, and how."""
    groups: dict[tuple[int, Precision], list[int]] = {}
    for c, (head, _) in enumerate(zip(heads, temperatures, strict=True)):
        precision: Precision = "float32" if precisions is None else precisions[c]
        groups.setdefault((tile_width(head.shape[1]), precision), []).append(c)
    return [
        (members, partial(PackedHeads.of, temperatures=[temperatures[c] for c in members], precision=precision))
        for (_, precision), members in groups.items()
    ]


def _share(size: int, ranks: Ranks | None) -> slice:
    return slice(size * ranks.rank // ranks.size, size * (ranks.rank + 1) // ranks.size) if ranks else slice(0, size)


def _power_of_two(values: Tensor) -> Tensor:
    """The largest power of two that is no larger than the largest |value|; 1 for zeros alone."""
    largest = torch.cat([values.abs(), values.new_zeros(1)]).amax(dim=0, keepdim=True)
    return torch.where(largest > 0.0, torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 1), 1.0)


class _Table(NamedTuple):
    """What one launch works on: the kernels' tables of the heads on one side of 0.025, and their longest range."""

    running: bool
    bounds: Tensor
    constants: Tensor
    longest: int


def _tables(packed: PackedHeads, own: Sequence[slice] | None) -> Iterator[_Table]:
    device = packed.z.device
    narrow = [LOG2E / (2.0 * bandwidth**2) for bandwidth in packed.bandwidths] or [0.0] * len(packed.sizes)
    ranges = own or [slice(0, size) for size in packed.sizes]
    heads = list(zip(packed.starts, packed.sizes, ranges, packed.temperatures, narrow, strict=True))
    for running in (False, True):
        some = [head for head in heads if (head[3] < PLAIN_FROM) == running and head[2].start < head[2].stop]
        if some:
            bounds = [(start, size, rows.start, rows.stop) for start, size, rows, _, _ in some]
            base = 1.0 if running else LOG2E
            constants = [(base / temperature, narrow, 1.0 / temperature) for _, _, _, temperature, narrow in some]
            longest = max(rows.stop - rows.start for _, _, rows, _, _ in some)
            numbers = torch.tensor(constants, dtype=torch.float32, device=device)
            yield _Table(running, torch.tensor(bounds, device=device), numbers, longest)


def _launch(
    kernel: Any,
    configs: tuple[Config, ...],
    packed: PackedHeads,
    table: _Table,
    config: Config | None,
    *tensors: Tensor,
) -> None:
    (_, limbs, width), device = packed.z.shape, packed.z.device
    flags = {"WIDTH": width, "LIMBS": limbs, "RUNNING": table.running, "KERNEL": packed.values is not None}

    def launch(config: Config, most: int = table.longest) -> None:
        blocks = -(-min(most, table.longest) // config.rows)
        arguments = {**flags, **config.arguments, "enable_fp_fusion": True}
        kernel[blocks, len(table.bounds)](packed.z, *tensors, table.bounds, table.constants, **arguments)

    with nullcontext() if INTERPRETED else torch.cuda.device(device):
        launch(config or _choice(configs, flags, packed, partial(launch, most=TUNING_ROWS)))


def _choice(
    configs: tuple[Config, ...], flags: dict[str, int], packed: PackedHeads, launch: Callable[[Config], None]
) -> Config:
    (rows, limbs, width), device = packed.z.shape, packed.z.device
    choices = _fitting(configs, device, width=width, limbs=limbs, kernel=packed.values is not None)
    if not choices:
        raise ValueError(f"tiles of {width} columns do not fit this GPU at this precision: take engine='tiled'")
    if INTERPRETED:
        return choices[0]
    # The best choice changes with the size, slowly: it is looked for anew whenever the rows have doubled.
    return fastest(choices, launch, (configs, *flags.values(), device, rows.bit_length()), _TRITON.OutOfResources)


def _fitting(
    configs: tuple[Config, ...], device: torch.device, *, width: int, limbs: int, kernel: bool
) -> list[Config]:
    limit = HOPPER_SHARED if INTERPRETED else shared_bytes(device)
    return fitting(configs, width=width, limbs=limbs, kernel=kernel, shared_limit=limit)
