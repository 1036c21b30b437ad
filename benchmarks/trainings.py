"""What the experiments share: a catalog with columns added, short trainings, probes on clean labels, a CSV that grows.

Every experiment is a list of cases, each a short training that is probed and written as one line; a case whose line is
there is skipped, so an experiment that was stopped goes on where it was, and several processes can take a part each
(`--part 0/2` and `--part 1/2`, with OMP_NUM_THREADS=1, are faster on two cores than one process with two threads).
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import torch
from measuring import real_catalog
from torch import Tensor

from mscon.embed import embed_pixels
from mscon.evaluate import knn_categorical, probe_categorical
from mscon.prepare import Prepared
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train

SHORT: dict[str, Any] = {
    "image.size": 32,
    "model.stages": [{"stage": -3, "grid": 2}, {"stage": -2, "grid": 2}, {"stage": -1, "grid": 1}],
    "training.epochs": 5,
    "training.keep": "last",
}
"""A training of about a minute on two cores; what it leaves out, it leaves out of every method alike."""

STRENGTHS = (1e0, 1e-1, 1e-2, 1e-3)


@dataclass(frozen=True)
class Trained:
    """A short training's run, its catalog and the embedding of every item in it."""

    run: Run
    data: Prepared
    embedding: Tensor

    @property
    def last_epoch(self) -> dict[str, dict[str, float]]:
        """Each similarity's terms, averaged over the records of the last epoch."""
        records = [each for each in self.run.metrics() if each["kind"] == "train"]
        late = [each["terms"] for each in records if each["epoch"] > records[-1]["epoch"] - 1]
        return {
            name: {key: float(np.mean([each[name][key] for each in late])) for key in ("relative_excess", "weight")}
            for name in late[0]
        }

    @property
    def trust(self) -> dict[str, dict[str, float]]:
        """What the weighting made of the last validation."""
        return [each for each in self.run.metrics() if each["kind"] == "val"][-1]["trust"]


def trained(
    source: Path, similarities: Mapping[str, Mapping[str, Any]], folder: Path, settings: Mapping[str, Any]
) -> Trained:
    """Train as `SHORT` says, `settings` changed, and embed every item."""
    tables = {
        "catalog": {"source": str(source)},
        "similarities": {name: dict(each) for name, each in similarities.items()},
    }
    recipe = Recipe.of(tables, SHORT | dict(settings))
    run = train(recipe, folder)
    data = run.prepare()
    return Trained(run, data, embed_pixels(run.model(), data.pixels.array))


def labels(done: Trained, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of the catalog as codes."""
    return {name: codes(done.data.catalog.column(name)) for name in names}


def accuracies(done: Trained, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of linear probes on the embedding, in percent of the test items."""
    probes = probe_categorical(done.embedding, columns, done.data.split, strengths=STRENGTHS)
    return {name: round(100 * probe.accuracy, 3) for name, probe in probes.items()}


def own_heads(done: Trained, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of the nearest training items in the head of the column's name, in percent of the test items."""
    model = done.run.model()
    found: dict[str, float] = {}
    for name, column in columns.items():
        projections = model.project_embedding(done.embedding, name)
        found[name] = round(100 * knn_categorical(projections, {name: column}, done.data.split)[name].value, 3)
    return found


def codes(values: pl.Series) -> np.ndarray:
    """Classes as numbers, −1 where one is missing."""
    return (values.cast(pl.String).rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy(writable=True)


def catalog(name: str) -> pl.DataFrame:
    """One of the real catalogs."""
    return pl.read_parquet(real_catalog(name))


def go_through(
    cases: Iterable[Mapping[str, Any]], work: Callable[[Mapping[str, Any], Path], Mapping[str, Any]], out: Path
) -> None:
    """Work through cases, each in a folder of its own that goes with it, and write a line for each, as the command line
    says.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/experiments"), help="for a case's catalog and run, while it lasts"
    )
    parser.add_argument("--part", default="0/1", help="which part of the cases, such as 1/2")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on")
    given = parser.parse_args()
    part, parts = map(int, given.part.split("/"))
    given.folder.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in cases if case["seed"] < given.seeds]
    for case in wanted[part::parts]:
        if _key(case) in _written(out, case):
            continue
        torch.manual_seed(0)
        # A run keeps a tenth of a gigabyte, and there are a hundred of them.
        with TemporaryDirectory(dir=given.folder) as own:
            row = {**case, **work(case, Path(own))}
        new = not out.exists()
        with out.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(json.dumps(row), flush=True)


def _written(out: Path, case: Mapping[str, Any]) -> set[tuple[str, ...]]:
    if not out.exists():
        return set()
    with out.open(newline="", encoding="utf-8") as file:
        return {tuple(row[key] for key in case) for row in csv.DictReader(file)}


def _key(case: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(each) for each in case.values())
