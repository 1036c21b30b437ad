"""Nearest neighbours against scikit-learn's, for classes, numbers and tags."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from mscon.data.splits import Split
from mscon.evaluate import neighbours
from mscon.evaluate.measures import single, spearman
from mscon.evaluate.neighbours import NeighbourResult, knn_categorical, knn_continuous, knn_tags


def by_scikit_learn(x: np.ndarray, values: np.ndarray, split: Split, neighbours: int) -> tuple[float, float]:
    """Accuracy on the labelled validation and test rows, ties going to the nearer neighbours."""
    train = split.train[values[split.train] >= 0]
    oracle = KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute")
    oracle.set_params(weights=nearness).fit(x[train], values[train])
    val, test = (part[values[part] >= 0] for part in (split.val, split.test))
    return float(oracle.score(x[val], values[val])), float(oracle.score(x[test], values[test]))


def nearness(distances: np.ndarray) -> np.ndarray:
    """A vote of 1 and a little more for the nearer."""
    return 1 + 1e-3 * (1 - distances)


def same(one: dict[str, NeighbourResult], other: dict[str, NeighbourResult]) -> bool:
    return list(one) == list(other) and all(
        (a.neighbours, a.value) == (b.neighbours, b.value)
        and np.array_equal(a.truth, b.truth)
        and np.array_equal(a.predicted, b.predicted)
        for a, b in zip(one.values(), other.values(), strict=True)
    )


def test_every_column_is_chosen_and_scored_as_by_scikit_learn(simulated):
    x, split = simulated.features.numpy(), simulated.split
    results = knn_categorical(simulated.features, simulated.columns, split, neighbours=(1, 5, 20))
    for name, result in results.items():
        oracles = {k: by_scikit_learn(x, simulated.columns[name], split, k) for k in (20, 5, 1)}
        chosen = max(oracles, key=lambda k: oracles[k][0])
        assert result.neighbours == chosen
        assert result.value == pytest.approx(oracles[chosen][1])
        assert result.value == np.mean(result.truth == result.predicted)
        np.testing.assert_array_equal(result.truth, simulated.columns[name][result.rows])


def test_numbers_are_the_neighbours_mean_as_by_scikit_learn(simulated):
    x, split = simulated.features.numpy(), simulated.split
    for name, result in knn_continuous(simulated.features, simulated.numbers, split).items():
        values = simulated.numbers[name]
        train, val, test = (part[~np.isnan(values[part])] for part in (split.train, split.val, split.test))
        oracles = {k: KNeighborsRegressor(k, metric="cosine").fit(x[train], values[train]) for k in (20, 5, 1)}
        scores = {k: single(spearman(values[val], oracle.predict(x[val]))) for k, oracle in oracles.items()}
        assert result.neighbours == max(scores, key=lambda k: scores[k])
        expected = oracles[result.neighbours].predict(x[test])
        np.testing.assert_array_equal(result.rows, test)
        np.testing.assert_allclose(result.predicted, expected)
        assert result.value == pytest.approx(spearmanr(values[test], expected)[0])


def test_tags_are_the_neighbours_shares_as_by_scikit_learn(simulated, tagged):
    sets, table = tagged
    x, split = simulated.features.numpy(), simulated.split
    train, val, test = (part[sets[part] >= 0] for part in (split.train, split.val, split.test))
    shares = {}
    for k in (20, 5, 1):
        distances, places = KNeighborsRegressor(k, metric="cosine").fit(x[train], train).kneighbors(x)
        shares[k] = (table[sets[train]][places] * nearness(distances)[..., None]).mean(1)
    scores = {k: average_precision_score(table[sets[val]], each[val]) for k, each in shares.items()}
    result = knn_tags(simulated.features, {"a": sets}, {"a": table}, split)["a"]
    assert result.neighbours == max(scores, key=lambda k: scores[k])
    expected = shares[result.neighbours][test]
    np.testing.assert_array_equal(result.truth, table[sets[test]])
    np.testing.assert_allclose(result.predicted, expected)
    assert result.value == pytest.approx(average_precision_score(table[sets[test]], expected))


def test_a_number_that_does_not_vary_on_test_has_no_score(simulated):
    values = simulated.numbers["length"].copy()
    values[simulated.split.test] = 3.0
    assert np.isnan(knn_continuous(simulated.features, {"a": values}, simulated.split)["a"].value)


def test_tiles_change_nothing(simulated, monkeypatch):
    whole = knn_categorical(simulated.features, simulated.columns, simulated.split)
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", 360 * 7)
    assert same(knn_categorical(simulated.features, simulated.columns, simulated.split), whole)
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", 1)
    assert same(knn_categorical(simulated.features, simulated.columns, simulated.split), whole)


def test_the_length_of_a_feature_row_does_not_matter(simulated):
    lengths = torch.rand(600, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    one = knn_categorical(simulated.features, simulated.columns, simulated.split)
    assert same(knn_categorical(simulated.features * lengths, simulated.columns, simulated.split), one)


def test_rows_without_a_label_change_nothing(simulated):
    rows = torch.arange(90)
    columns = {name: np.append(values, np.full(90, -1)) for name, values in simulated.columns.items()}
    parts = (simulated.split.train, simulated.split.val, simulated.split.test)
    more = Split(*(np.append(part, 600 + 30 * place + np.arange(30)) for place, part in enumerate(parts)))
    copies = torch.cat([simulated.features, simulated.features[rows]])
    one = knn_categorical(simulated.features, simulated.columns, simulated.split)
    assert same(knn_categorical(copies, columns, more), one)


def test_more_neighbours_than_training_items_means_all_of_them():
    features = torch.eye(6)
    split = Split(np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))
    result = knn_categorical(features, {"a": np.array([0, 1, 1, 0, 1, 0])}, split, neighbours=(20,))["a"]
    assert (result.neighbours, result.value) == (20, 0.5)


def test_of_very_many_neighbours_the_majority_decides_however_far_it_is():
    near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    features = torch.cat([near.expand(750, 2), far.expand(751, 2), near])
    codes = np.append(np.repeat([0, 1], [750, 751]), 1)
    split = Split(np.arange(1501), np.array([], dtype=np.int64), np.array([1501]))
    assert knn_categorical(features, {"a": codes}, split, neighbours=(1501,))["a"].value == 1.0


def test_a_tie_goes_to_the_nearer_neighbours():
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5], [1.0, 0.6], [1.0, 0.0]])
    split = Split(np.arange(4), np.array([], dtype=np.int64), np.array([4]))
    codes = np.array([1, 1, 0, 0, 1])
    assert knn_categorical(features, {"a": codes}, split, neighbours=(4,))["a"].value == 1.0
