"""Studies: which catalog, which of its labels are learned and which are only asked for, and with what settings."""

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field, ValidationError, field_validator, model_validator

from mscon.data.catalog import Catalog
from mscon.data.originals import sets
from mscon.data.splits import PARTS
from mscon.errors import UserError, nearest
from mscon.experiments.tables import laid_over, names, read_table
from mscon.parsing import parse_toml
from mscon.settings import Section

IN_PRINT = ("published", "published_left_out")
"""What belongs to one study and not to those that are like it."""

TAKEN = {"joint", "equal", "uncertainty", "instance", "appearance"}
"""Words that methods are named by."""


class Preset(Section):
    """How long and with what a study's methods are trained.

    - `base`: the tables that `recipe`, itself without similarities, is laid over.
    - `learning_rates`: those to choose from, by validation.
    """

    base: str | None = None
    recipe: dict[str, Any] = Field(default={})
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)

    @field_validator("base")
    @classmethod
    def _known(cls, base: str | None) -> str | None:
        if base is not None and base not in (known := names("bases")):
            raise ValueError(f"there is no base {base!r}.{nearest(base, known)} Known: {', '.join(known)}")
        return base

    @field_validator("learning_rates")
    @classmethod
    def _distinct(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len({f"{rate:g}" for rate in rates}) < len(rates):
            raise ValueError("a rate is there twice: name every rate once")
        return rates

    @cached_property
    def tables(self) -> dict[str, Any]:
        """The whole recipe as nested tables."""
        return laid_over(read_table("bases", self.base) if self.base else {}, self.recipe)


class ClassesOf(Section):
    """Classes of as many training items each, made from a column of numbers."""

    of: str
    count: int = Field(ge=2)


class Study(Section):
    """One catalog and what is asked of it.

    - `data`: the catalog's name, NAME.parquet or the original files of a set; `split`: its column of parts.
    - `similarities`, `ood`: label columns to learn, and those that are only probed; all are read as classes.
    - `missing`: per column, values that stand for a missing label.
    - `classes`: labels made from numbers, by name.
    - `paper_probe`: whether to score by the paper's probe protocol, too.
    - `published`: method → label → percent, as published; `published_left_out`: where the label was left out of the
      training.
    """

    name: str
    about: str
    data: str
    split: str = "split"
    similarities: tuple[str, ...] = Field(min_length=1)
    ood: tuple[str, ...] = ()
    full: Preset
    quick: Preset
    missing: dict[str, tuple[str, ...]] = Field(default={})
    classes: dict[str, ClassesOf] = Field(default={})
    paper_probe: bool = False
    published: dict[str, dict[str, float]] = Field(default={})
    published_left_out: dict[str, dict[str, float]] = Field(default={})

    @model_validator(mode="after")
    def _names_are_free(self) -> "Study":
        for label in self.labels:
            if label in TAKEN or set(label) & set("/\\"):
                raise ValueError(f"a label called {label!r} would be taken for a method's: rename the column")
        if twice := [label for label in self.labels if self.labels.count(label) > 1]:
            raise ValueError(f"{twice[0]!r} is named twice")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """All that are scored, those learned first."""
        return self.similarities + self.ood

    @property
    def digest(self) -> str:
        """Twelve digits that tell what is read from the catalog and asked of it, the trainings apart."""
        asked = self.model_dump_json(exclude={"name", "about", "full", "quick", *IN_PRINT})
        return hashlib.sha256(asked.encode()).hexdigest()[:12]

    def preset(self, quick: bool) -> Preset:
        """The quick or the full one."""
        return self.quick if quick else self.full

    def table(self, root: Path) -> pl.DataFrame:
        """The catalog with labels as text, null where one is missing, and images by absolute paths.

        **Arguments:** `root`: the folder that holds DATA.parquet, or the original files of a set that `mscon data`
        knows.

        **Raises:** `UserError` when it is not there, lacks a column, or has not all of train, val and test.
        """
        source = root / f"{self.data}.parquet"
        if source.exists():
            catalog = Catalog.read(str(source), whole=True)
            table = catalog.table
            if table.schema[catalog.image] == pl.String:
                there = [catalog.image_source(row) for row in range(len(table))]
                table = table.with_columns(pl.Series(catalog.image, there, dtype=pl.String))
        elif self.data in sets.ABOUTS:
            source, table = root, sets.read(self.data, root).table
        else:
            raise UserError(f"{source} is not there: name the folder of {self.data}.parquet with --root")
        self._check(table, source)
        table = table.with_columns(table[self.split].alias("split"))
        made = [
            _classes(table[each.of], each.count, table["split"] == "train").alias(name)
            for name, each in self.classes.items()
        ]
        table = table.with_columns(made)
        known = [_known(table[name].cast(pl.String), self.missing.get(name, ())) for name in self.labels]
        return table.with_columns(known)

    def _check(self, table: pl.DataFrame, source: Path) -> None:
        needed = [name for name in (*self.labels, *self.missing) if name not in self.classes]
        needed += [self.split, *(each.of for each in self.classes.values())]
        for name in needed:
            if name not in table.columns:
                raise UserError(
                    f"{source} has no column {name!r}, which this study needs.{nearest(name, table.columns)}"
                    f" It has {', '.join(table.columns)}"
                )
            if table.schema[name].is_nested():
                raise UserError(f"{source}: {name!r} holds {table.schema[name]}; a study reads every label as classes")
        for each in self.classes.values():
            if not table.schema[each.of].is_numeric():
                raise UserError(f"{source}: {each.of!r} holds {table.schema[each.of]}, and not the numbers of classes")
        parts = set(table[self.split].cast(pl.String))
        if parts != set(PARTS):
            raise UserError(f"{source}: column {self.split!r} must name each item's part, train, val or test: {parts}")
        training = table.filter(table[self.split].cast(pl.String) == "train")
        for each in self.classes.values():
            if training[each.of].cast(pl.Float64).fill_nan(None).drop_nulls().is_empty():
                raise UserError(f"{source}: no train row has a number in {each.of!r}, so it cannot be cut into classes")


def study(name: str) -> Study:
    """One of the package's studies, or one of your own, by the path of a TOML file that is laid out as theirs.

    **Raises:** `UserError` for a name that is none, and for a file that is no study.
    """
    if not name.endswith(".toml"):
        if name not in (known := names("studies")):
            raise UserError(f"there is no study {name!r}.{nearest(name, known)} Known: {', '.join(known)}, or a .toml")
        return _study(name, read_table("studies", name))
    try:
        return _study(Path(name).stem, parse_toml(Path(name).read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = nearest(str(first["loc"][-1]), Study.model_fields) if first["type"] == "extra_forbidden" else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{name}: {where}{': ' if where else ''}{message}.{hint} See docs/reproduce.md") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: not a study that can be read: {error}") from None


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


def _study(name: str, given: Mapping[str, Any]) -> Study:
    return Study.model_validate({"data": name, **_whole(name, given), "name": name})


def _whole(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A study's tables over those of the one that it is like, which may be like another."""
    if "like" not in given:
        return dict(given)
    like, known = given["like"], names("studies")
    if like not in known:
        raise UserError(
            f"{name}: like: there is no study {like!r}.{nearest(str(like), known)} Known: {', '.join(known)}"
        )
    other = {"data": like} | _whole(like, read_table("studies", like))
    below = {key: value for key, value in other.items() if key not in IN_PRINT}
    return laid_over(below, {key: value for key, value in given.items() if key != "like"})


def _known(values: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    return values.set(values.is_in(missing).fill_null(False), None) if missing else values


def _classes(numbers: pl.Series, count: int, training: pl.Series) -> pl.Series:
    """0 … count − 1 by quantiles of the training items' numbers; null where a number is missing."""
    numbers = numbers.cast(pl.Float64).fill_nan(None)
    edges = np.quantile(numbers.filter(training).drop_nulls().to_numpy(), np.arange(1, count) / count)
    places = np.searchsorted(edges, numbers.fill_null(0.0).to_numpy(), side="right")
    return pl.Series(places).cast(pl.String).set(numbers.is_null(), None)
