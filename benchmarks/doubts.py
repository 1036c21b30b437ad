"""What wrong labels cost, and what leaving out those in doubt gives back: python benchmarks/doubts.py

`footwear` under category, gender and colour, equal weights, 30 epochs. 20% of the training and validation items get
another colour at random:

- `clean`: none does.
- `replaced`: nobody knows which.
- `audited`: the same, with `training.audit_epochs = 3`.
- `weighed`: the same, with `objective.item_weights`.
- `known`: those 20% have no colour instead, as if an audit without a fault had been held before the start.

Measured on test: linear probes, and the accuracy of nearest neighbours in each similarity's own head, both with clean
labels; and for colour once more with the labels that the training was left with (`kept`): those are what its user has.
Writes benchmarks/doubts.csv line by line.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import safe_open
from trainings import Trained, accuracies, catalog, go_through, labels, own_heads, trained

from mscon.checkpoint import latest_checkpoint

OUT = Path(__file__).with_suffix(".csv")
LABELS = ("category", "gender", "colour", "brand")
COLOURS = ("audited", "clean", "replaced", "known", "weighed")
WEIGHED = {"objective.item_uncertainty": True, "objective.item_weights": True}
REPLACED = 0.2


def cases() -> Iterator[dict[str, Any]]:
    """Seed by seed."""
    for seed in range(10):
        for colours in COLOURS:
            yield {"seed": seed, "colours": colours}


def work(case: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One training and its probes."""
    table = catalog("footwear").filter(pl.col("brand") != "other")
    colour = table["colour"].to_numpy()
    wrong = _replaced(colour, table["split"].is_in(["train", "val"]).to_numpy(), np.random.default_rng(case["seed"]))
    settings = {"objective.weighting": "equal", "training.seed": case["seed"]}
    given = {"clean": colour, "known": np.where(wrong == colour, colour, None)}.get(case["colours"], wrong)
    settings |= {"training.epochs": 30, "training.audit_epochs": 3 if case["colours"] == "audited" else 0}
    settings |= WEIGHED if case["colours"] == "weighed" else {}
    source = folder / "given.parquet"
    table.with_columns(given=pl.Series(given.tolist(), dtype=pl.String)).write_parquet(source)
    done = trained(source, {"category": {}, "gender": {}, "colour": {"column": "given"}}, folder / "run", settings)
    doubted = [each for each in done.run.metrics() if each["kind"] == "val"][-1]["doubted"]
    kept = {"colour": _kept(done)}
    row: dict[str, Any] = {f"probe_{name}": value for name, value in accuracies(done, labels(done, LABELS)).items()}
    row |= {f"own_head_{name}": value for name, value in own_heads(done, labels(done, LABELS[:3])).items()}
    row |= {"kept_probe_colour": accuracies(done, kept)["colour"], "kept_head_colour": own_heads(done, kept)["colour"]}
    return row | {f"doubted_{name}": doubted.get(name, "") for name in LABELS[:3]}


def _kept(done: Trained) -> np.ndarray:
    """Codes of colour as the training was left with them: given ones that are not doubted; of test items clean ones."""
    clean, given = done.data.catalog.column("colour"), done.data.catalog.column("given")
    known = sorted({*clean.drop_nulls(), *given.drop_nulls()})
    numbers = {name: number for number, name in enumerate(known)}
    kept = np.array([numbers.get(each, -1) for each in given])
    test = done.data.split.test
    kept[test] = [numbers.get(each, -1) for each in clean[test]]
    if done.run.recipe.training.audit_epochs:
        last = latest_checkpoint(done.run.checkpoints)
        assert last is not None
        with safe_open(last, framework="pt") as file:
            doubted = file.get_tensor("doubts/doubted").numpy()[list(done.run.recipe.labelled).index("colour")]
        kept[doubted] = -1
    return kept


def _replaced(labels: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """By another class, each as likely."""
    rows = np.flatnonzero(where)
    chosen = rng.permutation(rows)[: round(REPLACED * len(rows))]
    classes, numbers = np.unique(labels, return_inverse=True)
    noisy = labels.copy()
    noisy[chosen] = classes[(numbers[chosen] + rng.integers(1, len(classes), len(chosen))) % len(classes)]
    return noisy


if __name__ == "__main__":
    go_through(cases(), work, OUT)
