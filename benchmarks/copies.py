"""A label that is there three times, once more: python benchmarks/copies.py

The case of benchmarks/noise.py in which an interval lay below 0 after three seeds (brand, under `excess`), with five
further seeds: is it there still? Writes benchmarks/copies.csv line by line, in the columns of noise.csv.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noise import work
from trainings import go_through

OUT = Path(__file__).with_suffix(".csv")
SEEDS = range(3, 8)


def cases() -> Iterator[dict[str, Any]]:
    """Both trainings of a seed one after the other."""
    for seed in SEEDS:
        for column in ("shuffled 0", "shuffled 0 x3"):
            yield {"seed": seed, "table": "copies", "colour_is": column, "method": "excess"}


if __name__ == "__main__":
    go_through(cases(), work, OUT, seeds=max(SEEDS) + 1)
