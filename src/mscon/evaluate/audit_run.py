"""Audit a run: embed its catalog once, score every label that it was trained on, keep all scores as Parquet."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.data.information import labelled
from mscon.errors import UserError
from mscon.evaluate.audit import Audited
from mscon.evaluate.audit_label import all_projections, audit_label
from mscon.evaluate.colours import colour_features
from mscon.evaluate.notes import print_notes
from mscon.files import write_whole
from mscon.prepare import Prepared
from mscon.run import Run

PRINTED = 5


@dataclass(frozen=True)
class AuditedRun:
    """What an audit found, and on what.

    - `data`: the run's catalog.
    - `columns`: similarity → its audit; rows count the readable images.
    - `left_out`: similarity → why it could not be audited.
    """

    data: Prepared
    columns: dict[str, Audited]
    left_out: dict[str, str]

    def alone(self, name: str) -> int:
        """How many labels of a similarity are not judged, for want of others like them in other folds."""
        return int(labelled(self.data.values[name]).sum()) - len(self.columns[name].rows)


def audit_run(run: Run, *, progress: Callable[[int, int], None] | None = None) -> AuditedRun:
    """Score every label of a run's similarities and write `audit.parquet`, the most doubtful first.

    Its columns: `id`, `similarity`, `label`, `suggested`, `score`. All judged items are in it, train, validation and
    test alike; items without a label, and those whose class nobody in the other folds has, are not.

    **Arguments:**

    - `run`: a trained run; its catalog must still be where it was.
    - `progress`: called with steps done and steps in all.

    **Raises:** `UserError` for a published folder, a run without a model or without a label column, a catalog that
    cannot be used, or when every column has too few labels.
    """
    run.check_whole()
    model = run.model()
    data = run.prepare()
    names = [name for name in run.recipe.similarities if name in data.labels]
    if not names:
        raise UserError(f"{run.folder}: the run learned from no label column, so there is no label to audit")
    steps = 2 + len(names)
    tell = progress or (lambda done, total: None)
    tell(0, steps)
    projections = all_projections(model, data.pixels.array)
    tell(1, steps)
    colours = colour_features(data.pixels.array)
    data = data.readable()
    columns: dict[str, Audited] = {}
    left_out: dict[str, str] = {}
    for done, name in enumerate(names):
        tell(2 + done, steps)
        try:
            columns[name] = audit_label(data, name, projections, colours)
        except UserError as error:
            left_out[name] = str(error)
    tell(steps, steps)
    if not columns:
        raise UserError("\n".join(left_out.values()))
    found = AuditedRun(data, columns, left_out)
    table = _table(found, data.catalog.ids(run.recipe.catalog.id))
    write_whole(run.folder / "audit.parquet", lambda aside: table.write_parquet(aside))
    return found


def show(found: AuditedRun, ids: list[str], console: Console) -> None:
    """Print the top of each similarity's list."""
    for name, audited in found.columns.items():
        ranked, column = audited.ranked(), found.data.labels[name]
        noise = " by three spreads or more" if audited.noise is None else f"; about {audited.noise:.0%} may be wrong"
        heading = f"{name}: {len(ranked):,} of {len(audited.rows):,} labels differ from what the others say{noise}"
        console.print(Text(heading, style="bold"))
        if alone := found.alone(name):
            console.print(Text(f"{alone:,} not judged: too few others have the same", style="dim"))
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("item", "label", "suggested", "score"):
            table.add_column(title, justify="right" if title == "score" else "left")
        for place in ranked[:PRINTED].tolist():
            given, suggested = (column.text(each[place].item()) for each in (audited.given, audited.suggested))
            item = Text(ids[audited.rows[place]], overflow="ellipsis")
            table.add_row(item, Text(given), Text(suggested), f"{audited.score[place]:.3f}")
        console.print(table)
    print_notes(found.data.notes, console)
    for why in found.left_out.values():
        console.print(Text(f"not audited: {why}"))


def _table(found: AuditedRun, ids: list[str]) -> pl.DataFrame:
    names = np.array(ids, dtype=object)
    parts = []
    for name, audited in found.columns.items():
        column, order = found.data.labels[name], audited.order
        parts.append(
            pl.DataFrame(
                {
                    "id": names[audited.rows[order]].tolist(),
                    "similarity": [name] * len(order),
                    "label": [column.text(each) for each in audited.given[order].tolist()],
                    "suggested": [column.text(each) for each in audited.suggested[order].tolist()],
                    "score": audited.score[order],
                }
            )
        )
    return pl.concat(parts)
