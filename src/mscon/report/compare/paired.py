"""The difference of two runs on the test items that both were scored on, with a paired bootstrap interval."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64

from mscon.evaluate.bootstrap import (
    Verdict,
    defined,
    interval,
    resampled,
    resampled_accuracy,
    resampled_r2,
    verdict,
)
from mscon.evaluate.measures import mean_average_precision, single
from mscon.evaluate.ridge import r_squared

KEYS = ("image", "label_text", "nth")
"""What makes a row of two runs the same: its image, its label, and which of several alike it is."""


@dataclass(frozen=True)
class Difference:
    """A run's score − the first run's on the `items` that both were scored on, with its 95% interval.

    Numbers that are not defined are None: of a single group of near-duplicates there is no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    items: int

    @property
    def verdict(self) -> Verdict:
        """What its interval says."""
        return verdict(self.low, self.high)


def paired_difference(first: pl.DataFrame, other: pl.DataFrame, metric: str) -> Difference | None:
    """Of two tables of predictions of one label (`mscon.evaluate.predictions`); None where no item is in both.

    Items are told by their image and their label, so one whose label has changed since is not shared. Groups of
    near-duplicates are those of the first run, or else of the other; both runs see the same resamples.

    **Arguments:** `metric`: `accuracy`, `r2`, or `mAP`, for which both must have been scored on the same tags.
    """
    tables = (_numbered(each, metric) for each in (first, other))
    both = next(tables).join(next(tables), on=KEYS, suffix="_other", maintain_order="left")
    if len(both) == 0:
        return None
    groups = next((both[each].to_numpy() for each in ("group", "group_other") if both[each].null_count() == 0), None)
    values, samples = _scores(both, metric, groups)
    ends = interval(samples[:, 1] - samples[:, 0])
    return Difference(*map(defined, (values[1] - values[0], ends.low, ends.high)), items=len(both))


def _scores(
    both: pl.DataFrame, metric: str, groups: np.ndarray | None
) -> tuple[tuple[float, float], Float64[np.ndarray, "b 2"]]:
    """Both runs' scores on the shared items, and on every resample."""
    if metric == "accuracy":
        right = np.column_stack([(both["truth"] == both[each]).to_numpy() for each in ("predicted", "predicted_other")])
        return (float(right[:, 0].mean()), float(right[:, 1].mean())), resampled_accuracy(right, groups)
    truth, one, another = (
        np.array(both[each].to_list(), dtype=np.float64)
        for each in ("truth_numbers", "predicted_numbers", "predicted_numbers_other")
    )
    if metric == "r2":
        samples = resampled_r2(truth, np.stack([one, another], axis=1), groups)
        return (r_squared(truth, one), r_squared(truth, another)), samples
    has = truth > 0
    drawn = [resampled(mean_average_precision, has, each, groups) for each in (one, another)]
    values = [single(mean_average_precision(has, each)) for each in (one, another)]
    return (values[0], values[1]), np.column_stack(drawn)


def _numbered(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    # What a person reads of a number has four digits: two numbers may have it in common.
    exact = pl.col("truth_numbers").cast(pl.List(pl.String)).list.join(" ") if metric == "r2" else pl.col("truth")
    return rows.with_columns(label_text=exact).with_columns(nth=pl.int_range(pl.len()).over("image", "label_text"))
