"""What a mix of similarities finds: precision@10 of each label, under one similarity, half and half, and `shared`.

    python benchmarks/mixes.py --folder runs/mixes      # a short training: some minutes on two cores

A run is trained on the footwear catalog (from the folder that MSCON_DATA names; category, gender, colour; 32 px, 6
epochs) and the whole catalog indexed. Of 200 test items, drawn by the seed, the ten most alike among the other test
items are looked up; the precision under a label is the share of these that have the query's. The run and the index are
kept in the folder and used again.

Columns: mix; label; precision; low and high, a 95% interval of the mean by 10,000 bootstrap draws of queries; queries;
seed, of the training and of what is drawn.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from measuring import real_catalog, write_csv

from mscon.data import Catalog
from mscon.run import Run
from mscon.search import SHARED, Query
from mscon.search.index import Index, index_catalog

LABELS = ("category", "gender", "colour")
MIXES = {
    "`category` alone": {"category": 1.0},
    "`category` and `colour`, 50:50": {"category": 0.5, "colour": 0.5},
    "`colour` alone": {"colour": 1.0},
    "the shared embedding": {SHARED: 1.0},
}
QUERIES, K, DRAWS = 200, 10, 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/mixes"), help="the run and the index")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    run = trained(given.folder / f"run{given.seed}", given.seed)
    to = str(given.folder / f"footwear{given.seed}.lance")
    index_catalog(run, Catalog.read(str(real_catalog("footwear"))), to, say=print)
    lines = measured(Index.open(to, run), np.random.default_rng(given.seed))
    write_csv(given.out, [line | {"queries": QUERIES, "seed": given.seed} for line in lines])


def trained(folder: Path, seed: int) -> Run:
    if not (folder / "model.safetensors").exists():
        similarities = [word for name in LABELS for word in ("--similarity", name)]
        settings = ["-s", "image.size=32", "-s", "training.epochs=6", "-s", f"training.seed={seed}"]
        words = [str(real_catalog("footwear")), *similarities, *settings, "--out", str(folder)]
        subprocess.run([sys.executable, "-m", "mscon", "train", *words], check=True)
    return Run.open(folder)


def measured(index: Index, chance: np.random.Generator) -> list[dict[str, str]]:
    where = "split = 'test'"
    rows = np.sort(index.table.search().where(where).select(["id"]).with_row_id(True).to_arrow()["_rowid"].to_numpy())
    drawn = chance.choice(rows, QUERIES, replace=False).tolist()
    lines: list[dict[str, str]] = []
    blocks, asked = index.blocks_of(drawn), index.values_of(drawn, LABELS)
    for name, mix in MIXES.items():
        shares = np.empty((QUERIES, len(LABELS)))
        for number, row in enumerate(drawn):
            query = Query({each: block[number] for each, block in blocks.items()}, (row,), ())
            hits = index.search(query, mix, k=K, where=where)
            found = [each["labels"] for each in index.values_of(hits.rows.tolist(), LABELS)]
            own = asked[number]["labels"]
            shares[number] = [np.mean([each[label] == own[label] for each in found]) for label in LABELS]
        draws = np.random.default_rng(0).integers(QUERIES, size=(DRAWS, QUERIES))
        for label, share in zip(LABELS, shares.T, strict=True):
            low, high = np.quantile(share[draws].mean(axis=1), [0.025, 0.975])
            number = {"precision": share.mean(), "low": low, "high": high}
            lines.append({"mix": name, "label": label} | {each: f"{value:.4f}" for each, value in number.items()})
            print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
