"""Numbers on a circle: a turn more changes nothing, and the way is the shorter one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mscon.data.circle import as_points, from_points, in_one_turn, shorter_way

PERIODS = (24.0, 360.0, 1.0, 12.0, 2 * math.pi, 86400.0)


@given(st.integers(0, 239), st.integers(-300, 300))
def test_an_hour_is_the_same_on_every_day_and_reads_as_it_was_written(tenths: int, days: int) -> None:
    hour = np.array([tenths / 10])
    assert in_one_turn(hour, 24.0).tolist() == hour.tolist()
    assert in_one_turn(np.array([(tenths + 240 * days) / 10]), 24.0).tolist() == hour.tolist()
    assert in_one_turn(hour + 24.0 * days, 24.0).tolist() == hour.tolist()


@pytest.mark.parametrize("period", PERIODS)
def test_values_are_in_one_turn_and_stay_there(period: float) -> None:
    values = np.random.default_rng(0).normal(size=2000) * 50 * period
    turned = in_one_turn(np.concatenate([values, [-1e-20, 0.0, period, np.nextafter(period, 0), 1e300]]), period)
    assert (turned >= 0).all()
    assert (turned < period).all()
    np.testing.assert_array_equal(in_one_turn(turned, period), turned)
    apart = shorter_way(turned[:2000] - np.remainder(values, period), period)
    np.testing.assert_allclose(apart, 0.0, atol=1e-11 * period)


def test_many_turns_leave_as_many_digits_as_a_number_has() -> None:
    assert in_one_turn(np.array([20000.1, -20000.1, 1234567.25]), 1.0).tolist() == [0.1, 0.9, 0.25]


def test_a_missing_number_stays_missing_and_a_line_has_no_turns() -> None:
    values = np.array([np.nan, 25.0, -1.0])
    np.testing.assert_array_equal(in_one_turn(values, 24.0), [np.nan, 1.0, 23.0])
    np.testing.assert_array_equal(in_one_turn(values, None), values)
    np.testing.assert_array_equal(shorter_way(values, None), values)
    np.testing.assert_array_equal(from_points(as_points(values, None), None), values)


def test_the_way_is_the_shorter_one() -> None:
    assert shorter_way(np.array([1.0 - 23.0, 23.0 - 1.0, 0.0, 5.0, 49.0]), 24.0).tolist() == [2.0, -2.0, 0.0, 5.0, 1.0]
    assert np.abs(shorter_way(np.array([12.0, -12.0, 36.0]), 24.0)).tolist() == [12.0] * 3


@pytest.mark.parametrize("period", PERIODS)
def test_a_point_leads_back_to_its_value_however_far_from_the_centre(period: float) -> None:
    values = in_one_turn(np.random.default_rng(1).random(500) * period, period)
    points = as_points(values, period)
    np.testing.assert_allclose(np.square(points).sum(1), 1.0)
    back = from_points(points * np.random.default_rng(2).uniform(0.01, 7.0, size=(500, 1)), period)
    assert ((back >= 0) & (back < period)).all()
    np.testing.assert_allclose(shorter_way(back - values, period), 0.0, atol=1e-11 * period)
