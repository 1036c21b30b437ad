"""Retrieval in evaluation.json: the means of every query's figures, paired between the embedding and a head."""

import numpy as np
import pytest
import torch

from mscon.data.splits import Split
from mscon.evaluate import retrieval
from mscon.evaluate.entries import Resampling
from mscon.evaluate.ranking import rank_categorical
from mscon.evaluate.retrieval import score_retrieval
from mscon.evaluate.scores import Label

ROWS = 90
RNG = np.random.default_rng(0)
CODES = RNG.integers(-1, 4, ROWS)
SPLIT = Split(np.arange(30), np.arange(30, 40), np.arange(40, ROWS))
EMBEDDINGS, HEAD = (torch.from_numpy(RNG.normal(size=(ROWS, 6))) + 2 * torch.eye(6)[CODES + 1] for _ in range(2))
DRAWS = Resampling(None, 300, 0)


def test_figures_are_means_over_the_queries_and_the_difference_is_head_minus_embedding() -> None:
    labels = {"a": Label("in-domain", CODES), "b": Label("ood", CODES), "n": Label("ood", RNG.normal(size=ROWS))}
    found = score_retrieval(EMBEDDINGS, {"a": HEAD}, labels, SPLIT, DRAWS)
    assert list(found) == ["a", "b"]  # a number has no classes to find
    shared, own = (rank_categorical(space, {"a": CODES}, SPLIT.test)["a"] for space in (EMBEDDINGS, HEAD))
    for space, ranking in (("embedding", shared), ("own_head", own)):
        each = found["a"][space]
        assert each["map_at_r"]["value"] == pytest.approx(ranking.mean_average_precision)
        assert each["precision_at_10"]["value"] == pytest.approx(ranking.mean_precision(10))
        assert each["map_at_r"]["low"] < each["map_at_r"]["value"] < each["map_at_r"]["high"]
    for measure, each in found["a"]["difference"].items():
        gap = found["a"]["own_head"][measure]["value"] - found["a"]["embedding"][measure]["value"]
        assert each["value"] == pytest.approx(gap)
    assert found["a"]["chance"] == pytest.approx(np.nanmean(shared.chance))
    assert found["a"]["asked"] == np.isfinite(shared.average_precision).sum()
    assert found["b"]["own_head"] is found["b"]["difference"] is None


def test_a_head_that_is_the_embedding_differs_by_nothing_on_every_resample() -> None:
    found = score_retrieval(EMBEDDINGS, {"a": 3 * EMBEDDINGS}, {"a": Label("in-domain", CODES)}, SPLIT, DRAWS)
    for each in found["a"]["difference"].values():
        assert (each["value"], each["low"], each["high"]) == (0.0, 0.0, 0.0)


def test_a_label_without_two_of_a_class_has_no_entry() -> None:
    alone = np.arange(ROWS)
    assert score_retrieval(EMBEDDINGS, {}, {"a": Label("ood", alone)}, SPLIT, DRAWS) == {}


def test_of_many_test_items_some_are_drawn_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "MOST", 20)
    labels = {"a": Label("ood", np.zeros(ROWS, dtype=np.int64))}
    first, again = (score_retrieval(EMBEDDINGS, {}, labels, SPLIT, DRAWS) for _ in range(2))
    assert first == again
    assert first["a"]["asked"] == 20
