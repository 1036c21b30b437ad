"""What labels have in common: nothing, all, or the part that one has of the other."""

import numpy as np
import pytest

from mscon.data.information import as_codes, in_common, shared_information

RNG = np.random.default_rng(0)


def test_shared_information_is_1_where_one_label_follows_from_the_other_and_0_where_they_are_independent() -> None:
    fine = RNG.integers(0, 6, 600)
    coarse = fine // 2
    assert shared_information(fine, coarse) == pytest.approx(1.0)
    assert shared_information(coarse, fine) == pytest.approx(1.0)
    assert shared_information(np.repeat([0, 1], 40), np.tile([0, 1], 40)) == pytest.approx(0.0)
    assert shared_information(fine, np.full(600, -1)) == 0.0
    assert shared_information(fine, np.zeros(600, dtype=np.int64)) == 0.0
    assert shared_information(RNG.permutation(600), fine) == 0.0
    assert shared_information(RNG.permutation(600) // 2, fine) < 0.1, "sets that hardly ever occur twice"
    assert shared_information(np.arange(600) % 200 * 10**12, np.arange(600) % 200 // 40) == pytest.approx(1.0)


def test_rows_without_one_of_the_labels_do_not_count() -> None:
    a, b = np.array([0, 0, 1, 1, -1, 0] * 20), np.array([0, 0, 1, 1, 0, -1] * 20)
    assert shared_information(a, b) == pytest.approx(1.0)


def test_of_a_few_rows_nothing_is_said() -> None:
    a = np.arange(200) % 2
    few = np.where(np.arange(200) < 40, a, -1)
    assert shared_information(a, few) == 0.0
    assert shared_information(a, np.where(np.arange(200) < 60, a, -1)) == pytest.approx(1.0)


def test_of_the_larger_entropy_it_is_the_part_of_the_finer_label_that_the_coarser_one_knows() -> None:
    fine = np.arange(6400) % 64
    for first, second in ((fine, fine // 8), (fine // 8, fine)):
        assert shared_information(first, second, of=max) == pytest.approx(0.5, abs=0.02), "three bits of six"
    assert shared_information(fine, fine, of=max) == pytest.approx(1.0)
    assert shared_information(fine, RNG.permutation(fine), of=max) < 0.05


def test_numbers_become_bins_of_as_many_items_and_missing_ones_stay_missing() -> None:
    codes = as_codes(np.array([*np.arange(100.0) ** 3, np.nan]))
    assert codes[-1] == -1
    assert np.bincount(codes[:-1]).tolist() == [10] * 10


def test_ties_are_one_bin_wherever_they_lie() -> None:
    tail = np.r_[np.zeros(950), np.arange(1.0, 51.0)]
    for values, tied in ((tail, 0.0), (50.0 - tail, 50.0), (np.r_[tail, -tail], 0.0)):
        codes = as_codes(values)
        (bin_,) = np.unique(codes[values == tied])
        assert (codes[values != tied] != bin_).all()
    assert shared_information(as_codes(tail), (tail > 0).astype(np.int64)) == pytest.approx(1.0)


def test_in_common_is_symmetric_and_scaled_by_how_many_have_both() -> None:
    fine = np.arange(6400) % 64
    few = np.where(np.arange(6400) < 640, fine, -1)
    numbers = fine + 0.5
    table = in_common([fine, None, fine // 8, few, numbers])
    np.testing.assert_allclose(table, np.transpose(table))
    np.testing.assert_allclose(np.diagonal(table), 1.0)
    assert table[1] == [0.0, 1.0, 0.0, 0.0, 0.0], "no label, nothing in common"
    assert table[0][2] == shared_information(fine, fine // 8, of=max)
    assert table[0][3] == pytest.approx(0.1), "a tenth of the rows have both"
    assert table[0][4] == shared_information(fine, as_codes(numbers), of=max) > 0.4
