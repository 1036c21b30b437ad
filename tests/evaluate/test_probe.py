"""The categorical probe against scikit-learn's pipeline, and its laws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.probe import ProbeResult, probe_categorical

GRID = (3.0, 0.3, 0.03)
EXACT = {"strengths": GRID, "tolerance": 1e-12, "max_iterations": 2000}


def by_scikit_learn(x: np.ndarray, values: np.ndarray, split: Split, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions on validation and test of the classifier fitted on the column's labelled training rows."""
    train = split.train[values[split.train] >= 0]
    clipped = x.clip(x[train].min(0), x[train].max(0))
    scaler = StandardScaler().fit(x[train])
    c = (2 if len(np.unique(values[train])) == 2 else 1) / (len(train) * strength)
    oracle = LogisticRegression(C=c, tol=1e-9, max_iter=10_000).fit(scaler.transform(x[train]), values[train])
    return tuple(oracle.predict(scaler.transform(clipped[rows])) for rows in (split.val, split.test))


def same(one: ProbeResult, other: ProbeResult) -> bool:
    return (
        np.array_equal(one.truth, other.truth)
        and np.array_equal(one.predicted, other.predicted)
        and (one.strength, one.validation, one.common) == (other.strength, other.validation, other.common)
    )


def test_every_column_is_fitted_chosen_and_scored_as_by_scikit_learn(simulated):
    x, split = simulated.features.numpy(), simulated.split
    results = probe_categorical(simulated.features, simulated.columns, split, **EXACT)
    assert list(results) == ["pair", "few", "gaps"]
    for name, result in results.items():
        values = simulated.columns[name]
        val, test = values[split.val] >= 0, values[split.test] >= 0
        oracles = {strength: by_scikit_learn(x, values, split, strength) for strength in GRID}
        scores = [accuracy_score(values[split.val][val], oracles[strength][0][val]) for strength in GRID]
        assert result.validation == max(scores)
        assert result.strength == GRID[int(np.argmax(scores))]
        truth, expected = values[split.test][test], oracles[result.strength][1][test]
        np.testing.assert_array_equal(result.rows, split.test[test])
        np.testing.assert_array_equal(result.predicted, expected)
        assert result.accuracy == pytest.approx(accuracy_score(truth, expected))
        assert result.balanced == pytest.approx(balanced_accuracy_score(truth, expected))
        common = np.bincount(values[split.train][values[split.train] >= 0]).argmax()
        assert result.majority == pytest.approx(np.mean(truth == common))


def test_the_default_precision_and_tolerance_give_the_same_choice_and_nearly_the_same_answers(simulated):
    exact = probe_categorical(simulated.features, simulated.columns, simulated.split, **EXACT)
    quick = probe_categorical(simulated.features.float(), simulated.columns, simulated.split, strengths=GRID)
    for name in exact:
        assert quick[name].strength == exact[name].strength
        assert np.mean(quick[name].predicted == exact[name].predicted) > 0.99


def test_the_stronger_of_equally_good_strengths_is_taken():
    codes = np.arange(200) % 2
    features = torch.from_numpy(codes * 2.0 - 1)[:, None]
    split = Split(np.arange(100), np.arange(100, 150), np.arange(150, 200))
    result = probe_categorical(features, {"clear": codes}, split, strengths=(1e-3, 10.0, 0.1))["clear"]
    assert (result.validation, result.strength) == (1.0, 10.0)


def test_the_middle_strength_is_taken_when_too_few_validation_rows_are_labelled(simulated):
    values = simulated.columns["few"].copy()
    values[simulated.split.val[29:]] = -1
    arguments = (simulated.features, {"few": values}, simulated.split)
    assert probe_categorical(*arguments, strengths=(10.0, 1e-3, 1e-5))["few"].strength == 1e-3
    values[simulated.split.val] = -1
    result = probe_categorical(*arguments, strengths=(10.0, 1e-3, 1e-5))["few"]
    assert result.strength == 1e-3
    assert np.isnan(result.validation)


def test_the_order_of_the_rows_does_not_matter(simulated):
    order = np.random.default_rng(3).permutation(600)
    place = np.argsort(order)
    moved = Split(
        *(np.sort(place[part]) for part in (simulated.split.train, simulated.split.val, simulated.split.test))
    )
    columns = {name: values[order] for name, values in simulated.columns.items()}
    one = probe_categorical(simulated.features, simulated.columns, simulated.split, **EXACT)
    other = probe_categorical(simulated.features[order], columns, moved, **EXACT)
    for name in one:
        assert other[name].strength == one[name].strength
        assert other[name].accuracy == one[name].accuracy
        assert other[name].balanced == one[name].balanced


def test_rows_without_a_label_change_nothing(simulated):
    extra = torch.randn(90, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1000
    columns = {name: np.append(values, np.full(90, -1)) for name, values in simulated.columns.items()}
    parts = (simulated.split.train, simulated.split.val, simulated.split.test)
    more = Split(*(np.append(part, 600 + 30 * place + np.arange(30)) for place, part in enumerate(parts)))
    one = probe_categorical(simulated.features, simulated.columns, simulated.split, **EXACT)
    other = probe_categorical(torch.cat([simulated.features, extra]), columns, more, **EXACT)
    assert all(same(one[name], other[name]) for name in one)


def test_what_items_without_a_label_look_like_does_not_matter_even_where_fits_are_stopped_early():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, 1200)
    features = rng.normal(size=(1200, 64)) @ (rng.normal(size=(64, 64)) * np.logspace(0, -2, 64))
    features += 0.01 * rng.normal(size=(5, 64))[values]
    values[:200] = -1
    odd = features.copy()
    odd[:200] = 10 * rng.normal(size=(200, 3)) @ rng.normal(size=(3, 64))
    split = Split(np.arange(800), np.arange(800, 900), np.arange(900, 1200))
    one, other = (
        probe_categorical(
            torch.from_numpy(each).float(), {"some": values, "all": abs(values)}, split, strengths=(1e-4,)
        )
        for each in (features, odd)
    )
    assert 0.3 < one["some"].accuracy < 0.8
    np.testing.assert_array_equal(one["some"].predicted, other["some"].predicted)


def test_a_column_scores_the_same_alone_as_beside_others(simulated):
    together = probe_categorical(simulated.features, simulated.columns, simulated.split, **EXACT)
    for name, values in simulated.columns.items():
        alone = probe_categorical(simulated.features, {name: values}, simulated.split, **EXACT)
        assert same(alone[name], together[name])


def test_a_class_that_training_never_saw_counts_as_wrong_and_is_never_predicted(simulated):
    values = simulated.columns["few"].copy()
    values[simulated.split.test[:10]] = 77
    values[simulated.split.val[:10]] = 88
    result = probe_categorical(simulated.features, {"few": values}, simulated.split)["few"]
    assert not result.correct[:10].any()
    assert set(result.predicted) <= {0, 1, 2, 3}
    assert result.classes == 4
    seen = balanced_accuracy_score(result.truth[10:], result.predicted[10:])
    assert result.balanced == pytest.approx(seen * 4 / 5)


def test_one_class_in_training_is_always_answered(simulated):
    values = simulated.columns["pair"].copy()
    values[simulated.split.train] = 1
    result = probe_categorical(simulated.features, {"pair": values}, simulated.split)["pair"]
    assert result.classes == 1
    assert (result.predicted == 1).all()
    assert result.accuracy == result.majority


def test_features_without_variance_score_as_the_majority(simulated):
    result = probe_categorical(torch.ones(600, 4), simulated.columns, simulated.split)["few"]
    assert result.accuracy == result.majority


def test_a_feature_without_variance_changes_nothing(simulated):
    padded = torch.cat([simulated.features, torch.full((600, 1), 5.0, dtype=torch.float64)], dim=1)
    one = probe_categorical(simulated.features, simulated.columns, simulated.split, **EXACT)
    other = probe_categorical(padded, simulated.columns, simulated.split, **EXACT)
    assert all(same(one[name], other[name]) for name in one)


def test_a_column_without_a_test_label_is_refused_by_name(simulated):
    values = simulated.columns["few"].copy()
    values[simulated.split.test] = -1
    with pytest.raises(UserError, match="'few' is missing on every test row"):
        probe_categorical(simulated.features, {"few": values}, simulated.split)


def test_metrics_of_one_result_by_hand():
    result = ProbeResult(
        rows=np.arange(5),
        truth=np.array([0, 0, 0, 1, 5]),
        predicted=np.array([0, 0, 1, 1, 0]),
        common=0,
        known=np.array([0, 1]),
        strength=1.0,
        validation=0.5,
    )
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.balanced == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result.majority == pytest.approx(3 / 5)
    assert (result.classes, result.unseen) == (2, 1)
    assert replace(result, common=9).majority == 0
