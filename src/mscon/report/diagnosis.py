"""The diagnostics of evaluation.json as the page shows them: warnings, a table of bars, and a grid for every pair."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Meter:
    """A number, and how much of a bar it fills: 0 … 1."""

    text: str
    share: float


@dataclass(frozen=True)
class Row:
    """One representation, the shared embedding or a head, with a meter per column; None where there is no number."""

    name: str | None
    meters: tuple[Meter | None, ...]


@dataclass(frozen=True)
class Cell:
    """A number of two similarities and how strongly it is coloured, 0 … 1; `below` when it is negative."""

    text: str
    share: float
    below: bool


@dataclass(frozen=True)
class Grid:
    """One figure for every pair: a row for every similarity but the first, a cell for each one before it."""

    title: str
    note: str
    cells: tuple[tuple[Cell | None, ...], ...]


@dataclass(frozen=True)
class Diagnosis:
    """What the section holds; `names` are those of the similarities, in the order of rows and grids."""

    items: int
    warnings: tuple[str, ...]
    names: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    grids: tuple[Grid, ...]


COLUMNS = (
    ("relative excess", "0 at the floor, 1 at chance, on held-out items"),
    ("weight", "at the end of training; equal ones would be 1"),
    ("effective rank", "directions that the items are spread over"),
    ("uniformity", "0: all in one direction; the lower, the more evenly spread"),
    ("alone", "items without another of their class in a batch"),
)
GRIDS = (
    ("shared_information", "labels", "Shared information: 1 where one label follows from the other."),
    ("cka", "heads", "Linear CKA of the projections: 1 where both heads learned the same."),
    ("gradient_cosine", "gradients", "Cosine at the embedding: below 0 what helps one harms the other."),
)
SPREAD = 4.0
"""Minus the uniformity of directions that are spread evenly, see `mscon.evaluate.geometry.uniformity`."""


def read_diagnosis(evaluation: Mapping[str, Any]) -> Diagnosis | None:
    """The section's content; None for an evaluation without diagnostics."""
    facts = evaluation.get("diagnostics")
    if facts is None:
        return None
    heads = facts["heads"]
    names = tuple(head["name"] for head in heads)
    widest = max([facts["effective_rank"], *(head["effective_rank"] for head in heads), 1.0])
    heaviest = max([1.0, *(head["weight"] for head in heads if head["weight"] is not None)])
    rows = [
        Row(each.get("name"), _meters(each, widest=widest, heaviest=heaviest))
        for each in ({**facts, "name": None}, *heads)
    ]
    pairs = {(each["first"], each["second"]): each for each in facts["pairs"]}
    grids = [
        Grid(title, note, _cells(names, {pair: each[figure] for pair, each in pairs.items()}))
        for figure, title, note in GRIDS
        if any(each[figure] is not None for each in pairs.values())
    ]
    return Diagnosis(facts["items"], tuple(facts["warnings"]), names, COLUMNS, tuple(rows), tuple(grids))


def _meters(each: Mapping[str, Any], *, widest: float, heaviest: float) -> tuple[Meter | None, ...]:
    return (
        _meter(each.get("relative_excess"), "{:.2f}", 1.0),
        _meter(each.get("weight"), "{:.2f}", heaviest),
        _meter(each["effective_rank"], "{:.1f}", widest),
        _meter(each["uniformity"], "{:.2f}", -SPREAD),
        _meter(each.get("alone"), "{:.1%}", 1.0),
    )


def _meter(value: float | None, form: str, full: float) -> Meter | None:
    if value is None:
        return None
    return Meter(_signed(form.format(value)), min(1.0, max(0.0, value / full)))


def _cells(
    names: tuple[str, ...], values: Mapping[tuple[str, str], float | None]
) -> tuple[tuple[Cell | None, ...], ...]:
    return tuple(
        tuple(_cell(values[before, name]) for before in names[:place]) for place, name in enumerate(names) if place
    )


def _cell(value: float | None) -> Cell | None:
    return None if value is None else Cell(_signed(f"{value:.2f}"), abs(value), value < 0)


def _signed(number: str) -> str:
    """With a minus as the page has it, and none on a rounded zero."""
    return number.replace("-0.00", "0.00").replace("-", "−")
