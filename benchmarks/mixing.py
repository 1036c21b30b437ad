"""How well a catalog is shuffled that is read row group by row group: `python benchmarks/mixing.py` writes mixing.csv.

For each number of row groups that are mixed at a time (`image.open`), the share of a batch's pairs that are of one row
group, and what a training on glyphs comes to whose rows are in order of their class, which is the worst there is:
each row group then holds items of one or two classes. The first row is a training with the cache, a full shuffle.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from measuring import write_csv

from mscon.data.glyphs import glyphs_table
from mscon.data.window_batches import WindowBatches
from mscon.files import cache_folder
from mscon.recipe import Recipe
from mscon.train import train

HERE = Path(__file__).parent
GROUP, BATCH = 32, 64
OPEN = (2, 4, 8, 16)
CHARACTERS = "aRgQ5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        table = glyphs_table(cache_folder())
        table = table.filter(pl.col("character").is_in(list(CHARACTERS))).sort("character")
        table.write_parquet(Path(folder) / "glyphs.parquet", row_group_size=GROUP)
        groups = -(-table.height // GROUP)
        for seed in range(given.seeds):
            for mixed in (None, *OPEN):
                excess = trained(Path(folder), mixed, seed, given.epochs)
                share = same_group(table.height, groups if mixed is None else mixed, seed)
                row = {"open": mixed or "all", "groups": groups, "seed": seed}
                rows.append(row | {"pairs_of_one_group": f"{share:.4f}", "held_out_excess": f"{excess:.4f}"})
                print(rows[-1], flush=True)
    write_csv(HERE / "mixing.csv", rows)


def trained(folder: Path, mixed: int | None, seed: int, epochs: int) -> float:
    """The least mean relative excess on held-out items."""
    image = {"size": 32} if mixed is None else {"size": 32, "cache": False, "open": mixed}
    recipe = Recipe.of(
        {
            "catalog": {"source": str(folder / "glyphs.parquet")},
            "similarities": {"character": {}, "weight": {}},
            "image": image,
            "views": {"flip": 0.0},
            "model": {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 2}], "head_dim": 32},
            "training": {"epochs": epochs, "batch_size": BATCH, "seed": seed, "lr": 3e-3, "device": "cpu"},
        }
    )
    run = train(recipe, folder / f"run-{mixed}-{seed}")
    return min(record["total"] for record in run.metrics() if record["kind"] == "val")


def same_group(rows: int, mixed: int, seed: int) -> float:
    """Of the pairs of a batch, mean over ten epochs."""
    pieces = np.arange(rows) // GROUP
    batches = WindowBatches(torch.arange(rows), BATCH, seed, pieces, mixed)
    shares = []
    for epoch in range(10):
        for batch in batches.epoch(epoch):
            piece = pieces[batch.numpy()]
            shares.append(((piece[:, None] == piece).sum() - BATCH) / (BATCH * (BATCH - 1)))
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
