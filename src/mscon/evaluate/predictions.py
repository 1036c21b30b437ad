"""What the probes said of every test item, kept beside evaluation.json: two runs are compared item by item."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from mscon.data.items import known_by
from mscon.data.labels import LabelColumn
from mscon.errors import UserError
from mscon.evaluate.ridge import RidgeResult
from mscon.evaluate.scores import Probed
from mscon.evaluate.tags import TagResult
from mscon.files import write_whole
from mscon.prepare import Prepared
from mscon.run import Run

FILE = "predictions.parquet"

SCHEMA = {
    "label": pl.String,
    "id": pl.String,
    "image": pl.UInt64,
    "group": pl.Int64,
    "truth": pl.String,
    "predicted": pl.String,
    "truth_numbers": pl.List(pl.Float64),
    "predicted_numbers": pl.List(pl.Float64),
}


def write_predictions(run: Run, data: Prepared, probes: Mapping[str, Probed]) -> None:
    """Write `predictions.parquet` into the run's folder: a row for each label and each test item that has it.

    - `label`, `id`: the item's id as in the catalog; `image`: the digest of its image cell, as in split.parquet.
    - `group`: its near-duplicates' number; null without groups.
    - `truth`, `predicted`: as a person reads them; of tags nothing is predicted but an order, so null.
    - `truth_numbers`, `predicted_numbers`: of a number, itself, on a circle its cosine and sine; of tags, which of the
      probe's tags the item has (0 or 1) and the score of each, in the order of evaluation.json; null for classes.

    **Raises:** `UserError` when the disk refuses.
    """
    test, id = data.split.test, run.recipe.catalog.id
    unread = not run.recipe.image.cache
    items = known_by(data.catalog.take(test), id, unread=unread).with_columns(
        id=pl.Series(np.array(data.catalog.ids(id), dtype=object)[test].tolist(), dtype=pl.String),
        group=pl.Series([None] * len(test) if data.groups is None else data.groups[test].tolist(), dtype=pl.Int64),
    )
    parts = [
        _of_label(name, data.labels[name], data.values[name], probe, items[np.searchsorted(test, probe.rows)])
        for name, probe in probes.items()
    ]
    table = pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)
    write_whole(run.folder / FILE, lambda aside: table.write_parquet(aside))


def read_predictions(folder: Path) -> pl.DataFrame | None:
    """What `write_predictions` wrote; None where nothing is kept. **Raises** `UserError` for another file."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        table = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, PolarsError, PanicException) as error:
        raise UserError(f"{path}: cannot be read ({error}); `mscon evaluate {folder}` writes it anew") from None
    if dict(table.schema) != SCHEMA:
        raise UserError(f"{path}: not the predictions of a run; `mscon evaluate {folder}` writes them anew")
    return table


def _of_label(name: str, column: LabelColumn, values: np.ndarray, probe: Probed, items: pl.DataFrame) -> pl.DataFrame:
    """One label's rows: `items` are those that the probe was scored on."""
    cells: dict[str, list[Any]] = {
        "label": [name] * len(items),
        "truth": [column.text(each) for each in values[probe.rows].tolist()],
        **dict.fromkeys(("predicted", "truth_numbers", "predicted_numbers"), [None] * len(items)),
    }
    if isinstance(probe, TagResult):
        cells |= {"truth_numbers": probe.truth.astype(float).tolist(), "predicted_numbers": probe.scores.tolist()}
    else:
        cells["predicted"] = [column.text(each) for each in probe.predicted.tolist()]
    if isinstance(probe, RidgeResult):
        cells |= {"truth_numbers": probe.points.tolist(), "predicted_numbers": probe.fitted.tolist()}
    columns = [pl.Series(key, each, dtype=SCHEMA[key]) for key, each in cells.items()]
    return items.with_columns(columns).select(list(SCHEMA))
