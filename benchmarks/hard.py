"""A label that is clean but hard to see, and what `excess` makes of it: python benchmarks/hard.py

`footwear` under category, gender and brand: 5 epochs, equal weights and `excess`. Who made a shoe is known for certain
and hard to tell from a photograph, so its relative excess is high throughout; is it learned less for being trusted
less? Measured on test: linear probes, colour being the label that is never trained on, and the accuracy of nearest
neighbours in each similarity's own head. Writes benchmarks/hard.csv line by line.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from trainings import accuracies, catalog, go_through, labels, own_heads, trained

OUT = Path(__file__).with_suffix(".csv")
TRAINED = ("category", "gender", "brand")


def cases() -> Iterator[dict[str, Any]]:
    """Seed by seed."""
    for seed in range(10):
        for method in ("equal", "excess"):
            yield {"seed": seed, "method": method}


def work(case: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One training and its probes."""
    source = folder / "known.parquet"
    catalog("footwear").filter(pl.col("brand") != "other").write_parquet(source)
    settings = {"objective.weighting": case["method"], "training.seed": case["seed"]}
    done = trained(source, {name: {} for name in TRAINED}, folder / "run", settings)
    columns = labels(done, (*TRAINED, "colour"))
    last = done.last_epoch
    row: dict[str, Any] = {f"probe_{name}": value for name, value in accuracies(done, columns).items()}
    row |= {
        f"own_head_{name}": value for name, value in own_heads(done, {name: columns[name] for name in TRAINED}).items()
    }
    row |= {f"weight_{name}": round(last[name]["weight"] / len(TRAINED), 4) for name in TRAINED}
    return row | {f"noise_{name}": round(done.trust[name]["noise_share"], 4) if done.trust else "" for name in TRAINED}


if __name__ == "__main__":
    go_through(cases(), work, OUT)
