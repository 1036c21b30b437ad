"""How time and memory grow with rows, classes, similarities, batch, image size and processes: `python
benchmarks/growth.py` writes growth.csv, each curve with the exponent of a power law fitted to it.

Times are of the processor, so that other work on the machine counts less; only exponents mean something.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from large import make
from measuring import PeakMemory, exponent, machine, write_csv

from mscon import Categorical, MSConLoss
from mscon.data.decode import decode
from mscon.data.window_batches import WindowBatches
from mscon.prepare import prepare
from mscon.recipe import Recipe

HERE = Path(__file__).parent
REPEATS = 3


@dataclass(frozen=True)
class Curve:
    """What is done, what of it grows, and through which values; `work` gives what is to be timed for one of them."""

    what: str
    grows: str
    values: tuple[int, ...]
    work: Callable[[int], Callable[[], object]]


def main() -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for curve in curves(Path(folder)):
            points = [measured(curve.work(value)) for value in curve.values]
            slopes = [fitted(curve.values, [each[number] for each in points]) for number in (0, 1)]
            for value, (seconds, mb) in zip(curve.values, points, strict=True):
                point = {"what": curve.what, "grows": curve.grows, "value": value, "cpu_seconds": f"{seconds:.4f}"}
                exponents = {"time_exponent": slopes[0], "memory_exponent": slopes[1]}
                rows.append(point | {"extra_mb": f"{mb:.1f}"} | exponents | machine())
            print(curve.what, curve.grows, slopes, flush=True)
    write_csv(HERE / "growth.csv", rows)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """The least processor time of some repeats, and the most memory above where it stood, in MB."""
    memory = PeakMemory()
    work()
    extra, times = memory.extra_mb(), []
    for _ in range(REPEATS):
        started = process_time()
        work()
        times.append(process_time() - started)
    return min(times), extra


def fitted(values: tuple[int, ...], costs: list[float]) -> str:
    """The exponent; none for what is noise."""
    if min(costs) <= 0 or max(costs) < 1e-3:
        return ""
    return f"{exponent(values, costs):.2f}"


def curves(folder: Path) -> Iterator[Curve]:
    yield Curve(
        "reading the table, its labels and split",
        "rows",
        (100_000, 400_000, 1_600_000),
        lambda rows: _read(folder, rows),
    )
    yield Curve("the loss's step", "classes", (10, 100, 1_000), lambda classes: _loss(2_048, 2, classes))
    yield Curve("the loss's step", "similarities", (1, 2, 4, 8), lambda count: _loss(1_024, count, 20))
    yield Curve("the loss's step", "batch", (1_024, 2_048, 4_096), lambda batch: _loss(batch, 2, 20))
    yield Curve("decoding", "image size", (32, 64, 128, 256), _decode)
    yield Curve("an epoch's order", "rows", (100_000, 400_000, 1_600_000), lambda rows: _order(rows, 1))
    yield Curve("an epoch's order", "processes", (1, 4, 16, 64), lambda processes: _order(400_000, processes))


def _read(folder: Path, rows: int) -> Callable[[], object]:
    source = make(folder / str(rows), rows, group=5_000, distinct=256, alike=True)
    recipe = Recipe.of(
        {"catalog": {"source": str(source)}, "similarities": {"category": {}, "colour": {}}, "image": {"cache": False}}
    )
    return lambda: prepare(recipe, look=True)


def _loss(batch: int, similarities: int, classes: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    names = [f"s{number}" for number in range(similarities)]
    loss_fn = MSConLoss({name: Categorical() for name in names}, weighting="equal")
    values = {name: torch.randint(classes, (batch,), generator=generator) for name in names}
    z = {name: torch.randn(batch, 128, generator=generator, requires_grad=True) for name in names}
    return lambda: loss_fn(z, values).total.backward()


def _decode(size: int) -> Callable[[], object]:
    import io

    from PIL import Image

    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((512, 512)).save(file, "JPEG")
    return lambda: [decode(file.getvalue(), size=size) for _ in range(50)]


def _order(rows: int, processes: int) -> Callable[[], object]:
    pieces = np.arange(rows) // 1_000
    batches = WindowBatches(torch.arange(rows), 128, 0, pieces, 16, rank=0, world_size=processes)
    return lambda: next(batches.epoch(0))


if __name__ == "__main__":
    main()
