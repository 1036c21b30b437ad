"""Rows dealt all at once go where they go one by one."""

import numpy as np
import pytest

from mscon.data.deal import deal_rows


def one_by_one(strata: list[np.ndarray], shares: np.ndarray, seed: int, rows: int) -> np.ndarray:
    """As `read_split` tells it, in steps of one row."""
    columns = [*(np.unique(codes, return_inverse=True)[1] for codes in strata), np.zeros(rows, dtype=int)]
    totals = [np.bincount(codes) for codes in columns]
    lacks = [total[:, None] * shares for total in totals]
    own = [min(range(len(columns)), key=lambda c: (totals[c][columns[c][row]], c)) for row in range(rows)]
    chance = np.random.default_rng(seed).permutation(rows)
    keys = [(totals[c][columns[c][row]], c, columns[c][row], chance[row]) for row, c in enumerate(own)]
    parts = np.zeros(rows, dtype=np.int64)
    for row in sorted(range(rows), key=lambda row: keys[row]):
        mine = lacks[own[row]][columns[own[row]][row]]
        parts[row] = max(range(len(shares)), key=lambda part: (mine[part], lacks[-1][0][part], -part))
        for codes, each in zip(columns, lacks, strict=True):
            each[codes[row], parts[row]] -= 1
    return parts


@pytest.mark.parametrize("columns", [0, 1, 2, 3])
@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.61, 0.28, 0.11), (0.5, 0.5)])
def test_rows_go_where_they_go_one_by_one(columns: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(columns)
    for rows in (3, 17, 150):
        strata = [rng.integers(0, 2 + 5 * number, rows) ** 2 for number in range(columns)]
        dealt = deal_rows(strata, np.array(shares), 7, rows)
        np.testing.assert_array_equal(dealt, one_by_one(strata, np.array(shares), 7, rows))
