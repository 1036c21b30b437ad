"""An inspection, printed."""

from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy
from mscon.inspection.inspect import Inspection

LITTLE = 0.05
"""Shared information below which a pair of labels has no row of its own."""

OF_BATCHES = (
    "positives: other views that one is pulled to; alone: items with no other like them in the batch; the loss starts"
    " near chance and cannot fall below the floor"
)
OF_REDUNDANCY = "how much of the simpler label is known from the other: 0% nothing, 100% all of it"


def show(facts: Inspection, console: Console) -> None:
    """Print an inspection as tables and warnings."""
    parts = ", ".join(f"{count:,} {name}" for name, count in facts.split.items())
    skipped = f"; {facts.skipped} images could not be read" if facts.skipped else ""
    console.print(f"{facts.rows:,} items: {parts}{skipped}", highlight=False)
    if facts.columns:
        console.print(_label_table(facts.columns))
    if facts.links:
        console.print(_link_table(facts.links, facts.rows))
    batches = _table("in a training batch", "similarity", "positives", "alone", "floor", "chance")
    for each in facts.batches:
        positives = "all" if each.positives is None else f"{each.positives:.1f}"
        numbers = (positives, f"{each.lonely:.1%}", f"{each.floor:z.3f}", f"{each.chance:z.3f}")
        batches.add_row(Text(each.name), *numbers)
    console.print(batches)
    console.print(Text(OF_BATCHES, style="dim"))
    if facts.redundancy:
        console.print(_redundancy_table(facts.redundancy))
        console.print(Text(OF_REDUNDANCY, style="dim"))
    for warning in facts.warnings:
        console.print(Text.assemble(("warning: ", "yellow"), warning))


def _label_table(columns: list[ColumnFacts]) -> Table:
    labels = _table("labels", "column", "role", "kind", "classes", "missing", "most frequent (or range)")
    for column in columns:
        named = ", ".join(f"{name} {count:,}" for name, count in islice(column.classes.items(), 4))
        circle = "" if column.period is None else f", on a circle of {column.period:g}"
        described = named if column.low is None else f"{column.low:g} … {column.high:g}{circle}"
        classes = str(len(column.classes)) if column.classes else "–"
        labels.add_row(*map(Text, (column.name, column.role, column.kind, classes, f"{column.missing:,}", described)))
    return labels


def _link_table(links: list[LinkFacts], rows: int) -> Table:
    table = _table(
        "pairs", "similarity", "linked in train", "val", "test", "across these", "judged different", "unlinked items"
    )
    for each in links:
        counts = (*each.linked.values(), each.across, each.apart, rows - each.items)
        table.add_row(Text(each.name), *(f"{count:,}" for count in counts))
    return table


def _redundancy_table(redundancy: list[Redundancy]) -> Table:
    table = _table("redundancy", "labels", "shared information")
    shown = [pair for pair in redundancy if pair.shared >= LITTLE]
    for pair in sorted(shown, key=lambda pair: -pair.shared):
        table.add_row(Text(f"{pair.first} · {pair.second}"), f"{pair.shared:.0%}")
    if rest := len(redundancy) - len(shown):
        what = f"{'other ' * bool(shown)}pair{'s' * (rest != 1)}"
        table.add_row(Text(f"{rest} {what}", style="dim"), f"below {LITTLE:.0%}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or title == "labels" else "right", style=None)
    return table
