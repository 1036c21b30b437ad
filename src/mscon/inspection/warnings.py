"""What of an inspection a user should know before training, in plain words."""

from collections.abc import Iterator, Sequence

from mscon.inspection.batches import ALONE, BatchFacts, larger_batches
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy

RARE = 10
"""Items below which a class is called rare."""

MUCH = 0.5
"""Share of one label's entropy that another must carry before the two are called redundant."""

ACROSS = 0.1
"""Share of pairs whose items are in different splits, and that nothing counts, before they are told of."""


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
            yield f"{alone} {larger_batches(each.name, each.sampler)}"


def redundancy_warnings(redundancy: Sequence[Redundancy]) -> Iterator[str]:
    """Labels that say much the same."""
    for pair in redundancy:
        if pair.shared > MUCH:
            yield (
                f"{pair.first} and {pair.second} share {pair.shared:.0%} of what the coarser one says:"
                " trained together they count it twice (unless weighted by excess), and one is no test for the other."
            )


def _classes_have(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (" …" if len(names) > 5 else "")
