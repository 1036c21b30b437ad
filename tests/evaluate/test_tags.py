"""The probe of tags against one scikit-learn classifier per tag, and its laws."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.columns import membership
from mscon.evaluate.tags import TagResult, probe_tags

GRID = (3.0, 0.3, 0.03)
EXACT = {"strengths": GRID, "tolerance": 1e-12, "max_iterations": 2000}


def probe(simulated, sets: np.ndarray, table: np.ndarray, **settings) -> TagResult:
    return probe_tags(simulated.features, {"a": sets}, {"a": table}, simulated.split, **(EXACT | settings))["a"]


def mean_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """scikit-learn's, over the tags that have a positive."""
    tags = truth.any(0)
    return float(average_precision_score(truth[:, tags], scores[:, tags], average="macro"))


def test_every_tag_is_fitted_chosen_and_scored_as_by_scikit_learn(simulated, tagged):
    sets, table = tagged
    x, split = simulated.features.numpy(), simulated.split
    result = probe(simulated, sets, table)
    train, val, test = (part[sets[part] >= 0] for part in (split.train, split.val, split.test))
    units = StandardScaler().fit(x[train])
    clipped = units.transform(x.clip(x[train].min(0), x[train].max(0)))
    margins = {}
    for strength in GRID:
        oracle = LogisticRegression(C=2 / (len(train) * strength), tol=1e-9, max_iter=10_000)
        fits = [oracle.fit(clipped[train], table[sets[train], tag]).decision_function(clipped) for tag in range(5)]
        margins[strength] = np.stack(fits, axis=1)
    scores = {strength: mean_precision(table[sets[val]], each[val]) for strength, each in margins.items()}
    assert result.strength == max(GRID, key=scores.__getitem__)
    assert result.validation == pytest.approx(scores[result.strength], abs=1e-6)
    np.testing.assert_array_equal(result.rows, test)
    np.testing.assert_array_equal(result.truth, table[sets[test]])
    np.testing.assert_allclose(result.scores, margins[result.strength][test], atol=1e-3)
    expected = [
        average_precision_score(table[sets[test], tag], margins[result.strength][test, tag]) for tag in range(5)
    ]
    np.testing.assert_allclose(result.precisions, expected, atol=1e-3)
    assert result.mean_precision == pytest.approx(np.mean(expected), abs=1e-3)
    assert result.majority == pytest.approx(table[sets[test]].mean())


def test_rows_without_tags_change_nothing(simulated, tagged):
    sets, table = tagged
    extra = torch.randn(90, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1000
    parts = (simulated.split.train, simulated.split.val, simulated.split.test)
    more = Split(*(np.append(part, 600 + 30 * place + np.arange(30)) for place, part in enumerate(parts)))
    one = probe(simulated, sets, table)
    features = torch.cat([simulated.features, extra])
    other = probe_tags(features, {"a": np.append(sets, np.full(90, -1))}, {"a": table}, more, **EXACT)["a"]
    np.testing.assert_array_equal(other.scores, one.scores)
    assert (other.strength, other.validation) == (one.strength, one.validation)


def test_only_tags_of_train_and_test_are_scored(simulated, tagged):
    sets, table = tagged
    split = simulated.split
    absent = np.zeros((len(table), 2), dtype=bool)
    more = np.vstack([np.hstack([table, absent])] * 3)
    more[len(table) : 2 * len(table), 5] = True
    more[2 * len(table) :, 6] = True
    changed = sets.copy()
    for rows, shift in ((split.train[:20], 1), (split.test[:20], 2)):
        changed[rows] = np.where(sets[rows] >= 0, sets[rows] + shift * len(table), -1)
    one, other = probe(simulated, sets, table), probe(simulated, changed, more)
    assert other.tags.tolist() == one.tags.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(other.scores, one.scores, atol=1e-5)


def test_a_tag_that_every_row_has_tells_nothing_apart_and_changes_no_other(simulated, tagged):
    sets, table = tagged
    result = probe(simulated, sets, np.hstack([np.ones((len(table), 1), dtype=bool), table]))
    assert result.precisions[0] == result.prevalences[0] == 1
    assert not result.scores[:, 0].any()
    np.testing.assert_allclose(result.scores[:, 1:], probe(simulated, sets, table).scores, atol=1e-5)


def test_a_tag_that_every_training_row_has_scores_its_prevalence(simulated, tagged):
    sets, table = tagged
    here = table[:, 0]
    changed = sets.copy()
    changed[simulated.split.train] = np.where(
        (sets >= 0) & here[sets], sets, np.where(sets < 0, -1, np.flatnonzero(here)[0])
    )[simulated.split.train]
    result = probe(simulated, changed, table)
    place = result.tags.tolist().index(0)
    assert 0 < result.prevalences[place] < 1
    assert result.precisions[place] == pytest.approx(result.prevalences[place])


def test_without_a_tag_to_score_nothing_is_defined(simulated, tagged):
    sets, table = tagged
    result = probe(simulated, sets, np.zeros_like(table))
    assert np.isnan([result.mean_precision, result.majority, result.validation]).all()
    assert result.strength == 0.3


def test_float32_gives_the_same_choice_and_nearly_the_same_score(simulated, tagged):
    sets, table = tagged
    quick = probe_tags(simulated.features.float(), {"a": sets}, {"a": table}, simulated.split, strengths=GRID)["a"]
    exact = probe(simulated, sets, table)
    assert quick.strength == exact.strength
    assert quick.mean_precision == pytest.approx(exact.mean_precision, abs=2e-3)


def test_a_column_without_tags_in_train_is_refused_by_name(simulated, tagged):
    sets, table = tagged
    changed = sets.copy()
    changed[simulated.split.train] = -1
    with pytest.raises(UserError, match="'a' is missing on every train row"):
        probe(simulated, changed, table)


def test_membership_is_one_row_per_set():
    assert membership([(0, 2), (), (1,)], 3).tolist() == [[True, False, True], [False] * 3, [False, True, False]]
