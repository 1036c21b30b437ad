"""Recall and reciprocal rank of links against ranking by hand, and chance against drawing."""

import json

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from mscon.errors import UserError
from mscon.evaluate import links
from mscon.evaluate.links import LinkResult, expected_reciprocal, find_links
from mscon.schemas import Evaluation


def case(seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """120 items, 80 of them candidates; links named twice, in both directions, and to items that are no candidates."""
    generator = np.random.default_rng(seed)
    edges = generator.integers(120, size=(150, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    edges = np.concatenate([edges, edges[:20], edges[20:40, ::-1]])
    return torch.from_numpy(generator.normal(size=(120, 6))), edges, generator.permutation(120)[:80]


def by_hand(
    features: torch.Tensor, edges: np.ndarray, candidates: np.ndarray, at: tuple[int, ...]
) -> dict[str, list[float]]:
    x = features.numpy()
    linked = {frozenset(edge) for edge in edges.tolist()}
    scores: dict[str, list[float]] = {"reciprocal": [], **{str(k): [] for k in at}}
    for i in candidates.tolist():
        others = [j for j in candidates.tolist() if j != i]
        others.sort(key=lambda j: -float(x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])))
        hits = [rank for rank, j in enumerate(others, start=1) if {i, j} in linked]
        if hits:
            scores["reciprocal"].append(1 / min(hits))
            for k in at:
                scores[str(k)].append(sum(rank <= k for rank in hits) / len(hits))
    return scores


def values(result: LinkResult) -> dict[str, float]:
    return {"reciprocal": result.reciprocal_rank.value, **{str(k): each.value for k, each in result.recall.items()}}


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_ranking_by_hand(seed: int) -> None:
    features, edges, candidates = case(seed)
    result = find_links(features, edges, candidates, at=(1, 3, 20, 500), resamples=200)
    expected = by_hand(features, edges, candidates, (1, 3, 20, 500))
    assert values(result) == pytest.approx({name: np.mean(each) for name, each in expected.items()})
    assert (result.asked, result.candidates) == (len(expected["reciprocal"]), 80)
    inside = {frozenset(edge) for edge in edges.tolist() if set(edge) <= set(candidates.tolist())}
    assert result.pairs == len(inside)
    assert result.recall[500].value == result.recall[500].chance == 1.0
    assert result.recall[3].chance == pytest.approx(3 / 79)
    for score in (result.reciprocal_rank, result.recall[3]):
        assert score.interval.low < score.value < score.interval.high


def test_tiles_and_the_order_of_edges_and_candidates_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, edges, candidates = case()
    whole = values(find_links(features, edges, candidates, resamples=10))
    assert values(find_links(features, edges[::-1, ::-1].copy(), candidates[::-1].copy(), resamples=10)) == (
        pytest.approx(whole)
    )
    monkeypatch.setattr(links, "BLOCK_NUMBERS", 80 * 7)
    assert values(find_links(features, edges, candidates, resamples=10)) == pytest.approx(whole)


def test_other_items_and_the_lengths_of_vectors_do_not_matter() -> None:
    features, edges, candidates = case()
    whole = values(find_links(features, edges, candidates, resamples=10))
    changed = features * torch.linspace(0.1, 9.0, 120, dtype=torch.float64)[:, None]
    outside = np.setdiff1d(np.arange(120), candidates)
    changed[torch.from_numpy(outside)] = torch.nan
    assert values(find_links(changed, edges, candidates, resamples=10)) == pytest.approx(whole)


def test_linked_items_with_the_same_vector_are_all_found() -> None:
    edges = np.arange(40).reshape(20, 2)
    features = torch.eye(20).repeat_interleave(2, dim=0)
    result = find_links(features, edges, np.arange(40), resamples=50)
    assert result.recall[1].value == result.reciprocal_rank.value == 1.0


@pytest.mark.parametrize("collapsed", [True, False])
def test_vectors_that_know_nothing_score_what_chance_does(collapsed: bool) -> None:
    generator = np.random.default_rng(2)
    edges = generator.integers(60, size=(90, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    results = []
    for seed in range(300):
        features = torch.ones(60, 4) if collapsed else torch.from_numpy(generator.normal(size=(60, 4)))
        results.append(find_links(features, edges, np.arange(60), at=(5,), resamples=2, seed=seed))
    chance = results[0].reciprocal_rank.chance
    assert np.mean([each.reciprocal_rank.value for each in results]) == pytest.approx(chance, rel=0.05)
    assert np.mean([each.recall[5].value for each in results]) == pytest.approx(5 / 59, rel=0.05)


@pytest.mark.parametrize(("linked", "others"), [(1, 1), (1, 9), (4, 9), (9, 9)])
def test_chance_is_the_mean_over_random_orders(linked: int, others: int) -> None:
    generator = np.random.default_rng(3)
    firsts = [np.flatnonzero(generator.permutation(others) < linked)[0] + 1 for _ in range(20000)]
    assert expected_reciprocal(linked, others) == pytest.approx(np.mean(1 / np.array(firsts)), rel=0.02)


def test_an_interval_over_groups_is_wider_than_one_over_items_that_repeat() -> None:
    """Every item five times: an interval over items takes copies for evidence."""
    features, edges, candidates = case()
    edges = edges[np.isin(edges, candidates).all(axis=1)]
    copies = 5  # so the interval over items is √5 times too narrow
    many = np.concatenate([edges + 120 * copy for copy in range(copies)])
    every = np.concatenate([candidates + 120 * copy for copy in range(copies)])
    groups = np.tile(np.arange(120), copies)
    repeated = features.repeat(copies, 1)
    narrow = find_links(repeated, many, every, at=(20,)).recall[20].interval
    wide = find_links(repeated, many, every, at=(20,), groups=groups).recall[20].interval
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)


def test_links_within_a_single_group_have_scores_without_an_interval_and_are_json() -> None:
    features, edges, candidates = case()
    found = find_links(features, edges, candidates, groups=np.zeros(120, dtype=np.int64)).to_json()
    ten = found["recall"]["10"]
    assert (ten["low"], ten["high"]) == (None, None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    space = {"recall": found["recall"]}
    links = {"like": {"pairs": 9, "asked": 9, "own_head": space, "embedding": space}}
    TypeAdapter(Evaluation).validate_python({"labels": {}, "links": links})  # or no other command would read it


def test_without_a_link_or_with_a_broken_vector_nothing_is_scored() -> None:
    features, edges, candidates = case()
    with pytest.raises(UserError, match="No two of the 2 items are linked, of 1 pairs"):
        find_links(features, np.array([[0, 1]]), np.array([0, 2]))
    features[candidates[3], 0] = torch.inf
    with pytest.raises(UserError, match=f"row {candidates[3]} are not finite"):
        find_links(features, edges, candidates)
