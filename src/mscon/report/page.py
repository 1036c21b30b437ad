"""A run as one HTML page that needs nothing but itself: no script, no font, no address outside the file."""

import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mscon import __version__
from mscon.data.splits import PARTS
from mscon.evaluate.evaluation import FEW
from mscon.files import write_text
from mscon.prepare import Prepared
from mscon.report import text
from mscon.report.counts import count_labels
from mscon.report.curves import read_curves
from mscon.report.diagnosis import read_diagnosis
from mscon.report.figures import FLOOR_MARKS, curve_panels, probe_strip
from mscon.report.neighbours import Query, find_neighbours
from mscon.report.probes import read_probes
from mscon.report.templates import template
from mscon.report.thumbnails import thumbnail
from mscon.run import Run

LISTED = 20
"""Skipped images that are listed one by one; skipped.json has them all."""

TAGS = 48
"""Tags of a label that are shown one by one, the most frequent; evaluation.json has them all."""


def write_report(run: Run, data: Prepared, embeddings: Float[Tensor, "n d"], evaluation: dict[str, Any]) -> Path:
    """Write `report.html` into the run's folder, whole or not at all.

    **Arguments:**

    - `run`: a trained run.
    - `data`: what its recipe prepares.
    - `embeddings`: the model's shared embedding of `data.pixels`, row for row.
    - `evaluation`: what evaluation.json holds; a floor, an interval or a score that is not in it is left blank,
      and without notes or diagnostics these are left out.

    **Returns:** the file's path.

    **Raises:** `UserError` for a run without a model, or a folder that cannot be written.
    """
    queries = find_neighbours(run, data, embeddings)
    probes = read_probes(evaluation)
    records = list(run.metrics())
    page = template("template.html").render(
        name=text.catalog_name(run.recipe.catalog.source),
        sentence=text.describe(run.recipe, data, embedding_dim=embeddings.shape[1]),
        recipe=run.recipe,
        data=data,
        splits={name: len(getattr(data.split, name)) for name in PARTS},
        skipped=data.pixels.skipped[:LISTED],
        last=records[-1] if records else None,
        seconds=next((each["seconds"] for each in reversed(records) if "seconds" in each), None),
        notes=evaluation.get("notes", ()),
        probes=[(probe, probe_strip(probe, name=f"probe-{number}")) for number, probe in enumerate(probes)],
        floor_signs=dict(zip(probes[0].floors, cycle(FLOOR_MARKS.values()), strict=False)) if probes else {},
        panels=curve_panels(read_curves(records, run.recipe.similarities)) if records else {},
        diagnosis=read_diagnosis(evaluation),
        links=evaluation.get("links", {}),
        few=FEW,
        kinds={column.kind for column in data.labels.values()},
        circles=any(column.period is not None for column in data.labels.values()),
        shown_tags=TAGS,
        counts=count_labels(data),
        queries=queries,
        thumbnails=_thumbnails(data, queries),
        ids=data.catalog.ids(run.recipe.catalog.id),
        label=partial(text.label, data),
        commands=_commands(run.folder),
        versions={"mscon": __version__, "torch": torch.__version__, "Python": platform.python_version()},
        started=_changed(run.folder / "recipe.toml"),
        trained=_changed(run.model_path),
    )
    path = run.folder / "report.html"
    write_text(path, page)
    return path


def _thumbnails(data: Prepared, queries: Sequence[Query]) -> dict[int, str]:
    """Every item on the page once, however often it is shown."""
    rows = {query.row for query in queries}
    rows |= {each.row for query in queries for found in query.neighbours.values() for each in found}
    return {row: thumbnail(data.pixels.array[row]) for row in sorted(rows)}


def _commands(folder: Path) -> list[str]:
    again = shlex.quote(f"{folder}-again")
    return [f"mscon train {shlex.quote(f'{folder}/recipe.toml')} --out {again}", f"mscon evaluate {again}"]


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
