"""What was measured of an index, as a table."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mscon.search.index.approximate import K, Recall


def as_table(measured: Sequence[Recall]) -> Table:
    """For a terminal: a row for each kind of weights."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("weights")
    for title in (f"recall@{K}", "partitions", "approximate ms", "exact ms"):
        table.add_column(title, justify="right")
    table.add_column("searched")
    for each in measured:
        looked = f"{each.probes:,} of {each.partitions:,}"
        table.add_row(
            Text(each.kind),
            f"{each.recall:.3f}",
            looked,
            f"{each.milliseconds:.0f}",
            f"{each.exact_milliseconds:.0f}",
            "approximately" if each.serves else "exactly",
        )
    return table
