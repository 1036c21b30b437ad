"""Label noise, and which weighting notices: python benchmarks/noise.py

`footwear` under category, gender and colour, colour's labels being noisy, coarser, or given several times:

- `noise`: a share of colour's training and validation labels is shuffled among its items.
- `merged`: colours are merged by likeness into fewer classes, then a share of them is shuffled.
- `copies`: colour is there three times, or once more as a noisy copy.
- `long`: 30 epochs instead of 5, all of colour's labels being shuffled: time to learn them by heart.
- `most`: all of colour's and of gender's labels are shuffled, so that two of the three similarities are noise.

Each case is one short training, linear probes on the clean labels, and the accuracy of nearest neighbours in each
similarity's own head, theirs being clean too. Writes benchmarks/noise.csv line by line.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from trainings import accuracies, catalog, go_through, labels, own_heads, trained

OUT = Path(__file__).with_suffix(".csv")
LABELS = ("category", "gender", "colour", "brand")
SHARES = (0, 20, 40, 60, 80, 100)
METHODS: dict[str, dict[str, Any]] = {
    "equal": {"objective.weighting": "equal"},
    "uncertainty": {"objective.weighting": "uncertainty"},
    "excess": {"objective.weighting": "excess"},
}
FAMILIES = {
    10: "Black Charcoal|White|Brown Tan Bronze|Grey Silver|Blue Navy_Blue|Red Maroon|Green Olive Khaki|"
    "Beige Gold Yellow|Pink Purple Orange|Multi other",
    5: "Black Charcoal Grey Silver|White|Brown Tan Bronze Beige Gold Khaki Yellow|Blue Navy_Blue Green Olive Purple|"
    "Red Maroon Pink Orange Multi other",
    2: "Black Charcoal Grey Silver Blue Navy_Blue Green Olive Purple|"
    "White Brown Tan Bronze Beige Gold Khaki Yellow Red Maroon Pink Orange Multi other",
}


def cases() -> Iterator[dict[str, Any]]:
    """Seed by seed, so that every table is whole before any gets its next seed; the long ones come last.

    `merged 23` at 0 and 20% would be `shuffled 0` and `shuffled 20` again.
    """
    for seed in range(10):
        for share in SHARES:
            for method in ("equal", "excess", "uncertainty"):
                yield {"seed": seed, "table": "noise", "colour_is": f"shuffled {share}", "method": method}
        for column in ("shuffled 0 x3", "shuffled 20 x2"):
            for method in ("equal", "excess"):
                yield {"seed": seed, "table": "copies", "colour_is": column, "method": method}
        for column in ("23 50", *(f"{classes} {share}" for classes in FAMILIES for share in (0, 20, 50))):
            for method in ("excess", "uncertainty"):
                yield {"seed": seed, "table": "merged", "colour_is": f"merged {column}", "method": method}
    for seed in range(10):
        for method in ("equal", "excess"):
            yield {"seed": seed, "table": "long", "colour_is": "shuffled 100", "method": method}
    for seed in range(10):
        for method in ("equal", "excess"):
            yield {"seed": seed, "table": "most", "colour_is": "shuffled 100", "method": method}


def work(case: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One training and its probes."""
    kind, *amounts = case["colour_is"].replace(" x3", "").replace(" x2", "").split()
    table = catalog("footwear").filter(pl.col("brand") != "other")
    rng = np.random.default_rng((case["seed"], 7))
    known = table["split"].is_in(["train", "val"]).to_numpy()
    colour = table["colour"].to_numpy()
    if kind == "merged":
        colour = _merged(colour, int(amounts[0]))
    noisy = _shuffled(colour, known, int(amounts[-1]) / 100, rng)
    gender = _shuffled(table["gender"].to_numpy(), known, 1.0, rng)
    source = folder / f"noise-{case['seed']}-{case['colour_is'].replace(' ', '-')}.parquet"
    added = {"noisy": noisy, "merged": colour, "noisy_gender": gender}
    table.with_columns(pl.Series(name, each) for name, each in added.items()).write_parquet(source)
    similarities: dict[str, dict[str, Any]] = {"category": {}, "gender": {}, "colour": {"column": "noisy"}}
    if case["table"] == "most":
        similarities["gender"] = {"column": "noisy_gender"}
    if case["colour_is"].endswith(" x3"):
        similarities |= {"again": {"column": "colour"}, "once_more": {"column": "colour"}}
    if case["colour_is"].endswith(" x2"):
        similarities |= {"colour": {"column": "colour"}, "again": {"column": "noisy"}}
    run = folder / f"{source.stem}-{case['method']}"
    settings = METHODS[case["method"]] | {"training.seed": case["seed"]}
    if case["table"] == "long":
        settings["training.epochs"] = 30
    done = trained(source, similarities, run, settings)
    last, trust = done.last_epoch, done.trust
    share = {name: each["weight"] / len(similarities) for name, each in last.items()}
    row: dict[str, Any] = {f"probe_{name}": value for name, value in accuracies(done, labels(done, LABELS)).items()}
    row |= {f"own_head_{name}": value for name, value in own_heads(done, labels(done, LABELS[:3])).items()}
    for name in ("category", "gender", "colour", "again", "once_more"):
        row[f"weight_{name}"] = round(share[name], 4) if name in share else ""
        row[f"r_{name}"] = round(last[name]["relative_excess"], 4) if name in last else ""
        row[f"held_out_r_{name}"] = round(trust[name]["relative_excess"], 4) if name in trust else ""
        row[f"noise_{name}"] = round(trust[name]["noise_share"], 4) if name in trust else ""
    return row


def _shuffled(labels: np.ndarray, where: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(where)
    chosen = rng.permutation(rows)[: round(share * len(rows))]
    noisy = labels.copy()
    noisy[chosen] = labels[rng.permutation(chosen)]
    return noisy


def _merged(labels: np.ndarray, classes: int) -> np.ndarray:
    """Into families; 23 is all of them."""
    if classes not in FAMILIES:
        return labels
    of = {name: family for family in FAMILIES[classes].split("|") for name in family.replace("_", " ").split()}
    of |= {"Navy Blue": next(family for family in FAMILIES[classes].split("|") if "Navy_Blue" in family)}
    return np.array([of[label] for label in labels])


if __name__ == "__main__":
    go_through(cases(), work, OUT)
