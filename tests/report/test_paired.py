"""Paired differences: the plain bootstrap of aligned arrays, whatever the order that rows come in."""

import numpy as np
import polars as pl
import pytest

from mscon.evaluate.bootstrap import interval, resampled, resampled_accuracy, resampled_r2
from mscon.evaluate.measures import mean_average_precision
from mscon.evaluate.predictions import SCHEMA
from mscon.report.compare.paired import paired_difference

RNG = np.random.default_rng(0)
ITEMS = 120


def table(truth: list[str], **columns: object) -> pl.DataFrame:
    """Predictions of one label; what is not given is null."""
    given = {"label": ["a"] * len(truth), "image": np.arange(len(truth)), "truth": truth} | columns
    return pl.DataFrame({key: given.get(key, [None] * len(truth)) for key in SCHEMA}, schema=SCHEMA, strict=False)


def classes(right: np.ndarray, groups: np.ndarray | None = None) -> pl.DataFrame:
    truth = [str(item % 4) for item in range(len(right))]
    predicted = [name if each else "other" for name, each in zip(truth, right, strict=True)]
    return table(truth, predicted=predicted, **({} if groups is None else {"group": groups}))


ONE, OTHER = RNG.random(ITEMS) < 0.6, RNG.random(ITEMS) < 0.75


@pytest.mark.parametrize("groups", [None, RNG.integers(0, 30, ITEMS)], ids=["each item alone", "groups"])
def test_accuracies_are_compared_as_the_bootstrap_of_aligned_arrays_does(groups: np.ndarray | None) -> None:
    found = paired_difference(classes(ONE, groups), classes(OTHER, groups), "accuracy")
    samples = resampled_accuracy(np.column_stack([ONE, OTHER]), groups)
    ends = interval(samples[:, 1] - samples[:, 0])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((OTHER.mean() - ONE.mean(), ends.low, ends.high))
    assert found.items == ITEMS


def test_the_order_of_rows_and_items_that_only_one_run_has_change_nothing() -> None:
    aligned = paired_difference(classes(ONE), classes(OTHER), "accuracy")
    more = classes(np.append(OTHER, [True] * 30)).sample(fraction=1.0, shuffle=True, seed=1)
    assert paired_difference(classes(ONE), more, "accuracy") == aligned


def test_an_item_whose_label_has_changed_is_not_shared() -> None:
    changed = classes(OTHER).with_columns(truth=pl.when(pl.col("image") < 50).then(pl.lit("new")).otherwise("truth"))
    found = paired_difference(classes(ONE), changed, "accuracy")
    assert found is not None
    assert found.items == ITEMS - 50
    assert paired_difference(classes(ONE), changed.with_columns(truth=pl.lit("new")), "accuracy") is None


def test_numbers_that_read_alike_are_not_one() -> None:
    def prices(values: list[float]) -> pl.DataFrame:
        numbers = [[each] for each in values]
        return table([f"{each:.4g}" for each in values], truth_numbers=numbers, predicted_numbers=numbers)

    values = [10001.0, 10002.0, 10003.0, 10004.0]
    assert paired_difference(prices(values), prices(values[::-1]), "r2") is None
    found = paired_difference(prices(values), prices([10001.0, 10002.0, 1.0, 10004.0]), "r2")
    assert found is not None
    assert (found.value, found.items) == (0.0, 3)


def test_a_run_differs_from_itself_by_nothing_and_one_beyond_its_interval_is_above() -> None:
    same = paired_difference(classes(ONE), classes(ONE), "accuracy")
    assert same is not None
    assert (same.value, same.low, same.high, same.verdict) == (0.0, 0.0, 0.0, "level")
    none, all_ = np.zeros(ITEMS, dtype=bool), np.ones(ITEMS, dtype=bool)
    better, worse = (
        paired_difference(classes(one), classes(other), "accuracy") for one, other in ((none, all_), (all_, none))
    )
    assert better is not None
    assert worse is not None
    assert (better.verdict, worse.verdict) == ("above", "below")


def test_a_single_group_gives_a_difference_without_an_interval() -> None:
    found = paired_difference(classes(ONE, np.zeros(ITEMS, int)), classes(OTHER), "accuracy")
    assert found is not None
    assert (found.low, found.high, found.verdict) == (None, None, "level")


def test_numbers_on_a_circle_and_tags_are_compared_by_their_own_measures() -> None:
    points = RNG.normal(size=(ITEMS, 2))
    fits = [points + spread * RNG.normal(size=(ITEMS, 2)) for spread in (0.9, 0.5)]
    truth = [str(item) for item in range(ITEMS)]
    one, other = (table(truth, truth_numbers=points.tolist(), predicted_numbers=fit.tolist()) for fit in fits)
    found = paired_difference(one, other, "r2")
    samples = resampled_r2(points, np.stack(fits, axis=1))
    ends = interval(samples[:, 1] - samples[:, 0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    has = points > 0.3
    one, other = (
        table(truth, truth_numbers=has.astype(float).tolist(), predicted_numbers=fit.tolist()) for fit in fits
    )
    found = paired_difference(one, other, "mAP")
    drawn = [resampled(mean_average_precision, has, fit) for fit in fits]
    ends = interval(drawn[1] - drawn[0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.verdict == "above"
