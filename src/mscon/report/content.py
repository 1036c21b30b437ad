"""What the sections on a run's files are filled with: its metrics, its evaluation. They need no catalog."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import polars as pl

from mscon.evaluate.bootstrap import FEW
from mscon.report.classes import class_tables
from mscon.report.course import Course, read_course
from mscon.report.curves import read_curves
from mscon.report.diagnosis import read_diagnosis
from mscon.report.figures import FLOOR_MARKS, probe_strip
from mscon.report.panels import course_panels, curve_panels
from mscon.report.probes import read_probes
from mscon.run import Run

TAGS = 48
"""Tags of a label that are shown one by one, the most frequent; evaluation.json has them all."""


def training_content(run: Run) -> dict[str, Any]:
    """Of the section `training`: what metrics.jsonl tells."""
    records, similarities = list(run.metrics()), list(run.recipe.similarities)
    course = read_course(records, similarities, run.recipe.labelled)
    return {
        "last": records[-1] if records else None,
        "seconds": next((each["seconds"] for each in reversed(records) if "seconds" in each), None),
        "course": course,
        "ends": _logged_at_the_end(course),
        "panels": curve_panels(read_curves(records, similarities), course) if records else {},
        "course_panels": course_panels(course),
    }


def evaluation_content(run: Run, evaluation: Mapping[str, Any], predictions: pl.DataFrame | None) -> dict[str, Any]:
    """Of the sections `scores`, `classes`, `retrieval` and `diagnostics`: what evaluation.json and
    predictions.parquet tell. Whether items have groups, `grouped`, they do not.
    """
    probes = read_probes(evaluation)
    return {
        "notes": evaluation.get("notes", ()),
        "probes": [(probe, probe_strip(probe, name=f"probe-{number}")) for number, probe in enumerate(probes)],
        "floor_signs": dict(zip(probes[0].floors, cycle(FLOOR_MARKS.values()), strict=False)) if probes else {},
        "links": evaluation.get("links", {}),
        "classes": class_tables(predictions),
        "tags": [probe for probe in probes if probe.tags],
        "retrieval": evaluation.get("retrieval", {}),
        "diagnosis": read_diagnosis(evaluation),
        "few": FEW,
        "kinds": {column.kind for column in run.labels.values()},
        "circles": any(column.period is not None for column in run.labels.values()),
        "shown_tags": TAGS,
    }


def _logged_at_the_end(course: Course) -> dict[str, bool]:
    """Which columns of the table of ends have anything in them."""
    columns = {"noise": "noise_share", "temperature": "temperature", "doubted": "doubted"}
    return {name: any(getattr(end, key) is not None for end in course.ends) for name, key in columns.items()}
