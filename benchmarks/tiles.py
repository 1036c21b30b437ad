"""Where the time of the tiled engine goes, by the size of a tile: tiles.csv.

    python benchmarks/tiles.py                     # two minutes on two cores

For every size, nanoseconds per number of a tile of each step of forward and backward, the median over `--rounds` passes
through all tiles of 8,192 rows (128 columns, float32), and the seconds of `tiled_push` forward and backward.

Columns:

scores, exp, row sums, column sums, a_i + a_j, times, gradient of rows, gradient of columns
               ns per number; scores and exp are taken twice, forward and backward
products       share of the products (scores twice, both gradients) in the sum of all
seconds        of tiled_push, forward and backward, median
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from measuring import machine, times_of, write_csv

ROWS, WIDTH, TEMPERATURE = 8192, 128, 0.1
TILES = (128, 256, 384, 512, 768, 1024, 2048)
PRODUCTS = ("scores", "scores", "gradient of rows", "gradient of columns")
OTHERS = ("exp", "exp", "row sums", "column sums", "a_i + a_j", "times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    import torch

    torch.manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(ROWS, WIDTH), dim=1)
    lines: list[dict[str, Any]] = []
    for tile in TILES:
        steps: dict[str, list[float]] = defaultdict(list)
        for _ in range(given.rounds):
            for name, nanoseconds in _steps(z, tile).items():
                steps[name].append(nanoseconds)
        found = {name: median(each) for name, each in steps.items()}
        products = sum(found[name] for name in PRODUCTS)
        share = products / (products + sum(found[name] for name in OTHERS))
        line = {"tile": tile} | {name: f"{each:.3f}" for name, each in found.items()}
        line |= {"products": f"{share:.2f}", "seconds": f"{_seconds(z, tile, given.rounds):.3f}"}
        lines.append(line | machine())
        print(lines[-1], flush=True)
    write_csv(given.out, lines)


def _steps(z: Any, tile: int) -> dict[str, float]:
    """Nanoseconds per number of a tile, in one pass over all tiles on and above the diagonal."""
    import torch

    scores, spare, gradient, a = z.new_empty(tile, tile), z.new_empty(tile, tile), torch.zeros_like(z), z[:, 0].abs()
    seconds: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[[], object]) -> None:
        start = perf_counter()
        work()
        seconds[name] += perf_counter() - start

    starts, count = range(0, len(z) - tile + 1, tile), 0  # whole tiles
    for i in starts:
        for j in (each for each in starts if each >= i):
            left, right, count = z[i : i + tile], z[j : j + tile], count + 1
            scale = 1.0 / TEMPERATURE
            timed("scores", lambda: torch.addmm(scores, left, right.mT, beta=0, alpha=scale, out=scores))  # noqa: B023
            timed("exp", scores.exp_)
            timed("row sums", lambda: scores.sum(dim=1))
            timed("column sums", lambda: scores.sum(dim=0))
            timed("a_i + a_j", lambda: torch.add(a[i : i + tile].unsqueeze(1), a[j : j + tile], out=spare))  # noqa: B023
            timed("times", lambda: scores.mul_(spare))
            timed("gradient of rows", lambda: gradient[i : i + tile].addmm_(scores, right))  # noqa: B023
            timed("gradient of columns", lambda: gradient[j : j + tile].addmm_(scores.mT, left))  # noqa: B023
    return {name: each / (count * tile**2) * 1e9 for name, each in seconds.items()}


def _seconds(z: Any, tile: int, rounds: int) -> float:
    from mscon.contrast.tiled import tiled_push

    def both() -> None:
        leaf = z.detach().requires_grad_()
        tiled_push([leaf], temperatures=[TEMPERATURE], tile=tile)[0].sum().backward()

    return median(times_of(both, rounds))


if __name__ == "__main__":
    main()
