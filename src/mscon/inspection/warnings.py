"""What of an inspection a user should know before training, in plain words."""

import re
from collections.abc import Container, Iterator, Mapping, Sequence

from mscon.inspection.batches import ALONE, BatchFacts, larger_batches
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy
from mscon.words import joined_names, listed, span

RARE = 10
"""Items below which a class is called rare."""

MUCH = 0.5
"""Share of one label's entropy that another must carry before the two are called redundant."""

ACROSS = 0.1
"""Share of pairs whose items are in different splits, and that nothing counts, before they are told of."""


_ABSENT = re.compile(r"(.*/)?\s*(n\\?/?a|nan|none|null)\s*", re.DOTALL | re.IGNORECASE)
"""A class, or the last node of a path, whose name often stands for a value that is not known."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")

LACKING = {
    "train": "it can't be learned or probed",
    "val": "nothing is chosen by it: neither how far it is trusted, nor its probe's strength",
    "test": "it will not be scored",
}
"""What comes of a part in which no item has a label."""


def part_warnings(columns: Sequence[ColumnFacts]) -> Iterator[str]:
    """Labels that no item of a part has."""
    for column in columns:
        if lacking := [part for part, count in column.labelled.items() if count == 0]:
            train, val, test = (f"{count:,} {part}" for part, count in column.labelled.items())
            follows = "; ".join(LACKING[part] for part in lacking)
            yield (
                f"{column.name}: {train}, {val} and {test} items have it, so {follows}. Divide the rows otherwise"
                " (catalog.split), or label more of them."
            )


def reading_warnings(columns: Sequence[ColumnFacts]) -> Iterator[str]:
    """Labels perhaps read as what they are not: classes as numbers, and words for nothing or dates as classes."""
    for column in columns:
        if column.perhaps_classes:
            mend = "write them as text" if column.role == "ood" else f"--similarity {column.name}:categorical"
            yield (
                f"{column.name}: read as numbers, though they are few and whole, written 1.0 for 1 as in tables with"
                f" empty cells. If they name classes: {mend}."
            )
        if absent := list(filter(_ABSENT.fullmatch, column.classes)):
            items = sum(column.classes[name] for name in absent)
            yield (
                f"{column.name}: {_some(absent)} ({items:,} item{'s' * (items != 1)}) is read as a class like any"
                " other. If it means that the value is not known, empty these cells."
            )
        items = sum(column.classes.values())
        if len(column.classes) > items / 2 and all(map(_DATE.match, column.classes)):
            yield (
                f"{column.name}: dates are read as classes, {len(column.classes):,} of {items:,} items, so that hardly"
                " two items are alike. Learn from a column with less of them, such as the month or the year, or with"
                " their days counted, which are numbers."
            )


def label_warnings(columns: Sequence[ColumnFacts]) -> Iterator[str]:
    """Classes that are rare, or that training never sees."""
    for column in columns:
        if rare := [name for name, count in column.classes.items() if count < RARE]:
            yield f"{column.name}: {_classes_have(rare)} fewer than {RARE} items ({_some(rare)})."
        if column.untrained:
            yield (
                f"{column.name}: {_classes_have(column.untrained)} no item in train ({_some(column.untrained)}): what"
                " no training item shows can't be learned or probed. Divide the rows otherwise, or merge classes."
            )


def link_warnings(links: Sequence[LinkFacts]) -> Iterator[str]:
    """Pairs that are lost to the split."""
    for each in links:
        if (lost := each.across / max(1, each.across + sum(each.linked.values()))) > ACROSS:
            yield (
                f"{each.name}: {lost:.0%} of its pairs have their items in different splits and count for nothing. Give"
                " the catalog a split, or a group column, that keeps linked items together."
            )


def batch_warnings(batches: Sequence[BatchFacts], size: int) -> Iterator[str]:
    """Items that are alone in their batches of `size`."""
    for each in batches:
        if each.lonely > ALONE:
            alone = f"{each.name}: {each.lonely:.0%} of its items find no other that is alike in a batch of {size}."
            yield f"{alone} {larger_batches(each.name, each.sampler, each.per_class)}"


def redundancy_warnings(
    redundancy: Sequence[Redundancy], ood: Container[str], *, weighting: object, copies: Mapping[str, str]
) -> Iterator[str]:
    """Labels that say much the same, each group of them once.

    **Arguments:**

    - `ood`: those that are not trained on.
    - `weighting`: by what the others will be weighted, as in a recipe.
    - `copies`: as of `mscon.copies.silent_copies`.
    """
    much = [pair for pair in redundancy if pair.shared > MUCH]
    for names in joined_names((pair.first, pair.second) for pair in much):
        shared = span([pair.shared for pair in much if pair.first in names], ".0%")
        trained, kept = ([name for name in names if (name in ood) == out] for out in (False, True))
        says = [
            f"{listed(names, 'and')} share {shared} of what the coarser one says"
            f"{', each with another of them' * (len(names) > 2)}."
        ]
        if len(trained) > 1:
            says.append(counted(weighting, copies={each: copies[each] for each in trained if each in copies}))
        if trained and kept:
            says.append(f"{listed(kept, 'and')} can't test what an embedding knows beyond {listed(trained, 'and')}.")
        yield " ".join(says)


def counted(weighting: object, *, labelled: bool = True, copies: Mapping[str, str]) -> str:
    """What becomes of similarities that say the same, and what to do.

    **Arguments:**

    - `weighting`: of the run, as in a recipe.
    - `labelled`: whether there are labels of theirs to compare.
    - `copies`: as of `mscon.copies.silent_copies`.
    """
    if weighting != "excess":
        once = ", or set objective.weighting = 'excess', which counts once what labels have in common" * labelled
        return f"Together they may count twice: leave one out{once}."
    if not labelled:
        return "No labels tell what they have in common, so together they may count twice: leave one out."
    repeated = [f"{name} repeats {same}" for name, same in copies.items()]
    silent = f" {listed(repeated, 'and')}: a copy learns without leading the encoder." if repeated else ""
    return f"What their labels have in common counts once (objective.weighting = 'excess').{silent}"


def _classes_have(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (" …" if len(names) > 5 else "")
