"""How time and memory grow with rows, classes, similarities, batch, image size and processes: `python
benchmarks/growth.py` writes growth.csv, each curve with the exponent of a power law fitted to it.

Times are of the processor, so that other work on the machine counts less; only exponents mean something. Every point is
measured in a process of its own, after a small one of its kind, so that memory is neither what libraries take once nor
hidden in what was freed before. Where several processes work, time and memory are those of the one that takes most.
"""

import ctypes
import gc
import io
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from large import make
from measuring import PeakMemory, exponent, in_fresh_process, machine, write_csv
from PIL import Image

from mscon import Categorical, MSConLoss
from mscon.data.decode import decode
from mscon.data.window_batches import WindowBatches
from mscon.model import build_model
from mscon.prepare import prepare
from mscon.recipe import Recipe

HERE = Path(__file__).parent
REPEATS = 3


@dataclass(frozen=True)
class Curve:
    """What is done, what of it grows, and through which values, after a small one; `work` gives what is to be timed for
    one of them.
    """

    what: str
    grows: str
    small: int
    values: tuple[int, ...]
    work: Callable[[int], Callable[[], object]]


def main() -> None:
    if "--case" in sys.argv:
        number, value = loads(sys.argv[-1])
        print(dumps(measured(CURVES[number], value)))
        return
    rows: list[dict[str, Any]] = []
    for number, curve in enumerate(CURVES):
        points = [in_fresh_process(__file__, [number, value]) for value in curve.values]
        exponents = {
            f"{name}_exponent": fitted(curve.values, [each[key] for each in points])
            for name, key in (("time", "seconds"), ("memory", "mb"))
        }
        for value, each in zip(curve.values, points, strict=True):
            point = {"what": curve.what, "grows": curve.grows, "value": value, "cpu_seconds": f"{each['seconds']:.4f}"}
            rows.append(point | {"extra_mb": f"{each['mb']:.1f}"} | exponents | machine())
        print(curve.what, curve.grows, *rows[-1].values(), flush=True)
        write_csv(HERE / "growth.csv", rows)


def measured(curve: Curve, value: int) -> dict[str, float]:
    """The least processor time of some repeats, and the most memory above where it stood, in MB."""
    if curve.grows == "processes" and curve.work is _shared_loss:
        return _of_processes(value)
    curve.work(curve.small)()
    return _measured(curve.work(value))


def _measured(work: Callable[[], object]) -> dict[str, float]:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the small work has freed would hide as much
    memory = PeakMemory()
    work()
    extra, times = memory.extra_mb(), list[float]()
    for _ in range(REPEATS):
        started = process_time()
        work()
        times.append(process_time() - started)
    return {"seconds": min(times), "mb": extra}


def fitted(values: tuple[int, ...], costs: list[float]) -> str:
    """The exponent; none for what is noise."""
    if min(costs) <= 0 or max(costs) < 1e-3:
        return ""
    return f"{exponent(values, costs):.2f}"


def _read(rows: int) -> Callable[[], object]:
    folder = Path(tempfile.mkdtemp())
    source = make(folder / str(rows), rows, group=5_000, distinct=256, alike=True)
    recipe = Recipe.of(
        {"catalog": {"source": str(source)}, "similarities": {"category": {}, "colour": {}}, "image": {"cache": False}}
    )
    return lambda: prepare(recipe, look=True)


def _loss(batch: int, similarities: int, classes: int, *, together: bool = False) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    names = [f"s{number}" for number in range(similarities)]
    loss_fn = MSConLoss(
        {name: Categorical() for name in names}, weighting="equal", gather_distributed=together, engine="tiled"
    )
    values = {name: torch.randint(classes, (batch,), generator=generator) for name in names}
    z = {name: torch.randn(batch, 128, generator=generator, requires_grad=True) for name in names}
    return lambda: loss_fn(z, values).total.backward()


def _step(items: int, size: int) -> Callable[[], object]:
    """Of a training, with two similarities: encoder, heads, objective, and back."""
    model = build_model("resnet10t", {"a": 128, "b": 128}, image_size=size)
    loss_fn = MSConLoss({"a": Categorical(), "b": Categorical()}, weighting="equal")
    images = torch.randn(2 * items, 3, size, size)
    values = {name: torch.randint(8, (items,)).repeat(2) for name in ("a", "b")}
    return lambda: loss_fn(model(images), values).total.backward()


def _decode(size: int) -> Callable[[], object]:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((512, 512)).save(file, "JPEG")
    return lambda: [decode(file.getvalue(), size=size) for _ in range(50)]


def _order(rows: int, processes: int) -> Callable[[], object]:
    pieces = np.arange(rows) // 1_000
    batches = WindowBatches(torch.arange(rows), 128, 0, pieces, 16, rank=0, world_size=processes)
    return lambda: next(batches.epoch(0))


def _shared_loss(processes: int) -> Callable[[], object]:
    """This process's part of 4,096 rows that are compared with all."""
    return _loss(4_096 // processes, 2, 20, together=True)


def _of_processes(count: int) -> dict[str, float]:
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    with mp.get_context("spawn").Manager() as manager:
        found = manager.dict()
        mp.spawn(_one_of, (count, port, found), nprocs=count)  # pyright: ignore[reportUnknownMemberType, reportPrivateImportUsage]
        points = list(found.values())
    return {key: max(each[key] for each in points) for key in ("seconds", "mb")}


def _one_of(rank: int, count: int, port: int, found: Any) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=count)
    _loss(64, 2, 20, together=True)()
    found[rank] = _measured(_shared_loss(count))
    dist.destroy_process_group()


CURVES = (
    Curve("reading the table, its labels and split", "rows", 1_000, (100_000, 400_000, 1_600_000), _read),
    Curve("the loss's step", "classes", 10, (10, 1_000, 100_000, 1_000_000), lambda count: _loss(2_048, 2, count)),
    Curve("the loss's step", "similarities", 1, (1, 2, 4, 8), lambda count: _loss(2_048, count, 20)),
    Curve("the loss's step", "batch", 64, (1_024, 2_048, 4_096, 8_192), lambda batch: _loss(batch, 2, 20)),
    Curve("the loss's step", "processes", 1, (1, 2, 4), _shared_loss),
    Curve("a training's step", "batch", 2, (16, 32, 64, 128), lambda items: _step(items, 64)),
    Curve("a training's step", "image size", 16, (32, 64, 128), lambda size: _step(32, size)),
    Curve("decoding", "image size", 32, (64, 128, 256, 512), _decode),
    Curve("an epoch's order", "rows", 1_000, (100_000, 400_000, 1_600_000), lambda rows: _order(rows, 1)),
    Curve("an epoch's order", "processes", 1, (1, 4, 16, 64), lambda processes: _order(400_000, processes)),
)


if __name__ == "__main__":
    main()
