"""What is in the labels: counts, gaps, and what two of them have in common."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from mscon.data.information import as_codes, labelled, shared_information
from mscon.data.labels import LabelColumn, infer_kind
from mscon.data.splits import PARTS
from mscon.prepare import Prepared
from mscon.recipe import Recipe


@dataclass(frozen=True)
class ColumnFacts:
    """One label column.

    - `role`: `similarity` or `ood`; `kind`: as in `LabelColumn`.
    - `labelled`: train, val, test → rows with a value; `missing`: rows without one.
    - `classes`: class, tag or node of a path → rows, most frequent first; empty for numbers.
    - `untrained`: the classes, tags or whole paths that other rows have and no training row has, most frequent first.
    - `low`, `high`: least and greatest value of a continuous column; `period`: P, where it lies on a circle.
    - `perhaps_classes`: whether it was taken for numbers unasked, though they are few whole ones: a table with gaps
      often has 1.0 for 1.
    """

    name: str
    role: str
    kind: str
    labelled: dict[str, int]
    missing: int
    classes: dict[str, int]
    untrained: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    period: float | None = None
    perhaps_classes: bool = False


@dataclass(frozen=True)
class LinkFacts:
    """One table of pairs.

    - `linked`: train, val, test → the pairs within it; `across`: those whose two items are in different ones, which
      nothing counts.
    - `apart`: pairs judged different, over all rows.
    - `items`: rows that are linked to any.
    """

    name: str
    linked: dict[str, int]
    across: int
    apart: int
    items: int


@dataclass(frozen=True)
class Redundancy:
    """Two label columns, and the share of the smaller one's entropy that the other carries (`shared_information`)."""

    first: str
    second: str
    shared: float


def column_facts(name: str, recipe: Recipe, data: Prepared) -> ColumnFacts:
    """One label column over all rows."""
    label, values = data.labels[name], data.values[name]
    role = "ood" if name in recipe.catalog.ood else "similarity"
    known = labelled(values)
    in_parts = {part: int(known[getattr(data.split, part)].sum()) for part in PARTS}
    if label.kind == "continuous":
        numbers = values[known]
        ends = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        given: dict[str, Any] = {"low": ends[0], "high": ends[1], "period": label.period}
        if _guessed(name, recipe) and not known.all() and (numbers == numbers.round()).all():
            given["perhaps_classes"] = infer_kind(pl.Series(numbers).cast(pl.Int64, strict=False)) == "categorical"
        return ColumnFacts(name, role, label.kind, in_parts, int((~known).sum()), {}, **given)
    rows, trained = (_counts(label, each) for each in (values, values[data.split.train]))
    members = _of_members(label, rows)
    # A new set of tags is made of known ones, but a new path is a class that nothing was learned of.
    names = [label.text(value) for value in range(len(rows))]
    if label.kind == "tags":
        rows, trained, names = members, _of_members(label, trained), list(label.classes)
    return ColumnFacts(
        name,
        role,
        label.kind,
        in_parts,
        missing=int((~known).sum()),
        classes={label.classes[i]: int(members[i]) for i in _falling(members)},
        untrained=tuple(names[i] for i in _falling(rows) if rows[i] and not trained[i]),
    )


def _guessed(name: str, recipe: Recipe) -> bool:
    """Whether that a label holds numbers was read off its column, and not said."""
    if name in recipe.catalog.ood:
        return True
    similarity = recipe.similarities[name]
    return recipe.kind(name) is None and similarity.period is None and similarity.bandwidth is None


def _counts(label: LabelColumn, values: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " v"]:
    """Rows with each class, set of tags or path."""
    return np.bincount(values[values >= 0], minlength=len(label.members or label.classes))


def _of_members(label: LabelColumn, rows: Int64[np.ndarray, " v"]) -> Int64[np.ndarray, " k"]:
    """Rows with each class, tag or node of a path."""
    if not label.members:
        return rows
    of_members = np.zeros(len(label.classes), dtype=np.int64)
    for members, items in zip(label.members, rows, strict=True):
        of_members[list(members)] += items
    return of_members


def _falling(counts: Int64[np.ndarray, " k"]) -> list[int]:
    return np.argsort(-counts, kind="stable").tolist()


def link_facts(name: str, data: Prepared) -> LinkFacts:
    """One table of pairs over all rows."""
    table = data.pairs[name]
    linked = {part: len(table.within(getattr(data.split, part))) for part in PARTS}
    across = len(table) - sum(linked.values())
    return LinkFacts(name, linked, across, apart=len(table.apart), items=len(np.unique(table.edges)))


def redundancies(data: Prepared) -> list[Redundancy]:
    """What every two labels share."""
    codes = {name: as_codes(values) for name, values in data.values.items()}
    return [Redundancy(a, b, shared_information(codes[a], codes[b])) for a, b in combinations(codes, 2)]
