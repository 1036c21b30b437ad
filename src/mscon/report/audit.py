"""The most doubtful labels of a run as one HTML page that needs nothing but itself."""

from dataclasses import dataclass
from pathlib import Path

from mscon import __version__
from mscon.evaluate.audit_run import AuditedRun
from mscon.files import write_text
from mscon.report import text
from mscon.report.templates import template
from mscon.report.thumbnails import thumbnail
from mscon.run import Run

LISTED = 48
"""Items shown per similarity; audit.parquet has them all."""


@dataclass(frozen=True)
class Doubt:
    """One item whose label differs from what the others say, as the page shows it."""

    row: int
    id: str
    label: str
    suggested: str
    score: float


@dataclass(frozen=True)
class Section:
    """One similarity: how many labels were judged and how many could not be, how many differ, the most doubtful of
    these, and the noise.
    """

    name: str
    judged: int
    alone: int
    differing: int
    noise: float | None
    doubts: list[Doubt]


def write_audit(run: Run, found: AuditedRun) -> Path:
    """Write `audit.html` into the run's folder, whole or not at all, and give its path.

    **Raises:** `UserError` when the folder cannot be written.
    """
    ids = found.data.catalog.ids(run.recipe.catalog.id)
    sections = [_section(found, name, ids) for name in found.columns]
    rows = sorted({doubt.row for section in sections for doubt in section.doubts})
    page = template("audit.html").render(
        name=text.catalog_name(run.recipe.catalog.source),
        sections=sections,
        left_out=found.left_out,
        notes=found.data.notes,
        thumbnails={row: thumbnail(found.data.pixels.array[row]) for row in rows},
        version=__version__,
    )
    path = run.folder / "audit.html"
    write_text(path, page)
    return path


def _section(found: AuditedRun, name: str, ids: list[str]) -> Section:
    audited, column = found.columns[name], found.data.labels[name]
    ranked = audited.ranked()
    doubts = [
        Doubt(
            row=int(audited.rows[place]),
            id=ids[audited.rows[place]],
            label=column.text(audited.given[place].item()),
            suggested=column.text(audited.suggested[place].item()),
            score=float(audited.score[place]),
        )
        for place in ranked[:LISTED].tolist()
    ]
    return Section(name, len(audited.rows), found.alone(name), len(ranked), audited.noise, doubts)
