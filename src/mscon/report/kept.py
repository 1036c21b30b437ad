"""What other commands left in the run's folder: an ablation, an audit. Nothing where they were not run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from mscon import schemas
from mscon.data.labels import LabelColumn
from mscon.errors import UserError
from mscon.evaluate.audit import FAR
from mscon.report.probes import Score

AUDITED = dict.fromkeys(("id", "similarity", "label", "suggested"), pl.String) | {"score": pl.Float64}
"""Columns of audit.parquet that are read, and their types."""

DOUBTS = 5
"""Of the most doubtful labels of a similarity that the page lists; audit.html shows more, with their pictures."""


@dataclass(frozen=True)
class AblationRow:
    """A label's score with all similarities, and what each of them adds, in the order of the ablation's columns and
    the unit of the metric.
    """

    label: str
    metric: str
    score: float | None
    effects: tuple[Score | None, ...]


@dataclass(frozen=True)
class AblationTable:
    """What ablation.json tells: `without` names the columns."""

    without: tuple[str, ...]
    rows: tuple[AblationRow, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Doubt:
    """A label that differs from what the other items say."""

    id: str
    label: str
    suggested: str
    score: float


@dataclass(frozen=True)
class AuditSummary:
    """One similarity's audit: labels judged, how many differ from the suggestion, and the most doubtful of these."""

    name: str
    judged: int
    differing: int
    doubts: tuple[Doubt, ...]


def read_ablation(folder: Path) -> AblationTable | None:
    """The table of ablation.json. **Raises** `UserError` for a file that is none."""
    found = schemas.read_ablation(folder)
    if found is None:
        return None
    effects = {(each["label"], each["without"]): Score.of(each) for each in found["effects"]}
    without = tuple(dict.fromkeys(name for _, name in effects))
    rows = [
        AblationRow(label, each["metric"], each["value"], tuple(effects.get((label, name)) for name in without))
        for label, each in found["scores"].items()
    ]
    return AblationTable(without, tuple(rows), tuple(found["notes"]), tuple(found["warnings"]))


def read_audit(folder: Path, labels: Mapping[str, LabelColumn]) -> list[AuditSummary]:
    """What audit.parquet tells of each similarity; empty without it. **Raises** `UserError` for a file that is none."""
    path = folder / "audit.parquet"
    if not path.exists():
        return []
    try:
        table = pl.read_parquet(path, columns=list(AUDITED), glob=False, hive_partitioning=False)
        if dict(table.schema) != AUDITED:
            raise TypeError("its columns are others")
        return [
            _summary(str(name), rows, labels) for (name,), rows in table.group_by("similarity", maintain_order=True)
        ]
    except (OSError, PolarsError, TypeError, PanicException) as error:
        raise UserError(f"{path}: not an audit ({error}); `mscon audit {folder}` writes it anew") from None


def _summary(name: str, rows: pl.DataFrame, labels: Mapping[str, LabelColumn]) -> AuditSummary:
    number = name in labels and labels[name].kind == "continuous"  # which never is what was predicted
    differing = rows.filter(pl.col("score") >= FAR if number else pl.col("label") != pl.col("suggested"))
    return AuditSummary(name, len(rows), len(differing), tuple(islice(_doubts(differing), DOUBTS)))


def _doubts(rows: pl.DataFrame) -> Iterator[Doubt]:
    for each in rows.sort("score", descending=True, maintain_order=True).iter_rows(named=True):
        yield Doubt(each["id"], each["label"], each["suggested"], each["score"])
