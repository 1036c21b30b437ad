"""Scores of numbers on a circle: by hand, the same wherever the circle begins, and none the worse for its seam."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from mscon.data.circle import as_points, in_one_turn, shorter_way
from mscon.data.labels import LabelColumn
from mscon.data.splits import Split
from mscon.evaluate import Label, circular, knn_continuous, probe_continuous, resampled, resampled_r2, score, spearman
from mscon.evaluate.audit import audit_continuous
from mscon.evaluate.measures import correlation, single
from mscon.evaluate.ridge import RIDGE_STRENGTHS, r_squared

P = 24.0
HOURS = {"hour": P}
HOUR = LabelColumn("hour", "continuous", period=P)


@pytest.fixture(scope="module")
def hours() -> np.ndarray:
    """Of 600 items, all round the clock; 30 are missing."""
    values = in_one_turn(np.random.default_rng(3).uniform(0, P, size=600), P)
    values[::20] = np.nan
    return values


@pytest.fixture(scope="module")
def features(hours: np.ndarray) -> torch.Tensor:
    """The hours' points, turned into six dimensions among noise."""
    generator = np.random.default_rng(4)
    points = as_points(np.nan_to_num(hours), P) @ generator.normal(size=(2, 6))
    return torch.from_numpy(points + 0.5 * generator.normal(size=(600, 6)) + 1.0)


@pytest.fixture(scope="module")
def turned(hours: np.ndarray) -> np.ndarray:
    """The same hours by a clock that shows 7.3 at midnight."""
    return in_one_turn(hours + 7.3, P)


def entry(values: np.ndarray, features: torch.Tensor, split: Split) -> dict:
    noise = torch.randn(600, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sets = {"model": features, "noise": noise}
    label = Label("in-domain", values, HOUR)
    return score(sets, {"hour": label}, split, heads={"hour": features}, resamples=200)["hour"]


def test_the_probe_is_scikit_learns_ridge_on_both_coordinates(hours, features, simulated) -> None:
    split, x = simulated.split, features.numpy()
    train, val, test = (part[~np.isnan(hours[part])] for part in (split.train, split.val, split.test))
    units = StandardScaler().fit(x[train])
    clipped, points = units.transform(x.clip(x[train].min(0), x[train].max(0))), as_points(hours, P)
    mean = points[train].mean(0)
    fits = {
        strength: Ridge(alpha=len(train) * strength).fit(units.transform(x[train]), points[train] - mean)
        for strength in RIDGE_STRENGTHS
    }
    weighted = "variance_weighted"
    scores = {
        strength: r2_score(points[val], fit.predict(clipped[val]) + mean, multioutput=weighted)
        for strength, fit in fits.items()
    }
    result = probe_continuous(features, {"hour": hours}, split, periods=HOURS)["hour"]
    assert result.strength == max(scores, key=lambda each: scores[each])
    assert result.validation == pytest.approx(max(scores.values()))
    fitted = fits[result.strength].predict(clipped[test]) + mean
    np.testing.assert_allclose(result.fitted, fitted, atol=1e-9)
    assert result.r2 == pytest.approx(r2_score(points[test], fitted, multioutput=weighted))
    angles = np.arctan2(fitted[:, 1], fitted[:, 0]) * P / (2 * np.pi)
    apart = np.abs(hours[test] - angles) % P
    assert result.mae == pytest.approx(np.minimum(apart, P - apart).mean())
    assert ((result.predicted >= 0) & (result.predicted < P)).all()


def test_the_points_themselves_are_a_perfect_embedding(hours, simulated) -> None:
    points = torch.from_numpy(as_points(np.nan_to_num(hours), P))
    result = probe_continuous(points, {"hour": hours}, simulated.split, periods=HOURS, strengths=(1e-9,))["hour"]
    assert result.r2 == pytest.approx(1.0)
    assert result.mae == pytest.approx(0.0, abs=1e-6)
    on_a_line = probe_continuous(points, {"hour": hours}, simulated.split, strengths=(1e-9,))["hour"]
    assert on_a_line.r2 < 0.8
    near = knn_continuous(points, {"hour": hours}, simulated.split, periods=HOURS)["hour"]
    assert near.value > 0.99


def test_where_the_circle_begins_changes_no_score(hours, turned, features, simulated) -> None:
    one, other = (entry(values, features, simulated.split) for values in (hours, turned))
    assert one["strength"] == other["strength"]
    for key in ("value", "low", "high", "mae", "knn"):
        assert one[key] == pytest.approx(other[key], abs=1e-6), key
    for key in ("circular", "own_head"):
        assert {**one[key], "metric": 0} == pytest.approx({**other[key], "metric": 0}, abs=1e-6), key
    difference, again = (each["floors"]["noise"]["difference"] for each in (one, other))
    assert difference == pytest.approx(again, abs=1e-6)


def test_the_entry_has_what_the_file_promises(hours, features, simulated) -> None:
    found = entry(hours, features, simulated.split)
    result = probe_continuous(features, {"hour": hours}, simulated.split, periods=HOURS)["hour"]
    assert (found["metric"], found["value"], found["mae"]) == ("r2", result.r2, result.mae)
    assert "spearman" not in found
    assert found["circular"]["value"] == single(circular(result.truth, result.predicted, period=P))
    assert found["circular"]["low"] < found["circular"]["value"] < found["circular"]["high"]
    assert (found["own_head"]["metric"], found["own_head"]["value"]) == ("circular", found["knn"])
    assert found["floors"]["noise"]["difference"]["low"] > 0.3


def test_neighbours_mean_is_the_direction_of_their_points_mean(hours, features, simulated) -> None:
    split, x = simulated.split, features.numpy()
    train, test = (part[~np.isnan(hours[part])] for part in (split.train, split.test))
    result = knn_continuous(features, {"hour": hours}, split, periods=HOURS)["hour"]
    oracle = KNeighborsRegressor(result.neighbours, metric="cosine").fit(x[train], as_points(hours[train], P))
    mean = oracle.predict(x[test])
    expected = np.arctan2(mean[:, 1], mean[:, 0]) * P / (2 * np.pi)
    np.testing.assert_allclose(shorter_way(result.predicted - expected, P), 0.0, atol=1e-8)
    assert result.value == single(circular(result.truth, result.predicted, period=P))


def by_pairs(truth: np.ndarray, predicted: np.ndarray) -> float:
    """ρ_T as published, from all pairs; NaN where a side does not vary."""
    a, b = (np.sin((each[:, None] - each) * 2 * np.pi / P) for each in (truth, predicted))
    above, below = (a * b).sum(), (a * a).sum() * (b * b).sum()
    return above / np.sqrt(below) if min((a * a).sum(), (b * b).sum()) > 1e-9 else np.nan


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23), st.integers(0, 4)), min_size=2, max_size=30))
def test_the_correlation_equals_that_of_all_pairs_and_weights_count_as_repeated_items(
    items: list[tuple[int, int, int]],
) -> None:
    truth, predicted, counts = (np.array(each, dtype=float) for each in zip(*items, strict=True))
    weights = np.stack([np.ones(len(items)), counts], axis=1)
    for value, repeats in zip(circular(truth, predicted, weights, period=P), weights.T.astype(int), strict=True):
        expected = by_pairs(np.repeat(truth, repeats), np.repeat(predicted, repeats))
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_turning_leaves_the_correlation_as_it_is_and_mirroring_turns_its_sign() -> None:
    generator = np.random.default_rng(5)
    truth = generator.uniform(0, P, size=200)
    predicted = in_one_turn(truth + generator.normal(size=200), P)
    found = single(circular(truth, predicted, period=P))
    assert 0.8 < found < 1.0
    assert single(circular(truth, in_one_turn(predicted + 11.0, P), period=P)) == pytest.approx(found)
    assert single(circular(truth, -predicted, period=P)) == pytest.approx(-found)
    assert single(circular(truth, truth, period=P)) == pytest.approx(1.0)
    assert abs(single(circular(truth, generator.permutation(truth), period=P))) < 0.2
    assert np.isnan(single(circular(truth, np.full(200, 8.1), period=P)))
    assert correlation(None) is spearman


@pytest.mark.parametrize("groups", [None, np.random.default_rng(0).integers(30, size=80)], ids=["rows", "groups"])
def test_resampled_scores_of_points_equal_those_of_the_rows_drawn(groups) -> None:
    generator = np.random.default_rng(6)
    truth = generator.uniform(0, P, size=80)
    predicted = in_one_turn(truth[:, None] + generator.normal(size=(80, 2)), P)
    points = np.stack([as_points(each, P) for each in predicted.T], axis=1)
    found = resampled_r2(as_points(truth, P), points, groups, resamples=20, seed=5)
    correlated = resampled(correlation(P), truth, predicted[:, 0], groups, resamples=20, seed=5)
    owners = np.arange(80) if groups is None else np.unique(groups, return_inverse=True)[1]
    draws = np.random.default_rng(5).integers(owners.max() + 1, size=(20, owners.max() + 1))
    for draw, r2, value in zip(draws, found, correlated, strict=True):
        rows = np.concatenate([np.flatnonzero(owners == each) for each in draw])
        expected = [r_squared(as_points(truth, P)[rows], points[rows, column]) for column in range(2)]
        np.testing.assert_allclose(r2, expected)
        assert value == pytest.approx(by_pairs(truth[rows], predicted[rows, 0]))


def test_the_seam_is_no_finding_and_a_wrong_hour_beside_it_is() -> None:
    generator = np.random.default_rng(7)
    true = generator.uniform(0, P, size=400)
    points = torch.from_numpy(as_points(true, P) + 0.02 * generator.normal(size=(400, 2)))
    values = in_one_turn(true + 0.1 * generator.normal(size=400), P)
    values[9], values[17] = in_one_turn(values[[9]] + 6.0, P)[0], np.nan
    found = audit_continuous(points, values, period=P)
    beside = np.minimum(found.given, P - found.given) < 0.3
    assert beside.sum() > 5
    assert found.score[beside & (found.rows != 9)].max() < 0.85
    assert found.rows[found.ranked()[0]] == 9
    assert 17 not in found.rows
    assert ((found.suggested >= 0) & (found.suggested < P)).all()
    apart = shorter_way(found.given - found.suggested, P)
    u = np.abs(apart - np.median(apart)) / (1.4826 * np.median(np.abs(apart - np.median(apart))))
    np.testing.assert_allclose(found.score, u / (1 + u))
    again = audit_continuous(points, in_one_turn(values + 13.0, P), period=P)
    np.testing.assert_allclose(again.score, found.score, atol=1e-6)
    np.testing.assert_allclose(shorter_way(again.suggested - found.suggested - 13.0, P), 0.0, atol=1e-6)
    line = audit_continuous(points, values)
    assert line.score[beside].min() > found.score[beside & (found.rows != 9)].max()
