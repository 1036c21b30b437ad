"""Studies: which catalog, which of its labels are learned and which are only asked for, and with what settings."""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mscon.data.originals import sets
from mscon.errors import UserError, nearest
from mscon.experiments.tables import laid_over, names, read_table

IN_PRINT = ("published", "published_left_out")
"""What belongs to one study and not to those that are like it."""


@dataclass(frozen=True)
class Preset:
    """How long and with what a study's methods are trained.

    - `recipe`: nested tables, without a catalog and similarities.
    - `learning_rates`: those to choose from, by validation.
    """

    recipe: Mapping[str, Any]
    learning_rates: tuple[float, ...]


@dataclass(frozen=True)
class Study:
    """One catalog and what is asked of it.

    - `data`: the catalog's name, NAME.parquet or the original files of a set; `split`: its column of parts.
    - `similarities`, `ood`: label columns to learn, and those that are only probed.
    - `missing`: per column, values that stand for a missing label.
    - `classes`: classes of as many training items each, made from a column of numbers: name → (column, how many).
    - `paper_probe`: whether to score by the paper's probe protocol, too.
    - `published`: method → label → percent, as published; `published_left_out`: where the label was left out of the
      training.
    """

    name: str
    about: str
    data: str
    split: str
    similarities: tuple[str, ...]
    ood: tuple[str, ...]
    full: Preset
    quick: Preset
    missing: Mapping[str, tuple[str, ...]]
    classes: Mapping[str, tuple[str, int]]
    paper_probe: bool
    published: Mapping[str, Mapping[str, float]]
    published_left_out: Mapping[str, Mapping[str, float]]

    @property
    def labels(self) -> tuple[str, ...]:
        """All that are scored, those learned first."""
        return self.similarities + self.ood

    def preset(self, quick: bool) -> Preset:
        """The quick or the full one."""
        return self.quick if quick else self.full

    def table(self, root: Path, *, progress: Callable[[int, int], None] | None = None) -> pl.DataFrame:
        """The catalog with missing values as null and classes of numbers added.

        **Arguments:** `root`: the folder that holds NAME.parquet, or the original files of a set that `mscon data`
        knows.

        **Raises:** `UserError` when it is not there, or lacks a column.
        """
        path = root / f"{self.data}.parquet"
        if path.exists():
            table = pl.read_parquet(path)
            if table.schema.get("image") == pl.String:  # wherever the table lies from now on
                table = table.with_columns(image=pl.col("image").map_elements(lambda each: str(root / each), pl.String))
        elif self.data in sets.ABOUTS:
            table = sets.read(self.data, root, progress=progress).table
        else:
            raise UserError(f"{path} is not there: name the folder of {self.data}.parquet with --root")
        needed = [
            *(name for name in self.labels if name not in self.classes),
            *(each for each, _ in self.classes.values()),
        ]
        if lacking := [name for name in (*needed, self.split) if name not in table.columns]:
            raise UserError(
                f"{path} has no column {lacking[0]!r}, which this study needs. It has {', '.join(table.columns)}"
            )
        table = table.with_columns(table[self.split].alias("split"))
        for column, values in self.missing.items():
            known = pl.when(pl.col(column).cast(pl.String).is_in(values)).then(None).otherwise(pl.col(column))
            table = table.with_columns(known.alias(column))
        return table.with_columns(
            _classes(table[column], count, table["split"] == "train").alias(name)
            for name, (column, count) in self.classes.items()
        )


def study(name: str) -> Study:
    """One of the package's studies, or one of your own, by the path of a TOML file that is laid out as theirs.

    **Raises:** `UserError` for a name that is none, and for a file that is no study.
    """
    if name.endswith(".toml"):
        try:
            return _study(Path(name).stem, tomllib.loads(Path(name).read_text(encoding="utf-8")))
        except KeyError as error:
            raise UserError(
                f"{name}: {error.args[0]!r} is missing; see docs/reproduce.md for what a study says"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{name}: not a study that can be read: {error}") from None
    if name not in (known := names("studies")):
        raise UserError(f"there is no study {name!r}.{nearest(name, known)} Known: {', '.join(known)}, or a .toml file")
    return _study(name, read_table("studies", name))


def _study(name: str, given: Mapping[str, Any]) -> Study:
    other = {} if "like" not in given else read_table("studies", given["like"])
    table = laid_over({key: value for key, value in other.items() if key not in IN_PRINT}, given)
    return Study(
        name=name,
        about=table["about"],
        data=table.get("data", name),
        split=table.get("split", "split"),
        similarities=tuple(table["similarities"]),
        ood=tuple(table["ood"]),
        full=_preset(table["full"]),
        quick=_preset(table["quick"]),
        missing={column: tuple(values) for column, values in table.get("missing", {}).items()},
        classes={each: (made["of"], made["count"]) for each, made in table.get("classes", {}).items()},
        paper_probe=table.get("paper_probe", False),
        published=table.get("published", {}),
        published_left_out=table.get("published_left_out", {}),
    )


def find_root(name: str, root: Path | None) -> Path:
    """The folder of a study's data: the one given, or NAME below the one that the environment variable MSCON_DATA
    names. **Raises** `UserError` when it is not there.
    """
    base = os.environ.get("MSCON_DATA")
    found = root or (Path(base) / name if base else None)
    if found is None:
        raise UserError(f"where is the data of {name}? Name its folder with --root, or the one above it by MSCON_DATA")
    if not found.is_dir():
        raise UserError(f"{found}: there is no such folder. Name the one that holds the data of {name} with --root")
    return found.absolute()


def _preset(table: Mapping[str, Any]) -> Preset:
    base = table.get("base")
    if base is not None and base not in (known := names("bases")):
        raise UserError(f"there is no base {base!r} for a study.{nearest(base, known)} Known: {', '.join(known)}")
    recipe = laid_over(read_table("bases", base) if base else {}, table.get("recipe", {}))
    return Preset(recipe, tuple(table["learning_rates"]))


def _classes(numbers: pl.Series, count: int, training: pl.Series) -> pl.Series:
    """0 … count − 1 by quantiles of the training items' numbers; null where a number is missing."""
    edges = np.quantile(numbers.filter(training).drop_nulls().to_numpy(), np.arange(1, count) / count)
    places = np.searchsorted(edges, numbers.fill_null(0.0).to_numpy(), side="right")
    return pl.Series(places).cast(pl.String).set(numbers.is_null(), None)
