"""Which columns share their training rows, and how the best of several scores is told."""

import math

import numpy as np
import pytest

from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.columns import FEWEST_TO_CHOOSE, best, by_training_rows

SPLIT = Split(np.array([0, 1, 2, 3]), np.array([4]), np.array([5, 6]))


def test_columns_with_the_same_gaps_in_training_stand_together_whatever_their_kind():
    columns = {
        "a": np.array([0, 1, 0, -1, 0, 1, 1]),
        "b": np.array([0, 1, 0, 1, -1, 1, 1]),
        "c": np.array([0.5, 1.0, 2.0, math.nan, 0.0, 1.0, math.nan]),
    }
    groups = by_training_rows(columns, SPLIT)
    assert [group.names for group in groups] == [("a", "c"), ("b",)]
    assert [group.train.tolist() for group in groups] == [[0, 1, 2], [0, 1, 2, 3]]


@pytest.mark.parametrize(("part", "rows"), [("train", SPLIT.train), ("test", SPLIT.test)])
@pytest.mark.parametrize("missing", [-1, math.nan])
def test_a_column_without_labels_in_train_or_test_is_refused_by_name(part, rows, missing):
    values = np.ones(7, dtype=type(missing))
    values[rows] = missing
    with pytest.raises(UserError, match=f"'brand' is missing on every {part} row"):
        by_training_rows({"brand": values}, SPLIT)


def test_the_first_of_equal_scores_is_best():
    assert best([0.5, 0.7, 0.7, 0.6], FEWEST_TO_CHOOSE) == 1


def test_the_middle_is_taken_where_there_is_nothing_to_choose_by():
    assert best([0.9, 0.7, 0.7, 0.6, 0.1], FEWEST_TO_CHOOSE - 1) == 2
    assert best([math.nan] * 7, 1000) == 3
