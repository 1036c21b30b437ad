"""Similarities of numbers: kernels on ranks beside bins and Rank-N-Contrast: python benchmarks/continuous.py

`footwear` under category, lightness and year, `clothing` under category and lightness, with equal weights; numbers as

- `continuous`: `Continuous`, a kernel on ranks; on `clothing` also with other bandwidths (`continuous h=…`);
- `5 bins`, `10 bins`: categories of as many items each, cut on the training items;
- `rank_n_contrast`: as published (Zha et al. 2023);
- `continuous of x³`: as the first, of the cube of lightness, a rising function: only units differ.

Measured on test: R² of a ridge probe on the embedding, and Spearman's correlation of the truth with the mean of the
nearest training items in the similarity's own head. Writes benchmarks/continuous.csv line by line.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from trainings import accuracies, catalog, go_through, labels, trained

from mscon.evaluate import knn_continuous, probe_continuous

OUT = Path(__file__).with_suffix(".csv")
NUMBERS = {"footwear": ("lightness", "year"), "clothing": ("lightness",)}
METHODS = ("continuous", "rank_n_contrast", "5 bins", "10 bins")
BANDWIDTHS = ("0.1", "0.025")


def cases() -> Iterator[dict[str, Any]]:
    """Seed by seed."""
    for seed in range(10):
        for name in NUMBERS:
            for method in METHODS:
                yield {"seed": seed, "catalog": name, "method": method}
        if seed == 0:
            yield {"seed": seed, "catalog": "clothing", "method": "continuous of x³"}
    for seed in range(10):
        for bandwidth in BANDWIDTHS:
            yield {"seed": seed, "catalog": "clothing", "method": f"continuous h={bandwidth}"}


def work(case: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One training and its probes."""
    method, name = case["method"], case["catalog"]
    table = catalog(name)
    training = table.filter(pl.col("split") == "train")
    similarities: dict[str, dict[str, Any]] = {"category": {}}
    for label in NUMBERS[name]:
        if method.endswith("bins"):
            count = int(method.split()[0])
            edges = np.unique(np.quantile(training[label].drop_nulls().to_numpy(), np.arange(1, count) / count))
            # Ties at an edge go down, so that a year is in one bin.
            bins = np.searchsorted(edges, table[label].to_numpy(), side="left")
            table = table.with_columns(pl.Series(f"{label}_bins", bins.astype(str)))
            similarities[label] = {"kind": "categorical", "column": f"{label}_bins"}
        else:
            kind, _, bandwidth = method.partition(" h=")
            similarities[label] = {"kind": kind.split()[0]} | ({"bandwidth": float(bandwidth)} if bandwidth else {})
    if method.endswith("x³"):
        table = table.with_columns(pl.col("lightness").cast(pl.Float64) ** 3)
    source = folder / f"continuous-{case['seed']}-{name}-{method.replace(' ', '-')}.parquet"
    table.write_parquet(source)
    # Lightness is what brightness changes: those views would teach the encoder to ignore it.
    settings: dict[str, Any] = {"views.brightness": 0.0, "views.contrast": 0.0}
    settings |= {"objective.weighting": "equal", "training.seed": case["seed"]}
    done = trained(source, similarities, folder / source.stem, settings)
    read = catalog(name)[done.data.pixels.rows]
    columns = {label: read[label].cast(pl.Float64).to_numpy() for label in NUMBERS[name]}
    probes = probe_continuous(done.embedding, columns, done.data.split)
    model, row = done.run.model(), {}
    for label in ("lightness", "year"):
        if label not in columns:
            row |= {f"r2_{label}": "", f"spearman_{label}": ""}
            continue
        own = model.project_embedding(done.embedding, label)
        near = knn_continuous(own, {label: columns[label]}, done.data.split)[label]
        row |= {f"r2_{label}": round(probes[label].r2, 6), f"spearman_{label}": round(near.value, 6)}
    return row | {f"probe_{label}": value for label, value in accuracies(done, labels(done, ("category",))).items()}


if __name__ == "__main__":
    go_through(cases(), work, OUT)
