"""A run as one HTML page that needs nothing but itself: no script, no font, no address outside the file."""

import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mscon import __version__
from mscon.data.splits import PARTS
from mscon.evaluate.predictions import read_predictions
from mscon.files import write_text
from mscon.inspection import LITTLE, inspect
from mscon.prepare import Prepared
from mscon.report import text
from mscon.report.content import evaluation_content, training_content
from mscon.report.counts import count_labels
from mscon.report.kept import read_ablation, read_audit
from mscon.report.neighbours import Query, find_neighbours
from mscon.report.templates import template
from mscon.report.thumbnails import thumbnails
from mscon.report.uncertainty import ItemUncertainty, read_uncertainty
from mscon.run import Run

LARGEST = 4_800_000
"""Bytes of a page, at most: what its words and curves leave is for pictures. It goes by mail, and opens at once."""

LISTED = 20
"""Skipped images that are listed one by one; skipped.json has them all."""

PAIRS = 24
"""Of labels that have something in common, the most first."""

PACKAGES = ("torchvision", "timm", "numpy", "polars")


@dataclass(frozen=True)
class Section:
    """A part of the page: its id, which is also its template's name, and its title."""

    id: str
    title: str


def write_report(run: Run, data: Prepared, embeddings: Float[Tensor, "n d"], evaluation: dict[str, Any]) -> Path:
    """Write `report.html` into the run's folder, whole or not at all.

    What the folder holds besides (metrics.jsonl, predictions.parquet, ablation.json, audit.parquet) is shown too; a
    section that has nothing to say is left out. The page stays below 5 MB: the more pictures, the smaller they are.

    **Arguments:**

    - `run`: a trained run.
    - `data`: what its recipe prepares.
    - `embeddings`: the model's shared embedding of `data.pixels`, row for row.
    - `evaluation`: what evaluation.json holds; a floor, an interval or a score that is not in it is left blank,
      and without notes, retrieval or diagnostics these are left out.

    **Returns:** the file's path.

    **Raises:** `UserError` for a run without a model, a folder that cannot be written, or a file in it that is not what
    its name says.
    """
    content = _content(run, data, embeddings, evaluation)
    page = template("report.html")
    rows = sorted(_shown(content["queries"], content["uncertainty"]))
    without = page.render(**content, thumbnails=dict.fromkeys(rows, ""))
    pictures = thumbnails(data.pixels.array, rows, budget=LARGEST - len(without.encode()))
    path = run.folder / "report.html"
    write_text(path, page.render(**content, thumbnails=pictures))
    return path


def _content(
    run: Run, data: Prepared, embeddings: Float[Tensor, "n d"], evaluation: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the template names, but for the pictures."""
    predictions, inspection = read_predictions(run.folder), inspect(run.recipe, data)
    shared = sorted((pair for pair in inspection.redundancy if pair.shared >= LITTLE), key=lambda pair: -pair.shared)
    content = {
        "name": text.catalog_name(run.recipe.catalog.source),
        "sentence": text.describe(run.recipe, data, embedding_dim=embeddings.shape[1]),
        "recipe": run.recipe,
        "data": data,
        "splits": {name: len(getattr(data.split, name)) for name in PARTS},
        "skipped": data.pixels.skipped[:LISTED],
        **training_content(run),
        **evaluation_content(run, evaluation, predictions),
        "grouped": data.groups is not None,
        "ablation": read_ablation(run.folder),
        "inspection": inspection,
        "redundancy": shared[:PAIRS],
        "unshared": len(inspection.redundancy) - len(shared),
        "counts": count_labels(data),
        "uncertainty": read_uncertainty(run.model(), data, embeddings, predictions),
        "audit": read_audit(run.folder, data.labels),
        "audit_page": (run.folder / "audit.html").exists(),
        "queries": find_neighbours(run, data, embeddings),
        "ids": data.catalog.ids(run.recipe.catalog.id),
        "label": partial(text.label, data),
        "commands": _commands(run.folder),
        "versions": _versions(),
        "started": _changed(run.folder / "recipe.toml"),
        "trained": _changed(run.model_path),
    }
    return content | {"sections": list(_sections(content))}


def _sections(content: Mapping[str, Any]) -> Iterator[Section]:
    """Those that have something to say, in the order of the page: what it is worth, why, and of what."""
    yield Section("scores", "What the embedding knows")
    if content["classes"] or content["tags"]:
        yield Section("classes", "Class by class")
    if content["retrieval"]:
        yield Section("retrieval", "What is found")
    yield Section("training", "How training went")
    if content["diagnosis"]:
        yield Section("diagnostics", "What to watch")
    if content["ablation"]:
        yield Section("ablation", "What each similarity adds")
    if content["inspection"].columns or content["inspection"].links:
        yield Section("labels", "What the labels hold")
    if content["audit"]:
        yield Section("audit", "Labels in doubt")
    if content["uncertainty"]:
        yield Section("uncertainty", "Which items are hard to see")
    yield Section("neighbours", "Nearest neighbours")
    yield Section("recipe", "How it was made")


def _shown(queries: Sequence[Query], uncertainty: Sequence[ItemUncertainty]) -> set[int]:
    """Every item that is on the page, however often."""
    rows = {query.row for query in queries}
    rows |= {each.row for query in queries for found in query.neighbours.values() for each in found}
    return rows | {row for each in uncertainty for row in (*each.certain, *each.uncertain)}


def _commands(folder: Path) -> list[str]:
    again = shlex.quote(f"{folder}-again")
    return [f"mscon train {shlex.quote(f'{folder}/recipe.toml')} --out {again}", f"mscon evaluate {again}"]


def _versions() -> dict[str, str]:
    packages = {"torch": torch.__version__, **{each: version(each) for each in PACKAGES}}  # torch's own tells of CUDA
    return {"mscon": __version__, **packages, "Python": platform.python_version()}


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
