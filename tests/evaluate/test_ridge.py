"""The continuous probe against scikit-learn's ridge regression, and its laws."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.preprocessing import StandardScaler

from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.ridge import RIDGE_STRENGTHS, probe_continuous, r_squared


def by_scikit_learn(x: np.ndarray, values: np.ndarray, split: Split, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions on validation and test, in the label's unit."""
    train = split.train[~np.isnan(values[split.train])]
    clipped = x.clip(x[train].min(0), x[train].max(0))
    units = StandardScaler().fit(x[train])
    mean, scale = values[train].mean(), values[train].std()
    oracle = Ridge(alpha=len(train) * strength).fit(units.transform(x[train]), (values[train] - mean) / scale)
    return tuple(oracle.predict(units.transform(clipped[rows])) * scale + mean for rows in (split.val, split.test))


def test_every_column_is_fitted_chosen_and_scored_as_by_scikit_learn(simulated):
    x, split = simulated.features.numpy(), simulated.split
    results = probe_continuous(simulated.features, simulated.numbers, split)
    for name, result in results.items():
        values = simulated.numbers[name]
        val, test = ~np.isnan(values[split.val]), ~np.isnan(values[split.test])
        oracles = {strength: by_scikit_learn(x, values, split, strength) for strength in RIDGE_STRENGTHS}
        scores = [r2_score(values[split.val][val], oracles[strength][0][val]) for strength in RIDGE_STRENGTHS]
        assert result.strength == RIDGE_STRENGTHS[int(np.argmax(scores))]
        assert result.validation == pytest.approx(max(scores))
        truth, expected = values[split.test][test], oracles[result.strength][1][test]
        np.testing.assert_allclose(result.predicted, expected, rtol=1e-8)
        assert result.r2 == pytest.approx(r2_score(truth, expected))
        assert result.mae == pytest.approx(mean_absolute_error(truth, expected))


def test_the_error_is_in_the_labels_unit_and_r2_has_none(simulated):
    metres = probe_continuous(simulated.features, simulated.numbers, simulated.split)["length"]
    numbers = {"length": simulated.numbers["length"] * 1000 + 5e5}
    millimetres = probe_continuous(simulated.features, numbers, simulated.split)["length"]
    assert millimetres.r2 == pytest.approx(metres.r2)
    assert millimetres.mae == pytest.approx(1000 * metres.mae)


def test_rows_without_a_number_change_nothing(simulated):
    extra = torch.full((90, 20), 1e6, dtype=torch.float64)
    numbers = {name: np.append(values, np.full(90, np.nan)) for name, values in simulated.numbers.items()}
    parts = (simulated.split.train, simulated.split.val, simulated.split.test)
    more = Split(*(np.append(part, 600 + 30 * place + np.arange(30)) for place, part in enumerate(parts)))
    one = probe_continuous(simulated.features, simulated.numbers, simulated.split)
    other = probe_continuous(torch.cat([simulated.features, extra]), numbers, more)
    for name in one:
        np.testing.assert_array_equal(other[name].predicted, one[name].predicted)
        assert other[name].validation == one[name].validation


def test_float32_features_give_the_same_score(simulated):
    one = probe_continuous(simulated.features, simulated.numbers, simulated.split)
    other = probe_continuous(simulated.features.float(), simulated.numbers, simulated.split)
    for name in one:
        assert other[name].r2 == pytest.approx(one[name].r2, abs=1e-4)


def test_features_without_variance_predict_the_training_mean(simulated):
    result = probe_continuous(torch.ones(600, 3), simulated.numbers, simulated.split)["length"]
    np.testing.assert_allclose(result.predicted, simulated.numbers["length"][simulated.split.train].mean())


def test_a_label_that_is_constant_in_training_is_predicted_as_that_constant(simulated):
    values = simulated.numbers["length"].copy()
    values[simulated.split.train] = 42.0
    result = probe_continuous(simulated.features, {"length": values}, simulated.split)["length"]
    np.testing.assert_allclose(result.predicted, 42.0)


def test_the_middle_strength_is_taken_when_validation_cannot_tell(simulated):
    values = simulated.numbers["length"].copy()
    values[simulated.split.val] = 7.0
    result = probe_continuous(simulated.features, {"length": values}, simulated.split)["length"]
    assert result.strength == sorted(RIDGE_STRENGTHS)[len(RIDGE_STRENGTHS) // 2]


def test_r2_of_a_label_that_does_not_vary_is_not_defined():
    assert np.isnan(r_squared(np.full(5, 3.0), np.arange(5.0)))


def test_a_column_without_a_training_number_is_refused_by_name(simulated):
    values = simulated.numbers["length"].copy()
    values[simulated.split.train] = np.nan
    with pytest.raises(UserError, match="'length' is missing on every train row"):
        probe_continuous(simulated.features, {"length": values}, simulated.split)
