"""Paths against their prefixes as written."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mscon.evaluate.hierarchy import compare_levels

PATHS = [("a",), ("a", "x"), ("b", "x"), ("b", "x", "1"), ("b", "y", "1"), ("c", "z")]
NODES = sorted({path[:level] for path in PATHS for level in range(1, len(path) + 1)})
MEMBERS = [tuple(NODES.index(path[:level]) for level in range(1, len(path) + 1)) for path in PATHS]
NUMBERS = st.integers(0, len(PATHS) - 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_a_level_is_right_when_the_paths_begin_alike(pairs: list[tuple[int, int]]):
    truth, predicted = (np.array(each) for each in zip(*pairs, strict=True))
    levels = compare_levels(truth, predicted, MEMBERS)
    for row, (one, other) in enumerate(pairs):
        for level in (1, 2, 3):
            there = len(PATHS[one]) >= level
            assert levels.present[row, level - 1] == there
            assert levels.correct[row, level - 1] == (there and PATHS[one][:level] == PATHS[other][:level])


def test_what_is_right_further_down_is_right_above():
    every = np.array([(one, other) for one in range(6) for other in range(6)])
    correct = compare_levels(every[:, 0], every[:, 1], MEMBERS).correct
    assert (correct[:, 1:] <= correct[:, :-1]).all()
