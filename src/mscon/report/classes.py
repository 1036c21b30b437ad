"""Class by class: how often the probe is right, and what it takes for what; from predictions.parquet."""

from dataclasses import dataclass

import polars as pl

from mscon.report.diagnosis import Cell

SHOWN = 24
"""Classes of a label with a bar of their own, the most frequent; predictions.parquet tells of all."""

FEW_CLASSES = 12
"""Up to so many have a table of every class against every other; of more, the most frequent mistakes are listed."""

MISTAKES = 8


@dataclass(frozen=True)
class ClassScore:
    """One class on test: `recall`, the share of its items that are told right; `precision`, the share of items told to
    be of it that are, None where none is told so.
    """

    name: str
    items: int
    recall: float
    precision: float | None


@dataclass(frozen=True)
class Mistake:
    """How many test items of class `truth` are told to be `predicted`."""

    truth: str
    predicted: str
    items: int


@dataclass(frozen=True)
class ClassTable:
    """One label, class by class.

    - `classes`: the most frequent of the test items' classes first; `more`: how many others there are.
    - `names`, `confusion`: of few classes all that occur, and a row of cells for each true one, shares of its items;
      empty for many.
    - `mistakes`: the most frequent ones.
    """

    label: str
    classes: tuple[ClassScore, ...]
    more: int
    names: tuple[str, ...]
    confusion: tuple[tuple[Cell, ...], ...]
    mistakes: tuple[Mistake, ...]


def class_tables(predictions: pl.DataFrame | None) -> list[ClassTable]:
    """A table for each label that has classes or whole paths; none without predictions."""
    if predictions is None:
        return []
    told = predictions.filter(pl.col("truth_numbers").is_null(), pl.col("predicted").is_not_null())
    return [_table(str(name), rows) for (name,), rows in told.group_by("label", maintain_order=True)]


def _table(label: str, rows: pl.DataFrame) -> ClassTable:
    counts = (
        rows.group_by("truth", "predicted").len().sort(["len", "truth", "predicted"], descending=[True, False, False])
    )
    pairs = {(truth, predicted): items for truth, predicted, items in counts.iter_rows()}
    there, told = (_counted(rows, side) for side in ("truth", "predicted"))
    right = {name: pairs.get((name, name), 0) for name in (*there, *told)}
    scores = [
        ClassScore(name, items, right[name] / items, right[name] / told[name] if name in told else None)
        for name, items in there.items()
    ]
    names = tuple({**there, **told})
    few = len(names) <= FEW_CLASSES
    confusion = [[_cell(pairs.get((truth, each), 0), there[truth]) for each in names] for truth in there] if few else []
    mistakes = [Mistake(*pair, items) for pair, items in pairs.items() if pair[0] != pair[1]]
    return ClassTable(
        label=label,
        classes=tuple(scores[:SHOWN]),
        more=len(scores[SHOWN:]),
        names=names if few else (),
        confusion=tuple(map(tuple, confusion)),
        mistakes=tuple(mistakes[:MISTAKES]),
    )


def _counted(rows: pl.DataFrame, side: str) -> dict[str, int]:
    """Items of each class, the most frequent first, equal ones by name."""
    return dict(rows.group_by(side).len().sort(["len", side], descending=[True, False]).iter_rows())


def _cell(items: int, of: int) -> Cell:
    return Cell(f"{items:,}" if items else "", items / of, below=False)
