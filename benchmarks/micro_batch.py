"""Peak memory and time of one step: plain batches against one of 16,384 rows in micro-batches of 256.

    python benchmarks/micro_batch.py            # on Linux: all cases, about 15 minutes on two cores
    python benchmarks/micro_batch.py --only "1 head, micro-batched"

The model is a resnet10t at 64 px in float32 with one or three heads (d = 128), the loss MSConLoss over 100 random
classes per head, the step forward, loss and backward, without an optimiser. Every case is a process of its own. Inputs
are random numbers, made where they are needed and thrown away: a plain batch holds all of its input, a micro-batch its
own. Pixels of a catalog would come on top: 16,384 images of 64 px are 192 MiB as uint8, unless they stay in a file.

Columns:

case           heads, way and rows, allocator
heads, rows, micro_batch
allocator      glibc: as it comes. returned: MALLOC_MMAP_THRESHOLD_=65536 gives every freed block of 64 KiB and more
               back at once, so that memory which glibc keeps for itself is no part of the peak
base_mib       resident memory after imports and with the model built
peak_mib       highest resident memory of the first step, above the base: activations, gradients, loss, kernels' buffers
projections_mib  rows × 128 × 4 bytes × heads
relative_peak  (peak_mib − projections_mib) / peak_mib of the plain batch of 256 rows, same heads and allocator
relative_time  time per row / time per row of plain batches of 256 in the same process, median of `rounds` rounds with
               4 of those each; empty where it is not measured
ms_per_row     median
rounds
"""

import argparse
import csv
import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from measuring import PeakMemory, in_fresh_process

WIDTH, SIZE, CLASSES, PLAIN = 128, 64, 100, 256
ALLOCATORS = {"glibc": {}, "returned": {"MALLOC_MMAP_THRESHOLD_": "65536"}}
# Larger batches would take minutes each round.
ROUNDS, ROUNDS_UP_TO = 5, 2048


@dataclass(frozen=True)
class Case:
    heads: int
    rows: int
    micro_batch: int | None
    allocator: str

    def __str__(self) -> str:
        way = "micro-batched" if self.micro_batch else "plain"
        return f"{self.heads} head{'s' * (self.heads > 1)}, {way} {self.rows}, {self.allocator}"


CASES = [
    Case(heads, rows, micro_batch, allocator)
    for heads in (1, 3)
    for allocator in ALLOCATORS
    for rows, micro_batch in ((256, None), (1024, None), (4096, None), (2048, 256), (16384, 256))
    if rows != 2048 or allocator == "glibc"  # the one for the time
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the cases whose name has this in it, keep the others' lines")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case is not None:
        print(json.dumps(measure(CASES[given.case])))
        return
    found: dict[str, dict[str, Any]] = {}
    if given.only and given.out.exists():
        with given.out.open() as file:
            found = {line["case"]: line for line in csv.DictReader(each for each in file if each[0] != "#")}
    for number, case in enumerate(CASES):
        if given.only in str(case):
            environment = ALLOCATORS[case.allocator]
            found[str(case)] = in_fresh_process(__file__, number, environment=environment)
            print(found[str(case)], flush=True)
            write(given.out, found)


def write(path: Path, found: dict[str, dict[str, Any]]) -> None:
    lines = []
    for case in CASES:
        base = found.get(str(Case(case.heads, PLAIN, None, case.allocator)))
        if line := found.get(str(case)):
            above = float(line["peak_mib"]) - float(line["projections_mib"])
            lines.append(line | {"relative_peak": f"{above / float(base['peak_mib']):.2f}" if base else ""})
    size = ("heads", "rows", "micro_batch", "allocator")
    memory = ("base_mib", "peak_mib", "projections_mib", "relative_peak")
    columns = ("case", *size, *memory, "relative_time", "ms_per_row", "rounds")
    with path.open("w", newline="") as file:
        file.write(f"# python benchmarks/micro_batch.py (torch {version('torch')}, {os.cpu_count()} cores)\n")
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def measure(case: Case) -> dict[str, Any]:
    import torch

    from mscon import Categorical, MSConLoss, micro_batched
    from mscon.micro_batch import split_rows
    from mscon.model import build_model

    torch.manual_seed(0)
    names = [f"similarity {number}" for number in range(case.heads)]
    model = build_model("resnet10t", dict.fromkeys(names, WIDTH), image_size=SIZE, head_norm=True)
    model = model.to(memory_format=torch.channels_last)
    loss_fn = MSConLoss({name: Categorical() for name in names})
    labels = {name: torch.randint(0, CLASSES, (case.rows,)) for name in names}

    def images(rows: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(int(rows[0]))
        shape = (len(rows), 3, SIZE, SIZE)
        return torch.empty(shape, memory_format=torch.channels_last).normal_(generator=generator)

    def step(rows: int, micro_batch: int | None) -> float:
        start = perf_counter()
        model.zero_grad()
        codes = {name: each[:rows] for name, each in labels.items()}
        micro_batched(model, split_rows(rows, micro_batch), lambda z: loss_fn(z, codes), prepare=images)
        return perf_counter() - start

    peak = PeakMemory()
    step(case.rows, case.micro_batch)
    extra = peak.extra_mb()

    rounds = ROUNDS if case.allocator == "glibc" and case.rows <= ROUNDS_UP_TO else 0
    times = [
        (sum(step(PLAIN, None) for _ in range(4)) / (4 * PLAIN), step(case.rows, case.micro_batch) / case.rows)
        for _ in range(rounds)
    ]
    return {
        "case": str(case),
        "heads": case.heads,
        "rows": case.rows,
        "micro_batch": case.micro_batch or "",
        "allocator": case.allocator,
        "base_mib": round(peak.start / 1024),
        "peak_mib": round(extra * 1e6 / 2**20),
        "projections_mib": round(case.rows * WIDTH * 4 * case.heads / 2**20, 1),
        "relative_time": round(median(ours / plain for plain, ours in times), 2) if times else "",
        "ms_per_row": round(1000 * median(ours for _, ours in times), 2) if times else "",
        "rounds": rounds or "",
    }


if __name__ == "__main__":
    main()
