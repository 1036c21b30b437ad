"""What a search has found: as a table and as JSON."""

from typing import Any

from rich.table import Table
from rich.text import Text

from mscon.run import Run
from mscon.search.collection import Collection, Hits
from mscon.words import json_text

WHOLE_ID = 36
"""Characters of an id that stay on one line, however narrow the terminal: a UUID can be copied."""


def records(run: Run, collection: Collection, hits: Hits) -> list[dict[str, Any]]:
    """A dictionary per item found: `id`, `score`, `cosines` and the values of the run's `labels`, where the collection
    has them.
    """
    values = collection.values_of(hits.rows.tolist(), label_columns(run))
    return [
        {
            "id": each["id"],
            "score": round(float(hits.scores[place]), 6),
            "cosines": {name: round(float(cosines[place]), 6) for name, cosines in hits.cosines.items()},
            "labels": each["labels"],
        }
        for place, each in enumerate(values)
    ]


def label_columns(run: Run) -> list[str]:
    """The columns of the run's labels, trained and probed."""
    named = [column for name, label in run.labels.items() for column in label.columns or (name,)]
    return list(dict.fromkeys(named))


def as_json(found: list[dict[str, Any]], hits: Hits) -> str:
    """The same with the weights, as text; dates and the like as the table prints them."""
    return json_text({"weights": hits.weights, "items": found})


def as_table(found: list[dict[str, Any]], hits: Hits) -> Table:
    """For a terminal: a row per item, a similarity's column being bold where it weighs."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", justify="right", style="dim")
    widest = max((len(each["id"]) for each in found), default=0)
    table.add_column("id", overflow="fold", min_width=min(widest, WHOLE_ID))
    table.add_column("score", justify="right")
    for name in hits.cosines:
        table.add_column(Text(f"cos {name}"), justify="right", style="bold" if name in hits.weights else "dim")
    labels = list(found[0]["labels"]) if found else []
    for name in labels:
        table.add_column(Text(name))
    for place, each in enumerate(found, start=1):
        cosines = [number(value) for value in each["cosines"].values()]
        values = [_cell(each["labels"][name]) for name in labels]
        table.add_row(*map(Text, [str(place), each["id"], number(each["score"]), *cosines, *values]))
    return table


def _cell(value: Any) -> str:
    """A label's value; of a number that came as float32 not the digits that float64 makes of it."""
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Three decimals, with a true minus, and none before 0."""
    return f"{value:z.3f}".replace("-", "−")
