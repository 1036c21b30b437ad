"""One of the runs that are compared, as far as it has come: trained, evaluated, its predictions kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mscon.errors import UserError
from mscon.evaluate.predictions import read_predictions
from mscon.run import Run
from mscon.schemas import read_evaluation


@dataclass(frozen=True, eq=False)
class Side:
    """A run and what it has written.

    - `name`: the folder's, or its whole path where two folders have the same name.
    - `evaluation`: None before `mscon evaluate`; `predictions`: None where that was before these were kept.
    - `records`: the lines of metrics.jsonl.
    """

    name: str
    run: Run
    evaluation: dict[str, Any] | None
    predictions: pl.DataFrame | None
    records: list[dict[str, Any]]

    @property
    def labels(self) -> dict[str, dict[str, Any]]:
        """What evaluation.json holds of each label; nothing before there is one."""
        return {} if self.evaluation is None else self.evaluation["labels"]

    @property
    def retrieval(self) -> dict[str, dict[str, Any]]:
        """What it holds of retrieval."""
        return {} if self.evaluation is None else self.evaluation.get("retrieval", {})


def read_sides(folders: Sequence[Path]) -> list[Side]:
    """The runs in the order given.

    **Raises:** `UserError` for fewer than two, one given twice, a folder that is no run, or a file in it that is not
    what its name says.
    """
    if len(folders) < 2:
        raise UserError("there is nothing to compare a single run with: name two runs or more")
    seen: dict[Path, Path] = {}
    for folder in folders:
        if same := seen.get(folder.resolve()):
            raise UserError(f"{folder} and {same} are the same run: name each once")
        seen[folder.resolve()] = folder
    names = [folder.resolve().name for folder in folders]
    return [
        _read(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def _read(folder: Path, name: str) -> Side:
    run = Run.open(folder)
    evaluation = read_evaluation(folder)
    predictions = None if evaluation is None else read_predictions(folder)  # of an evaluation that was cut off, perhaps
    return Side(name, run, evaluation, predictions, list(run.metrics()))
