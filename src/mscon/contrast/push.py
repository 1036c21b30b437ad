"""push of all similarities of a batch at once, by the engine that suits it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args

from jaxtyping import Float
from torch import Tensor

from mscon.contrast.compiler import outside_compiler
from mscon.contrast.kernel_targets import KernelTargets
from mscon.contrast.precision import Precision
from mscon.contrast.ranks import Ranks
from mscon.contrast.tiled import PushPull, tiled_push, tiled_push_pull

Result = TypeVar("Result")

Engine = Literal["auto", "dense", "tiled", "triton"]
"""How the quadratic part is computed; every engine gives the same values and gradients, up to rounding."""

DENSE_UP_TO = 128
"""The batch up to which `auto` takes the dense engine.

It took 1.1 ms there and tiles 1.4; at 256 rows 2.0 and 1.9; at 1,024 rows 12 and 6 (benchmarks/loss.csv).
"""


def check_engine(engine: str) -> None:
    """**Raises** `ValueError` for a name that is no engine."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {', '.join(map(repr, get_args(Engine)))}, not {engine!r}")


def takes_dense(engine: Engine, rows: int) -> bool:
    """Whether a batch of so many rows goes through the dense engine."""
    return engine == "dense" or (engine == "auto" and rows <= DENSE_UP_TO)


def push(
    heads: Sequence[Float[Tensor, "_ _"]],
    *,
    temperatures: Sequence[float],
    precisions: Sequence[Precision],
    engine: Engine = "auto",
    ranks: Ranks | None = None,
) -> list[Float[Tensor, " _"]]:
    """push_i = log Σ_{j≠i} exp(z_i·z_j / τ) of several heads, in O(N·d) memory.

    **Arguments:** as `tiled_push`; `engine` is `"triton"`, `"tiled"`, or `"auto"`: Triton's kernels on a CUDA device
    for the heads that they take, tiles for the others.

    **Raises:** `ValueError` when `"triton"` is asked for what its kernels do not take.
    """
    return outside_compiler(_push)(heads, temperatures, precisions, engine, ranks)


def push_pull(
    heads: Sequence[Float[Tensor, "_ _"]],
    kernels: Sequence[KernelTargets],
    *,
    temperatures: Sequence[float],
    precisions: Sequence[Precision],
    engine: Engine = "auto",
    ranks: Ranks | None = None,
) -> list[PushPull]:
    """push, and pull toward kernel targets in the same pass; otherwise as `push`. Triton serves values on a line whose
    range is 1,000 bandwidths at most.
    """
    return outside_compiler(_push_pull)(heads, kernels, temperatures, precisions, engine, ranks)


def _push(
    heads: Sequence[Tensor],
    temperatures: Sequence[float],
    precisions: Sequence[Precision],
    engine: Engine,
    ranks: Ranks | None,
) -> list[Tensor]:
    def work(some: list[int], triton: bool) -> list[Tensor]:
        settings = _settings(some, temperatures, precisions, ranks)
        if not triton:
            return tiled_push([heads[c] for c in some], **settings)
        from mscon.contrast.triton_push import triton_push

        return triton_push([heads[c] for c in some], **settings)

    return _apart(_served(engine, heads, precisions), work)


def _push_pull(
    heads: Sequence[Tensor],
    kernels: Sequence[KernelTargets],
    temperatures: Sequence[float],
    precisions: Sequence[Precision],
    engine: Engine,
    ranks: Ranks | None,
) -> list[PushPull]:
    def work(some: list[int], triton: bool) -> list[PushPull]:
        settings = _settings(some, temperatures, precisions, ranks)
        rows, near = [heads[c] for c in some], [kernels[c] for c in some]
        if not triton:
            return tiled_push_pull(rows, near, **settings)
        from mscon.contrast.triton_push import triton_push_pull

        values = [each.centred(z.dtype) for each, z in zip(near, rows, strict=True)]
        return triton_push_pull(rows, values, [each.bandwidth for each in near], **settings)

    served = _served(engine, heads, precisions, kernel=True)
    has_kernel = [each and k.period is None and not k.fine for each, k in zip(served, kernels, strict=True)]
    if engine == "triton" and has_kernel != served:
        raise ValueError(
            "engine 'triton' has no kernel for values on a circle, or over more than 1,000 bandwidths:"
            " take engine='auto'"
        )
    return _apart(has_kernel, work)


def _apart(triton: Sequence[bool], work: Callable[[list[int], bool], list[Result]]) -> list[Result]:
    """What `work` finds of the heads that Triton serves, and then of the others, in the order of all."""
    found: dict[int, Result] = {}
    for kind in (True, False):
        if some := [c for c, each in enumerate(triton) if each == kind]:
            found |= zip(some, work(some, kind), strict=True)
    return [found[c] for c in range(len(triton))]


def _settings(
    some: Sequence[int], temperatures: Sequence[float], precisions: Sequence[Precision], ranks: Ranks | None
) -> dict[str, Any]:
    return {
        "temperatures": [temperatures[c] for c in some],
        "precisions": [precisions[c] for c in some],
        "ranks": ranks,
    }


def _may_be_triton(engine: Engine, z: Tensor) -> bool:
    return engine == "triton" or (engine == "auto" and z.device.type == "cuda")


def _served(
    engine: Engine, heads: Sequence[Tensor], precisions: Sequence[Precision], *, kernel: bool = False
) -> list[bool]:
    """Which heads the fused kernels are to serve; **raises** where they were asked for and cannot."""
    none = [False] * len(heads)
    if not heads or not _may_be_triton(engine, heads[0]):
        return none
    asked_for, device = engine == "triton", heads[0].device
    try:
        from mscon.contrast.triton_push import available, takes
    except ImportError as error:
        if asked_for:
            raise ValueError(f"engine 'triton' needs Triton, which comes with torch for CUDA: {error}") from None
        return none
    if asked_for and not available(device):
        raise ValueError(
            "engine 'triton' needs a CUDA device of compute capability 8.0 or more, and these projections are on"
            f" {device}: take engine='auto'"
        )
    # What they do not take, they say themselves to who asked for them.
    return [asked_for or takes(*each, kernel=kernel) for each in zip(heads, precisions, strict=True)]
