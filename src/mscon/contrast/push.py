"""push of all similarities of a batch at once, by the engine that suits it."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from mscon.contrast.compiler import outside_compiler
from mscon.contrast.kernel_targets import KernelTargets
from mscon.contrast.precision import Precision
from mscon.contrast.ranks import Ranks
from mscon.contrast.tiled import PushPull, tiled_push, tiled_push_pull

Engine = Literal["auto", "dense", "tiled", "triton"]
"""How the quadratic part is computed; every engine gives the same values and gradients."""

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
    """push, and pull toward kernel targets in the same pass; otherwise as `push`. Triton serves values on a line."""
    return outside_compiler(_push_pull)(heads, kernels, temperatures, precisions, engine, ranks)


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
    circles = [each.period is not None for each in kernels]
    if any(circles) and engine == "triton":
        raise ValueError("engine 'triton' has no kernel for values on a circle: take engine='auto'")
    if any(circles) and not all(circles) and _may_be_triton(engine, heads[0]):
        # One kind after the other, so that those on lines get the fused kernel.
        order = sorted(range(len(heads)), key=lambda place: circles[place])
        halves = order[: circles.count(False)], order[circles.count(False) :]
        found = chain.from_iterable(
            _push_pull(
                [heads[place] for place in half],
                [kernels[place] for place in half],
                [temperatures[place] for place in half],
                [precisions[place] for place in half],
                engine,
                ranks,
            )
            for half in halves
        )
        done = dict(zip(order, found, strict=True))
        return [done[place] for place in range(len(heads))]
    if (
        not any(circles)
        and _may_be_triton(engine, heads[0])
        and _triton(heads, precisions, kernel=True, asked_for=engine == "triton")
    ):
        from mscon.contrast.triton_push import triton_push_pull

        values = [each.centred(z.dtype) for each, z in zip(kernels, heads, strict=True)]
        return triton_push_pull(heads, values, [each.bandwidth for each in kernels], **settings)
    return tiled_push_pull(heads, kernels, **settings)


def _push(
    heads: Sequence[Tensor],
    temperatures: Sequence[float],
    precisions: Sequence[Precision],
    engine: Engine,
    ranks: Ranks | None,
) -> list[Tensor]:
    if not heads:
        return []
    triton = _triton(heads, precisions, asked_for=engine == "triton") if _may_be_triton(engine, heads[0]) else None
    return (triton or tiled_push)(heads, temperatures=temperatures, precisions=precisions, ranks=ranks)


def _may_be_triton(engine: Engine, z: Tensor) -> bool:
    return engine == "triton" or (engine == "auto" and z.device.type == "cuda")


def _triton(
    heads: Sequence[Tensor], precisions: Sequence[Precision], *, asked_for: bool, kernel: bool = False
) -> Callable[..., list[Tensor]] | None:
    """The fused kernels where they can serve; else None or, if they were asked for, an error."""
    try:
        from mscon.contrast.triton_push import available, takes, triton_push
    except ImportError as error:
        if asked_for:
            raise ValueError(f"engine 'triton' needs Triton, which comes with torch for CUDA: {error}") from None
        return None
    device = heads[0].device
    if asked_for and not available(device):
        raise ValueError(
            "engine 'triton' needs a CUDA device of compute capability 8.0 or more, and these projections are on"
            f" {device}: take engine='auto'"
        )
    # What they do not take, they say themselves to who asked for them.
    return triton_push if asked_for or takes(heads, precisions, kernel=kernel) else None
