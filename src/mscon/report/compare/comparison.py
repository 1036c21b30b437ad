"""What is said of runs side by side: their recipes, scores, differences, retrieval, weights and time."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mscon.report.compare.paired import Difference, paired_difference
from mscon.report.compare.recipes import Setting, differing
from mscon.report.compare.sides import Side, read_sides
from mscon.report.course import End, read_course
from mscon.report.curves import Curve, curve_of
from mscon.report.probes import Score
from mscon.words import listed


@dataclass(frozen=True)
class Column:
    """One run: how many items it has of each part, how long it was trained, and whether it was evaluated; None where
    that is not written yet.
    """

    name: str
    folder: str
    rows: dict[str, int] | None
    epochs: float | None
    steps: int | None
    seconds: float | None
    evaluated: bool


@dataclass(frozen=True)
class LabelRow:
    """One label's score in each run, and the paired difference beside the first; None where there is none.

    - `in_domain`: whether each run was trained on it, None where the run was not scored on it.
    """

    label: str
    metric: str
    in_domain: tuple[bool | None, ...]
    scores: tuple[Score | None, ...]
    differences: tuple[Difference | None, ...]


@dataclass(frozen=True)
class RetrievalRow:
    """One label's mAP@R in each run, by cosine in the shared embedding and in its own head."""

    label: str
    embedding: tuple[Score | None, ...]
    own_head: tuple[Score | None, ...]


@dataclass(frozen=True)
class SimilarityRow:
    """Where one similarity stood in each run when training ended; None in a run that lacks it."""

    name: str
    ends: tuple[End | None, ...]


@dataclass(frozen=True, eq=False)
class Overlay:
    """One similarity's curves over epochs, one for each run: the held-out relative excess, and the weight."""

    name: str
    relative_excess: tuple[Curve, ...]
    weight: tuple[Curve, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side; every tuple over runs is in the order of `columns`.

    - `settings`: the recipe keys that differ.
    - `labels`, `retrieval`: of those that all evaluated runs have.
    - `overlays`: for the page alone, `to_json` leaves them out.
    - `notes`: what is missing, and why.
    """

    columns: tuple[Column, ...]
    settings: tuple[Setting, ...]
    labels: tuple[LabelRow, ...]
    retrieval: tuple[RetrievalRow, ...]
    similarities: tuple[SimilarityRow, ...]
    overlays: tuple[Overlay, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All but the curves, as JSON has it."""
        kept = ("columns", "settings", "labels", "retrieval", "similarities")
        return {key: [asdict(each) for each in getattr(self, key)] for key in kept} | {"notes": list(self.notes)}


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Compare runs by what they have written; nothing is trained, embedded or scored anew.

    **Arguments:** `folders`: two runs or more; differences are beside the first.

    **Raises:** `UserError` as `read_sides` does.
    """
    sides = read_sides(folders)
    evaluated = [side for side in sides if side.evaluation is not None]
    names = dict.fromkeys(name for side in sides for name in side.run.recipe.similarities)
    common = [label for label in (evaluated[0].labels if evaluated else ()) if _alike(label, evaluated)]
    rows = [_label_row(label, sides) for label in common]
    asked = [label for label in common if any(label in side.retrieval for side in evaluated)]
    return Comparison(
        columns=tuple(map(_column, sides)),
        settings=differing([side.run.recipe for side in sides]),
        labels=tuple(sorted(rows, key=lambda row: True not in row.in_domain)),
        retrieval=tuple(_retrieval_row(label, sides) for label in asked),
        similarities=tuple(SimilarityRow(name, tuple(_end(side, name) for side in sides)) for name in names),
        overlays=tuple(_overlay(name, sides) for name in names),
        notes=tuple(_notes(sides, evaluated, common, rows)),
    )


def _alike(label: str, evaluated: Sequence[Side]) -> bool:
    found = {(each["kind"], each["metric"]) if (each := side.labels.get(label)) else None for side in evaluated}
    return len(found) == 1


def _column(side: Side) -> Column:
    last = next((record for record in reversed(side.records) if record["kind"] == "train"), {})
    return Column(
        name=side.name,
        folder=str(side.run.folder),
        rows=None if side.evaluation is None else side.evaluation.get("rows"),
        epochs=last.get("epoch"),
        steps=last.get("step"),
        seconds=last.get("seconds"),
        evaluated=side.evaluation is not None,
    )


def _label_row(label: str, sides: Sequence[Side]) -> LabelRow:
    found = [side.labels.get(label) for side in sides]
    metric = next(each["metric"] for each in found if each)
    return LabelRow(
        label=label,
        metric=metric,
        in_domain=tuple(None if each is None else each["role"] == "in-domain" for each in found),
        scores=tuple(Score.of(each) if each else None for each in found),
        differences=(None, *(_difference(sides[0], side, label, metric) for side in sides[1:])),
    )


def _difference(first: Side, side: Side, label: str, metric: str) -> Difference | None:
    """None where one of them has no predictions, or was scored on other tags."""
    if first.predictions is None or side.predictions is None or not _same_tags(first, side, label):
        return None
    of_label = pl.col("label") == label
    return paired_difference(first.predictions.filter(of_label), side.predictions.filter(of_label), metric)


def _same_tags(first: Side, side: Side, label: str) -> bool:
    """Whether both were scored on the same tags; of a label without tags, true."""
    return list(first.labels[label].get("tags", ())) == list(side.labels[label].get("tags", ()))


def _retrieval_row(label: str, sides: Sequence[Side]) -> RetrievalRow:
    def of(space: str) -> tuple[Score | None, ...]:
        found = [side.retrieval.get(label, {}).get(space) for side in sides]
        return tuple(Score.of(each["map_at_r"]) if each else None for each in found)

    return RetrievalRow(label, of("embedding"), of("own_head"))


def _end(side: Side, name: str) -> End | None:
    if name not in side.run.recipe.similarities or not side.records:
        return None
    return read_course(side.records, [name], side.run.recipe.labelled).ends[0]


def _overlay(name: str, sides: Sequence[Side]) -> Overlay:
    def curves(kind: str, key: str) -> tuple[Curve, ...]:
        lines = [[each for each in side.records if each["kind"] == kind] for side in sides]
        return tuple(curve_of((each["epoch"], each["terms"].get(name, {}).get(key)) for each in some) for some in lines)

    return Overlay(name, curves("val", "relative_excess"), curves("train", "weight"))


def _notes(
    sides: Sequence[Side], evaluated: Sequence[Side], common: Sequence[str], rows: Sequence[LabelRow]
) -> Iterator[str]:
    for side in sides:
        if side.evaluation is None:
            trained = "mscon evaluate" if side.run.model_path.exists() else "mscon train --resume"
            before = (side.run.folder / "evaluation.json").exists()
            what = "was evaluated with an earlier model" if before else "is not evaluated yet"
            what = what if side.run.model_path.exists() else "has no model yet"
            yield f"{side.name} {what}: {trained} {side.run.folder}"
        elif side.predictions is None:
            yield (
                f"{side.name} was evaluated before predictions were kept, so there are no differences with it:"
                f" mscon evaluate {side.run.folder}"
            )
    for label in dict.fromkeys(label for side in evaluated for label in side.labels):
        if label in common:
            continue
        those = [side.name for side in evaluated if label in side.labels]
        where = f"only {listed(those, 'and')} {'was' if len(those) == 1 else 'were'} scored on it"
        yield f"{label} is left out: {where if len(those) < len(evaluated) else 'it is of another kind in each run'}."
    yield from _items_notes(sides, rows)


def _items_notes(sides: Sequence[Side], rows: Sequence[LabelRow]) -> Iterator[str]:
    """Which differences are of fewer test items than the runs have, or of none."""
    first = sides[0]
    for place, side in enumerate(sides[1:], start=1):
        if first.predictions is None or side.predictions is None:
            continue
        for row in rows:
            found, most = row.differences[place], side.labels[row.label]["n"]
            if not _same_tags(first, side, row.label):
                yield f"{row.label}: {first.name} and {side.name} were scored on other tags: no difference."
            elif found is None:
                yield f"{row.label}: {first.name} and {side.name} share no test item and its label: no difference."
            elif found.items < max(most, first.labels[row.label]["n"]):
                yield f"{row.label}: {side.name} − {first.name} is of the {found.items:,} test items that both have."
