"""Nearest-neighbour accuracy against scikit-learn's classifier."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from mscon.data.splits import Split
from mscon.evaluate import retrieval
from mscon.evaluate.retrieval import knn_categorical


def by_scikit_learn(x: np.ndarray, values: np.ndarray, split: Split, neighbours: int) -> tuple[float, float]:
    """Accuracy on the labelled validation and test rows, ties going to the nearer neighbours."""
    train = split.train[values[split.train] >= 0]
    oracle = KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute")
    oracle.set_params(weights=lambda distances: 1 + 1e-3 * (1 - distances)).fit(x[train], values[train])
    val, test = (part[values[part] >= 0] for part in (split.val, split.test))
    return float(oracle.score(x[val], values[val])), float(oracle.score(x[test], values[test]))


def test_every_column_is_chosen_and_scored_as_by_scikit_learn(simulated):
    x, split = simulated.features.numpy(), simulated.split
    results = knn_categorical(simulated.features, simulated.columns, split, neighbours=(1, 5, 20))
    for name, result in results.items():
        oracles = {k: by_scikit_learn(x, simulated.columns[name], split, k) for k in (20, 5, 1)}
        chosen = max(oracles, key=lambda k: oracles[k][0])
        assert result.neighbours == chosen
        assert result.accuracy == pytest.approx(oracles[chosen][1])


def test_tiles_change_nothing(simulated, monkeypatch):
    whole = knn_categorical(simulated.features, simulated.columns, simulated.split)
    monkeypatch.setattr(retrieval, "TILE", 360 * 7)
    assert knn_categorical(simulated.features, simulated.columns, simulated.split) == whole
    monkeypatch.setattr(retrieval, "TILE", 1)
    assert knn_categorical(simulated.features, simulated.columns, simulated.split) == whole


def test_the_length_of_a_feature_row_does_not_matter(simulated):
    lengths = torch.rand(600, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    one = knn_categorical(simulated.features, simulated.columns, simulated.split)
    assert knn_categorical(simulated.features * lengths, simulated.columns, simulated.split) == one


def test_rows_without_a_label_change_nothing(simulated):
    rows = torch.arange(90)
    columns = {name: np.append(values, np.full(90, -1)) for name, values in simulated.columns.items()}
    parts = (simulated.split.train, simulated.split.val, simulated.split.test)
    more = Split(*(np.append(part, 600 + 30 * place + np.arange(30)) for place, part in enumerate(parts)))
    copies = torch.cat([simulated.features, simulated.features[rows]])
    one = knn_categorical(simulated.features, simulated.columns, simulated.split)
    assert knn_categorical(copies, columns, more) == one


def test_more_neighbours_than_training_items_means_all_of_them():
    features = torch.eye(6)
    split = Split(np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))
    result = knn_categorical(features, {"a": np.array([0, 1, 1, 0, 1, 0])}, split, neighbours=(20,))["a"]
    assert (result.neighbours, result.accuracy) == (20, 0.5)


def test_a_tie_goes_to_the_nearer_neighbours():
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5], [1.0, 0.6], [1.0, 0.0]])
    split = Split(np.arange(4), np.array([], dtype=np.int64), np.array([4]))
    codes = np.array([1, 1, 0, 0, 1])
    assert knn_categorical(features, {"a": codes}, split, neighbours=(4,))["a"].accuracy == 1.0
