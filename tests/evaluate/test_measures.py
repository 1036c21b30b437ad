"""Scores by rank against scikit-learn's and SciPy's, on ties, and with weights against repeated items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from mscon.evaluate.measures import average_precision, mean_average_precision, single, spearman

# Few distinct values: most items are tied.
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=30)


@given(PAIRS)
def test_average_precision_equals_scikit_learns_with_ties_and_weights_as_with_repeated_items(
    items: list[tuple[int, int, int]],
):
    classes, scores, counts = (np.array(each) for each in zip(*items, strict=True))
    truth = classes == 0
    weights = np.stack([np.ones(len(items)), counts.astype(float)], axis=1)
    found = average_precision(truth, scores.astype(float), weights)
    for value, repeats in zip(found, weights.T.astype(int), strict=True):
        repeated = np.repeat(truth, repeats), np.repeat(scores, repeats)
        if repeated[0].any():
            assert value == pytest.approx(average_precision_score(*repeated))
        else:
            assert np.isnan(value)


@given(PAIRS)
def test_spearman_equals_scipys_with_ties_and_weights_as_with_repeated_items(items: list[tuple[int, int, int]]):
    a, b, counts = (np.array(each, dtype=float) for each in zip(*items, strict=True))
    weights = np.stack([np.ones(len(items)), counts], axis=1)
    for value, repeats in zip(spearman(a, b, weights), weights.T.astype(int), strict=True):
        one, other = np.repeat(a, repeats), np.repeat(b, repeats)
        if len(one) == 0 or np.ptp(one) == 0 or np.ptp(other) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(spearmanr(one, other)[0])


def test_a_score_that_tells_nothing_apart_has_the_positives_share():
    truth = np.arange(10) < 3
    assert single(average_precision(truth, np.full(10, 7.0))) == pytest.approx(0.3)
    assert single(average_precision(truth, -np.arange(10.0))) == 1.0


def test_a_tag_that_a_resample_lacks_counts_as_on_all_items_and_one_without_positives_never():
    generator = np.random.default_rng(0)
    truth = np.zeros((6, 3), dtype=bool)
    truth[0, 0] = truth[[1, 2], 1] = True
    scores = generator.normal(size=(6, 3))
    weights = np.ones((6, 3))
    weights[0, 1] = 0
    weights[:3, 2] = 0
    first, second = (average_precision_score(truth[:, tag], scores[:, tag]) for tag in (0, 1))
    without_the_first = average_precision_score(truth[1:, 1], scores[1:, 1])
    np.testing.assert_allclose(
        mean_average_precision(truth, scores, weights),
        [(first + second) / 2, (first + without_the_first) / 2, (first + second) / 2],
    )
    assert np.isnan(single(mean_average_precision(truth[:, 2:], scores[:, 2:])))
    assert np.isnan(single(mean_average_precision(truth[:, :0], scores[:, :0])))


def test_of_no_items_no_score_is_defined():
    none = np.zeros(0)
    for weights in (None, np.zeros((0, 3))):
        found = average_precision(none > 0, none, weights), spearman(none, none, weights)
        assert all(np.isnan(each).all() and len(each) == (3 if weights is not None else 1) for each in found)


def test_any_rising_function_leaves_the_correlation_of_ranks_as_it_is():
    a, b = np.random.default_rng(1).normal(size=(2, 50))
    assert single(spearman(np.exp(a), b**3)) == single(spearman(a, b))
    assert single(spearman(a, -b)) == pytest.approx(-single(spearman(a, b)))
    assert single(spearman(a, a)) == pytest.approx(1)
