"""Rankings: equal to the definition as written, blind to scale and order, and never helped by near-duplicates."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mscon.evaluate.ranking import QUERIES, rank_categorical


def features(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def as_written(z: Tensor, codes: np.ndarray, groups: np.ndarray, query: int, k: int) -> tuple[float, float]:
    """AP@R and precision at k of one query, by going down its list."""
    unit = torch.nn.functional.normalize(z, dim=1)
    order = (unit @ unit[query]).argsort(descending=True).tolist()
    ranked = [each for each in order if groups[each] != groups[query] and codes[each] >= 0]
    right = [codes[each] == codes[query] for each in ranked]
    relevant = sum(right)
    if codes[query] < 0 or not relevant:
        return float("nan"), float("nan")
    precision = sum(sum(right[: i + 1]) / (i + 1) for i in range(relevant) if right[i]) / relevant
    return precision, sum(right[:k]) / min(k, len(right))


def test_every_figure_is_the_definition_as_written() -> None:
    rng = np.random.default_rng(0)
    rows = QUERIES + 30
    z, codes, groups = features(rows), rng.integers(-1, 4, rows), rng.integers(0, rows // 2, rows)
    codes[codes == 3] = np.where(np.arange((codes == 3).sum()) == 0, 3, 2)  # a class of one item
    found = rank_categorical(z, {"a": codes}, np.arange(rows), groups=groups, ks=(1, 10))["a"]
    for query in range(rows):
        precision, at_ten = as_written(z, codes, groups, query, 10)
        assert found.average_precision[query] == pytest.approx(precision, nan_ok=True)
        assert found.precision[10][query] == pytest.approx(at_ten, nan_ok=True)
        assert found.chance[query] == pytest.approx(as_written(z, codes, groups, query, rows)[1], nan_ok=True)
    assert found.mean_average_precision == pytest.approx(np.nanmean(found.average_precision))
    assert found.mean_precision(1) == pytest.approx(np.nanmean(found.precision[1]))


def test_classes_far_apart_are_found_whole_and_scale_is_nothing() -> None:
    codes = np.repeat([0, 1, 2], 7)
    z = torch.eye(3)[codes] + 0.01 * features(21)[:, :3]
    found = rank_categorical(z * torch.rand(21, 1).add(0.1), {"a": codes}, np.arange(21))["a"]
    assert found.mean_average_precision == 1.0
    assert found.mean_precision(1) == 1.0
    assert found.mean_precision(10) == pytest.approx(6 / 10)


def test_rows_that_are_not_asked_and_items_without_a_label_change_nothing() -> None:
    rng = np.random.default_rng(1)
    z, codes = features(60), rng.integers(0, 3, 60)
    alone = rank_categorical(z[:40], {"a": codes[:40]}, np.arange(40))["a"]
    some = codes.copy()
    some[40:] = -1
    for columns, rows in (({"a": codes}, np.arange(40)), ({"a": some}, np.arange(60))):
        found = rank_categorical(z, columns, rows)["a"]
        np.testing.assert_allclose(found.average_precision[:40], alone.average_precision)


@pytest.mark.parametrize("first", [0, 1])
def test_where_all_are_equally_near_the_order_of_the_catalog_says_nothing(first: int) -> None:
    codes = np.repeat([first, 1 - first], [90, 10] if first == 0 else [10, 90])
    (found,) = rank_categorical(torch.ones(100, 3), {"label": codes}, np.arange(100)).values()
    assert found.chance.mean() == pytest.approx(0.818, abs=0.001)
    assert found.mean_precision(10) == pytest.approx(found.chance.mean(), abs=0.04)
    again = rank_categorical(torch.ones(100, 3), {"label": codes}, np.arange(100))["label"]
    np.testing.assert_array_equal(found.average_precision, again.average_precision)


def test_an_item_never_finds_its_own_group() -> None:
    codes, groups = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    found = rank_categorical(features(4), {"a": codes}, np.arange(4), groups=groups)["a"]
    assert np.isnan(found.average_precision).all()
    assert np.isnan(found.mean_average_precision)
