"""The audit finds labels that were replaced, says what the equation says, and never lets an item speak for itself."""

import numpy as np
import pytest
import torch

from mscon.errors import UserError
from mscon.evaluate.audit import (
    FOLDS,
    audit_categorical,
    audit_continuous,
    folds,
    noise_rate,
    out_of_fold,
    pool,
    wrong,
)


@pytest.fixture(scope="module")
def items() -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """500 items in 4 clusters with their true classes, and a fifth of these replaced."""
    generator = np.random.default_rng(3)
    truth = generator.integers(4, size=500)
    features = torch.from_numpy(generator.normal(size=(4, 6))[truth] * 3 + generator.normal(size=(500, 6)))
    given = truth.copy()
    chosen = generator.choice(500, 100, replace=False)
    given[chosen] = (given[chosen] + generator.integers(1, 4, 100)) % 4
    return features, truth, given


def test_replaced_labels_come_first_with_the_true_one_suggested(items) -> None:
    features, truth, given = items
    found = audit_categorical(features, None, given)
    ranked = found.rows[found.ranked()][:80]
    assert (given != truth)[ranked].mean() > 0.95
    suggested = dict(zip(found.rows.tolist(), found.suggested.tolist(), strict=True))
    assert np.mean([suggested[row] == truth[row] for row in ranked.tolist()]) > 0.95
    assert found.noise == pytest.approx(0.2, abs=0.08)
    assert ((found.score >= 0) & (found.score <= 1)).all()


def test_a_class_that_others_imply_is_right_of_their_items(items) -> None:
    features, truth, _ = items
    given = truth.copy()
    given[np.flatnonzero(truth == 3)[:15]] = 2  # which 3 implies, as a path implies its beginning
    stopped_short = np.flatnonzero(given != truth)
    implied = np.eye(4, dtype=bool)
    implied[2, 3] = True
    plain, kin = (audit_categorical(features, None, given, implied=each) for each in (None, implied))
    differ = [np.isin(stopped_short, each.rows[each.ranked()]).mean() for each in (plain, kin)]
    assert differ[0] > 0.9 > 0.05 > differ[1]
    assert (kin.score[stopped_short] < plain.score[stopped_short]).all()
    assert np.median(kin.score[stopped_short]) < 0.1 * np.median(plain.score[stopped_short])
    others = kin.given != 2
    np.testing.assert_allclose(kin.suggested[others], plain.suggested[others])
    same = audit_categorical(features, None, given, implied=np.eye(4, dtype=bool))
    np.testing.assert_allclose(same.score, plain.score)


def test_an_item_has_no_say_in_its_own_probabilities(items) -> None:
    features, _, given = items
    rows, fold = np.arange(500), folds(np.arange(500), None, 0)
    before = out_of_fold(features, rows, given, fold)
    changed = given.copy()
    here = fold == 2
    changed[here] = (changed[here] + 1) % 4
    after = out_of_fold(features, rows, changed, fold)
    np.testing.assert_array_equal(before[here], after[here])
    assert not np.allclose(before[~here], after[~here])


def test_groups_never_straddle_folds() -> None:
    groups = np.repeat(np.arange(30), 4)
    rows = np.flatnonzero(np.arange(120) % 5 > 0)
    fold = folds(rows, groups, 1)
    assert all(len(set(fold[groups[rows] == group])) == 1 for group in range(30))
    assert set(fold) == set(range(FOLDS))


def test_missing_labels_have_no_influence(items) -> None:
    features, _, given = items
    codes = given.copy()
    codes[::7] = -1
    shaken = features.clone()
    shaken[::7] *= 100
    one, other = (audit_categorical(each, None, codes) for each in (features, shaken))
    assert set(one.rows) == set(np.flatnonzero(codes >= 0))
    np.testing.assert_array_equal(one.score, other.score)


def test_a_class_that_one_fold_alone_has_is_not_judged(items) -> None:
    features, _, given = items
    codes = given.copy()
    codes[17] = 9
    found = audit_categorical(features, None, codes)
    assert 17 not in found.rows
    assert len(found.rows) == 499
    assert 9 not in found.suggested


def test_the_score_is_the_equation() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    nu = 0.3 / 2
    expected = nu * 0.8 / (nu * 0.8 + 0.7 * 0.2)
    np.testing.assert_allclose(wrong(p, np.array([1, 1, 0]), 0.3), [expected, 0, 1])


def test_an_opinion_that_is_the_prior_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    p, prior = generator.dirichlet(np.ones(5), size=20), generator.dirichlet(np.ones(5))
    np.testing.assert_allclose(pool(p, np.tile(prior, (20, 1)), prior), p)
    sharper = pool(p, p, np.full(5, 0.2))
    np.testing.assert_allclose(sharper, p**1.5 / (p**1.5).sum(1, keepdims=True))


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6])
def test_the_noise_rate_is_recovered(rate: float) -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(10, size=5000)
    p = np.full((5000, 10), 0.1) + generator.random((5000, 10)) / 10
    p[np.arange(5000), truth] += 2
    p /= p.sum(1, keepdims=True)
    codes = np.where(generator.random(5000) < rate, (truth + generator.integers(1, 10, 5000)) % 10, truth)
    assert noise_rate(p, codes) == pytest.approx(rate, abs=0.08)


def test_more_classes_than_memory_holds_are_refused_with_their_number() -> None:
    codes = np.arange(40_000) // 5
    with pytest.raises(UserError, match=r"items of [\d,]+ classes are more than an audit holds"):
        audit_categorical(torch.zeros(len(codes), 2), None, codes)


def test_a_model_that_knows_nothing_overestimates_the_noise_rate() -> None:
    generator = np.random.default_rng(0)
    p, right = generator.dirichlet(np.ones(10), size=5000), generator.integers(10, size=5000)
    assert noise_rate(p, right) == 0.9


def test_a_number_far_from_its_prediction_comes_first_whatever_the_unit() -> None:
    generator = np.random.default_rng(1)
    features = torch.from_numpy(generator.normal(size=(300, 5)))
    values = features.numpy() @ generator.normal(size=5) + 0.1 * generator.normal(size=300)
    values[40], values[41] = values[40] + 9, np.nan
    found = audit_continuous(features, values)
    assert found.rows[found.ranked()[0]] == 40
    assert 41 not in found.rows
    assert abs(found.suggested[found.rows == 40][0] - (values[40] - 9)) < 0.5
    scaled = audit_continuous(features, values * 1000 - 7)
    np.testing.assert_allclose(scaled.score, found.score, rtol=1e-6)
    u = np.abs(values[found.rows] - found.suggested - np.median(values[found.rows] - found.suggested))
    u /= 1.4826 * np.median(u)
    np.testing.assert_allclose(found.score, u / (1 + u))


def test_folds_that_only_unjudged_items_have_are_no_folds() -> None:
    """Of five groups two hold two classes each, and three an item of a class of its own, which nobody can judge."""
    codes, groups = np.array([0, 1, 0, 1, 2, 3, 4]), np.array([0, 0, 1, 1, 2, 3, 4])
    features = torch.nn.functional.one_hot(torch.from_numpy(codes)).double()
    for seed in range(10):  # whichever folds the two groups have
        found = audit_categorical(features, features, codes, groups=groups, seed=seed)
        assert found.rows.tolist() == [0, 1, 2, 3]
        assert found.suggested.tolist() == [0, 1, 0, 1]
    more = np.append(codes, [0, 1]), np.append(groups, [2, 2])
    found = audit_categorical(torch.cat([features, features[:2]]), None, more[0], groups=more[1])
    assert found.suggested.tolist() == [0, 1, 0, 1, 0, 1]


def test_one_class_that_is_left_is_not_compared_with_itself() -> None:
    with pytest.raises(UserError, match="one alone has items"):
        audit_categorical(torch.randn(21, 3), None, np.array([0] * 20 + [1]))


def test_too_little_to_go_by_is_told(items) -> None:
    features, _, given = items
    with pytest.raises(UserError, match="5 parts, and there are only 3"):
        audit_categorical(features, None, given, groups=np.arange(500) % 3)
    with pytest.raises(UserError, match="at least two classes"):
        audit_categorical(features, None, np.zeros(500, dtype=np.int64))
