"""Server time of the page of `mscon explore` on a large catalog: what a slider, a filter and a new query cost.

    python benchmarks/explore.py                       # explore.csv, about a minute
    python benchmarks/explore.py --items 1000000 --out /tmp/try.csv

Items are drawn at random: a unit vector of 128 numbers under each of four similarities, and a shared one of 512. The
time is that of the page's own function, from the sliders' values to the HTML of twelve results; the browser and the way
to it are not in it, pictures neither, which the browser asks for afterwards.

Cases:

slider         all five weights changed: cosines are known, scores are summed and the best are taken
slider, SQL    the same, and a condition on two columns
new query      an item is asked for: its cosines to all items are taken, and the best
search         `Space.search` of the same, which keeps no cosines, each time

Columns:

median_ms, most_ms
               of so many repeats, after one that does not count
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from measuring import machine, times_of, write_csv

from mscon.data import Catalog
from mscon.explore.maps import Maps
from mscon.explore.page import Explored, shown
from mscon.explore.state import ask_item
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.search import SHARED, Space

NAMES, WIDTH, SHARED_WIDTH = ("category", "closure", "colour", "gender"), 128, 512
WHERE = "category IN ('a', 'b', 'c') AND year > 2005"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--repeats", type=int, default=25)
    options.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    wanted = options.parse_args()
    explored, rng = explored_of(wanted.items), np.random.default_rng(1)
    space: Any = explored.collection
    asked = ask_item(space, 0)

    def weights() -> list[float]:
        return rng.uniform(-2, 2, len(explored.names)).round(1).tolist()

    def slider(where: str = "") -> list[Any]:
        return shown(explored, asked, [*weights(), 12, where, *[[] for _ in explored.choices]])

    def query() -> list[Any]:
        found = ask_item(space, int(rng.integers(len(space))))
        return shown(explored, found, [*weights(), 12, "", *[[] for _ in explored.choices]])

    cases: dict[str, Callable[[], object]] = {
        "slider": slider,
        "slider, SQL": lambda: slider(WHERE),
        "new query": query,
        "search": lambda: space.search(asked.query, dict(zip(explored.names, weights(), strict=True)), k=12),
    }
    rows: list[dict[str, Any]] = []
    for name, work in cases.items():
        seconds = times_of(work, wanted.repeats)
        rows.append(
            {
                "case": name,
                "items": wanted.items,
                "similarities": len(NAMES),
                "median_ms": round(1000 * median(seconds), 1),
                "most_ms": round(1000 * max(seconds), 1),
                "repeats": wanted.repeats,
                **machine(),
            }
        )
        print(rows[-1], flush=True)
    write_csv(wanted.out, rows)


def explored_of(count: int) -> Explored:
    """A page of items that are drawn at random."""
    rng = np.random.default_rng(0)

    def vectors(width: int) -> np.ndarray:
        drawn = rng.standard_normal((count, width), dtype=np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    blocks = {SHARED: vectors(SHARED_WIDTH)} | {name: vectors(WIDTH) for name in NAMES}
    labels = {name: rng.choice(list("abcdefgh"), count) for name in NAMES}
    ids = [f"item {row}" for row in range(count)]
    table = pl.DataFrame({"id": ids, "image": "x.jpg", "year": rng.integers(2000, 2020, count), **labels})
    space = Space(ids, Catalog(table, "image", ".", "random.parquet"), blocks)
    recipe = Recipe.of({"catalog": {"source": "random.parquet"}, "similarities": {name: {} for name in NAMES}})
    run = Run(Path("runs/random"), recipe, {})
    return Explored(run, space, ids, [*NAMES, SHARED], Maps(space, Path("maps"), ids), "pictures/x")


if __name__ == "__main__":
    main()
