"""The run's files as pages of their own, from the report's sections: training, probes, diagnostics, doubted labels.

They stand in frames of the page in which no script runs.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mscon.data.splits import GROUP_NAMES
from mscon.errors import UserError
from mscon.evaluate.predictions import read_predictions
from mscon.report.content import evaluation_content, training_content
from mscon.report.kept import read_ablation, read_audit
from mscon.report.templates import template
from mscon.run import Run
from mscon.schemas import read_evaluation
from mscon.search import Collection, Space


@dataclass(frozen=True)
class Section:
    """One of the report's sections: its id, which is its template's name too, and its title."""

    id: str
    title: str


@dataclass(frozen=True)
class Absent:
    """What was not done with the run yet, and the command that does it."""

    words: str
    command: str


Found = tuple[list[Section], dict[str, Any], Absent | None]


def tab_page(run: Run, collection: Collection, name: str) -> str:
    """One of `TABS` as HTML. A file of the run that cannot be read is told of in its place.

    **Raises:** `KeyError` for no tab.
    """
    find = _FINDERS[name]
    try:
        sections, content, absent = find(run, _grouped(run, collection))
        mistake = ""
    except UserError as error:
        sections, content, absent, mistake = [], {}, None, str(error)
    page = template("tab.html")
    return page.render(title=TABS[name], sections=sections, absent=absent, mistake=mistake, **content)


def audit_page(run: Run) -> Path | None:
    """What `mscon audit` wrote for people, if it did: a link that leads out of the run's folder is none of it."""
    path = (run.folder / "audit.html").resolve()
    return path if path.is_file() and path.is_relative_to(run.folder.resolve()) else None


def _training(run: Run, _: bool) -> Found:
    return [Section("training", "How training went")], training_content(run), None


def _probes(run: Run, grouped: bool) -> Found:
    content = _evaluation(run)
    if content is None:
        return [], {}, _not_evaluated(run)
    sections = [Section("scores", "What the embedding knows")]
    if content["classes"] or content["tags"]:
        sections.append(Section("classes", "Class by class"))
    if content["retrieval"]:
        sections.append(Section("retrieval", "What is found"))
    return sections, content | {"grouped": grouped}, None


def _diagnostics(run: Run, _: bool) -> Found:
    content, ablation = _evaluation(run), read_ablation(run.folder)
    sections = [Section("diagnostics", "What to watch")] if content and content["diagnosis"] else []
    if ablation:
        sections.append(Section("ablation", "What each similarity adds"))
    absent = None if content else _not_evaluated(run)
    if content and not sections:
        absent = Absent("The run's evaluation holds no diagnostics.", _command("evaluate", run))
    return sections, (content or {}) | {"ablation": ablation}, absent


def _audit(run: Run, _: bool) -> Found:
    audit = read_audit(run.folder, run.labels)
    if not audit:
        return [], {}, Absent("The run's labels have not been audited yet.", _command("audit", run))
    return [Section("audit", "Labels in doubt")], {"audit": audit, "audit_page": audit_page(run) is not None}, None


TABS = {
    "training": "Training and weights",
    "probes": "Probes",
    "diagnostics": "Diagnostics",
    "audit": "Label audit",
}
"""By the name that their address has."""

_FINDERS: Mapping[str, Callable[[Run, bool], Found]] = {
    "training": _training,
    "probes": _probes,
    "diagnostics": _diagnostics,
    "audit": _audit,
}


def _evaluation(run: Run) -> dict[str, Any] | None:
    evaluation = read_evaluation(run.folder)
    return None if evaluation is None else evaluation_content(run, evaluation, read_predictions(run.folder))


def _not_evaluated(run: Run) -> Absent:
    before = (run.folder / "evaluation.json").exists()
    words = "The run was evaluated with an earlier model." if before else "The run has not been evaluated yet."
    return Absent(words, _command("evaluate", run))


def _command(name: str, run: Run) -> str:
    return f"mscon {name} {shlex.quote(str(run.folder))}"


def _grouped(run: Run, collection: Collection) -> bool:
    """Whether the run's items have groups, as far as its recipe and the catalog that is open tell."""
    if run.recipe.catalog.group is not None:
        return True
    return isinstance(collection, Space) and any(name in collection.catalog.table.columns for name in GROUP_NAMES)
