"""push of all similarities of a batch at once, by the engine that suits it."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from mscon.contrast.compiler import outside_compiler
from mscon.contrast.kernel_targets import KernelTargets
from mscon.contrast.precision import Precision
from mscon.contrast.ranks import Ranks
from mscon.contrast.tiled import PushPull, tiled_push, tiled_push_pull

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
    for what they take, else tiles.

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
    if not heads:
        return []
    settings: dict[str, Any] = {"temperatures": temperatures, "precisions": precisions, "ranks": ranks}
    if _takes_triton(engine, heads, precisions):
        from mscon.contrast.triton_push import triton_push

        return triton_push(heads, **settings)
    return tiled_push(heads, **settings)


def _push_pull(
    heads: Sequence[Tensor],
    kernels: Sequence[KernelTargets],
    temperatures: Sequence[float],
    precisions: Sequence[Precision],
    engine: Engine,
    ranks: Ranks | None,
) -> list[PushPull]:
    if not heads:
        return []
    settings: dict[str, Any] = {"temperatures": temperatures, "precisions": precisions, "ranks": ranks}
    if not _may_be_triton(engine, heads[0]):
        return tiled_push_pull(heads, kernels, **settings)
    tiles_only = [each.period is not None or each.fine for each in kernels]
    if any(tiles_only) and engine == "triton":
        raise ValueError(
            "engine 'triton' has no kernel for values on a circle, or over more than 1,000 bandwidths:"
            " take engine='auto'"
        )
    if any(tiles_only) and not all(tiles_only):
        found: dict[int, PushPull] = {}
        for kind in (False, True):  # one after the other, so that the fused kernel gets what it can
            some = [place for place, each in enumerate(tiles_only) if each == kind]
            results = _push_pull(
                [heads[place] for place in some],
                [kernels[place] for place in some],
                [temperatures[place] for place in some],
                [precisions[place] for place in some],
                engine,
                ranks,
            )
            found |= zip(some, results, strict=True)
        return [found[place] for place in range(len(heads))]
    if not any(tiles_only) and _takes_triton(engine, heads, precisions, kernel=True):
        from mscon.contrast.triton_push import triton_push_pull

        values = [each.centred(z.dtype) for each, z in zip(kernels, heads, strict=True)]
        return triton_push_pull(heads, values, [each.bandwidth for each in kernels], **settings)
    return tiled_push_pull(heads, kernels, **settings)


def _may_be_triton(engine: Engine, z: Tensor) -> bool:
    return engine == "triton" or (engine == "auto" and z.device.type == "cuda")


def _takes_triton(
    engine: Engine, heads: Sequence[Tensor], precisions: Sequence[Precision], *, kernel: bool = False
) -> bool:
    """Whether the fused kernels are to serve these heads; **raises** where they were asked for and cannot."""
    if not _may_be_triton(engine, heads[0]):
        return False
    asked_for, device = engine == "triton", heads[0].device
    try:
        from mscon.contrast.triton_push import available, takes
    except ImportError as error:
        if asked_for:
            raise ValueError(f"engine 'triton' needs Triton, which comes with torch for CUDA: {error}") from None
        return False
    if asked_for and not available(device):
        raise ValueError(
            "engine 'triton' needs a CUDA device of compute capability 8.0 or more, and these projections are on"
            f" {device}: take engine='auto'"
        )
    # What they do not take, they say themselves to who asked for them.
    return asked_for or takes(heads, precisions, kernel=kernel)
