"""The bootstrap against drawing the rows one by one, and its coverage where the truth is known."""

import numpy as np
import pytest

from mscon.evaluate import bootstrap
from mscon.evaluate.bootstrap import accuracy_interval, interval, resampled, resampled_accuracy, resampled_r2
from mscon.evaluate.measures import mean_average_precision, single, spearman
from mscon.evaluate.ridge import r_squared


def drawn(items: int, groups: np.ndarray | None, *, resamples: int, seed: int) -> list[np.ndarray]:
    """The rows of every resample, written out."""
    members = [np.array([row]) for row in range(items)]
    if groups is not None:
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    generator = np.random.default_rng(seed)
    draws = generator.integers(len(members), size=(resamples, len(members)))
    return [np.concatenate([members[group] for group in draw]) for draw in draws]


@pytest.mark.parametrize("groups", [None, np.random.default_rng(0).integers(30, 50, size=80)], ids=["rows", "groups"])
def test_resampled_scores_equal_the_scores_of_the_rows_drawn(groups):
    generator = np.random.default_rng(1)
    correct = generator.random((80, 2)) < 0.7
    truth = generator.normal(size=80) + 1000
    predicted = truth[:, None] + generator.normal(size=(80, 2))
    rows = drawn(80, groups, resamples=50, seed=5)
    np.testing.assert_allclose(
        resampled_accuracy(correct, groups, resamples=50, seed=5), [correct[each].mean(0) for each in rows]
    )
    np.testing.assert_allclose(
        resampled_r2(truth, predicted, groups, resamples=50, seed=5),
        [[r_squared(truth[each], column[each]) for column in predicted.T] for each in rows],
    )


@pytest.mark.parametrize("groups", [None, np.random.default_rng(0).integers(30, 50, size=80)], ids=["rows", "groups"])
def test_any_score_is_resampled_on_the_same_rows(groups):
    generator = np.random.default_rng(2)
    truth, predicted = generator.normal(size=(2, 80))
    tags, scores = generator.random((80, 3)) < 0.3, generator.normal(size=(80, 3))
    rows = drawn(80, groups, resamples=50, seed=5)
    np.testing.assert_allclose(
        resampled(spearman, truth, predicted, groups, resamples=50, seed=5),
        [single(spearman(truth[each], predicted[each])) for each in rows],
    )
    np.testing.assert_allclose(
        resampled(mean_average_precision, tags, scores, groups, resamples=50, seed=5),
        [single(mean_average_precision(tags[each], scores[each])) for each in rows],
    )


def test_chunks_change_nothing(monkeypatch):
    correct = np.random.default_rng(0).random((40, 3)) < 0.5
    numbers = np.random.default_rng(0).normal(size=(2, 40))
    whole, ranked = resampled_accuracy(correct, resamples=101), resampled(spearman, *numbers, resamples=101)
    monkeypatch.setattr(bootstrap, "CHUNK", 40 * 7)
    monkeypatch.setattr(bootstrap, "WEIGHTS", 40 * 7)
    np.testing.assert_array_equal(resampled_accuracy(correct, resamples=101), whole)
    np.testing.assert_array_equal(resampled(spearman, *numbers, resamples=101), ranked)
    monkeypatch.setattr(bootstrap, "WEIGHTS", 1)
    np.testing.assert_array_equal(resampled(spearman, *numbers, resamples=101), ranked)


def test_about_95_of_100_intervals_hold_the_true_accuracy():
    generator = np.random.default_rng(11)
    held = 0
    for seed in range(400):
        correct = generator.random((150, 1)) < 0.7
        ends = interval(resampled_accuracy(correct, resamples=400, seed=seed)[:, 0])
        held += ends.low <= 0.7 <= ends.high
    # The percentile interval of 150 items covers a little less than it says; three standard errors around 94%.
    assert 0.905 <= held / 400 <= 0.975


def test_about_95_of_100_intervals_hold_the_true_accuracy_of_near_duplicates_only_when_groups_are_drawn():
    generator = np.random.default_rng(12)
    groups = np.repeat(np.arange(60), 5)
    held: dict[str, int] = {"groups": 0, "rows": 0}
    for seed in range(300):
        correct = np.repeat(generator.random((60, 1)) < 0.7, 5, axis=0)
        for name, codes in (("groups", groups), ("rows", None)):
            ends = interval(resampled_accuracy(correct, codes, resamples=400, seed=seed)[:, 0])
            held[name] += ends.low <= 0.7 <= ends.high
    assert 0.89 <= held["groups"] / 300 <= 0.98
    assert held["rows"] / 300 < 0.75


def test_about_95_of_100_intervals_hold_the_true_r2():
    generator = np.random.default_rng(13)
    held = 0
    for seed in range(300):
        predicted = generator.normal(size=(200, 1))
        truth = predicted[:, 0] + generator.normal(size=200)
        ends = interval(resampled_r2(truth, predicted, resamples=400, seed=seed)[:, 0])
        held += ends.low <= 0.5 <= ends.high
    assert 0.89 <= held / 300 <= 0.98


def test_a_paired_difference_is_narrower_than_two_separate_intervals_suggest():
    generator = np.random.default_rng(14)
    model = generator.random(500) < 0.7
    floor = np.where(generator.random(500) < 0.95, model, ~model)
    samples = resampled_accuracy(np.column_stack([model, floor]))
    paired = interval(samples[:, 0] - samples[:, 1])
    other = resampled_accuracy(floor[:, None], seed=1)[:, 0]
    apart = interval(samples[:, 0] - other)
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)
    assert (samples[:, 0] == resampled_accuracy(model[:, None])[:, 0]).all()


def test_the_names_of_the_groups_do_not_matter():
    generator = np.random.default_rng(15)
    correct = generator.random((100, 1)) < 0.5
    groups = generator.integers(20, size=100)
    np.testing.assert_array_equal(resampled_accuracy(correct, groups * 7 - 50), resampled_accuracy(correct, groups))


def test_a_single_group_gives_no_interval():
    generator = np.random.default_rng(16)
    correct, truth = generator.random((20, 1)) < 0.5, generator.normal(size=20)
    one = np.zeros(20, dtype=np.int64)
    assert np.isnan(interval(resampled_accuracy(correct, one)[:, 0]).low)
    assert np.isnan(interval(resampled_r2(truth, truth[:, None], one)[:, 0]).high)
    assert np.isnan(interval(resampled(spearman, truth, truth, one)).low)


@pytest.mark.parametrize("items", [2, 5, 30, 1000])
@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_right_or_none_the_interval_is_wilsons(items: int, right: bool):
    """Its inner end is the share p that differs from what was seen by 1.96 √(p (1 − p) / g), g groups of items."""
    correct, groups = np.full((3 * items, 1), right), np.repeat(np.arange(items), 3)
    ends = accuracy_interval(resampled_accuracy(correct, groups)[:, 0], items)
    inner, outer = (ends.low, ends.high) if right else (ends.high, ends.low)
    assert outer == float(right)
    assert abs(right - inner) == pytest.approx(1.959964 * np.sqrt(inner * (1 - inner) / items))


def test_any_other_accuracy_has_the_percentile_interval_and_a_single_group_has_none():
    samples = resampled_accuracy(np.arange(40)[:, None] < 39)[:, 0]
    assert accuracy_interval(samples, 40) == interval(samples)
    assert np.isnan(accuracy_interval(resampled_accuracy(np.ones((9, 1), bool), np.zeros(9, int))[:, 0], 1).low)


def test_r2_is_not_defined_on_resamples_of_one_value():
    truth = np.array([1.0, 1.0, 1.0, 2.0])
    samples = resampled_r2(truth, truth[:, None], resamples=300)[:, 0]
    assert np.isnan(samples).any()
    assert interval(samples).low == 1.0
    assert np.isnan(interval(resampled_r2(np.ones(4), np.ones((4, 1)))[:, 0]).low)
