"""Laws of the batches of linked items: what they cover, who finds a partner, how ranks share them."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mscon.data.pair_batches import PairBatches, accompanied, clusters
from mscon.errors import UserError

Arguments = dict[str, Any]


def graph(items: int, edges: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(items, size=(edges, 2))
    return drawn[drawn[:, 0] != drawn[:, 1]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    """Some items and links among them: none, few, many; and hubs, for small numbers come more often."""
    items, count = draw(st.integers(2, 60)), draw(st.sampled_from([0, 3, 30, 300]))
    edges = graph(items, count, draw(st.integers(0, 99)))
    return items, edges % draw(st.sampled_from([items, 3])) if draw(st.booleans()) else edges


@st.composite
def arguments(draw: st.DrawFn) -> Arguments:
    items, edges = draw(st.integers(4, 60)), draw(st.sampled_from([3, 30, 300]))
    size = draw(st.integers(2, items))
    # Item numbers with gaps and in no order, and pairs of items that are not there.
    numbers = np.random.default_rng(draw(st.integers(0, 9))).permutation(items) * 3 + 5
    links = np.concatenate([[[0, 1]], graph(items, edges, draw(st.integers(0, 99)))])
    return {
        "items": torch.from_numpy(numbers),
        "batch_size": size,
        "seed": draw(st.integers(0, 99)),
        "edges": torch.from_numpy(np.concatenate([numbers[links], [[1, 5], [8, 999]]])),
        "apart": torch.from_numpy(numbers[graph(items, 5, draw(st.integers(0, 99)))]) if draw(st.booleans()) else None,
        "per_cluster": draw(st.integers(2, size)),
    }


def plan(batches: PairBatches, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in batches.epoch(epoch, start=start)]


def with_partner(batches: PairBatches, epoch: int = 0) -> float:
    """The share of the drawn linked items that have a linked item in their batch."""
    links: dict[int, set[int]] = {}
    for a, b in [*batches.edges.tolist(), *batches.edges.flip(1).tolist()]:
        links.setdefault(a, set()).add(b)
    found = [bool(links[item] & set(batch)) for batch in plan(batches, epoch) for item in batch if item in links]
    return float(np.mean(found))


@given(graphs(), st.integers(2, 6))
@settings(deadline=None)
def test_clusters_are_what_taking_edge_after_edge_makes(some: tuple[int, np.ndarray], most: int) -> None:
    items, edges = some
    edges = edges[edges[:, 0] != edges[:, 1]]
    name, members = list(range(items)), {item: [item] for item in range(items)}
    for largest, smaller in ((2, 1), (most, 1), (most, most)):
        for a, b in ((name[one], name[other]) for one, other in edges.tolist()):
            sizes = len(members[a]), len(members[b])
            if a != b and sum(sizes) <= largest and min(sizes) <= smaller:
                for item in members[b]:
                    name[item] = a
                members[a] += members.pop(b)
    assert clusters(items, edges, most=most).tolist() == name


@given(graphs(), st.integers(2, 6))
@settings(deadline=None)
def test_every_linked_item_has_a_linked_one_in_its_cluster(some: tuple[int, np.ndarray], most: int) -> None:
    items, edges = some
    edges = edges[edges[:, 0] != edges[:, 1]]
    drawn, cluster = accompanied(clusters(items, edges, most=most), edges, most=most)
    assert drawn[:items].tolist() == list(range(items))
    assert max(Counter(cluster.tolist()).values()) <= most
    linked = {frozenset(edge) for edge in edges.tolist()}
    for place, item in enumerate(drawn.tolist()):
        others = drawn[cluster == cluster[place]].tolist()
        assert any({item, other} in linked for other in others) == any(item in edge for edge in linked)
        assert len(set(others)) == len(others)


def test_a_hub_is_copied_as_often_as_its_leaves_need() -> None:
    edges = np.array([[0, leaf] for leaf in range(1, 21)])
    drawn, cluster = accompanied(clusters(21, edges, most=4), edges, most=4)
    # One cluster has the hub and three leaves; the other 17 leaves come in threes, the last two together.
    assert drawn[21:].tolist() == [0] * 6
    assert sorted(Counter(cluster.tolist()).values()) == [3, 4, 4, 4, 4, 4, 4]


@given(arguments())
@settings(deadline=None)
def test_an_epoch_has_as_many_whole_batches_as_said(given_: Arguments) -> None:
    batches = PairBatches(**given_)
    epoch = plan(batches)
    assert len(epoch) == len(batches) == len(batches.items) // batches.batch_size
    assert {len(batch) for batch in epoch} == {batches.batch_size}
    assert {item for batch in epoch for item in batch} <= set(batches.items.tolist())


@given(arguments())
@settings(deadline=None)
def test_resuming_gives_the_rest_of_the_epoch_whatever_was_asked_before(given_: Arguments) -> None:
    batches, fresh = PairBatches(**given_), PairBatches(**given_)
    whole = plan(batches, epoch=3)
    for start in range(len(batches) + 1):
        assert plan(fresh, epoch=3, start=start) == whole[start:]


@given(arguments(), st.integers(1, 4))
@settings(deadline=None)
def test_the_ranks_share_each_batch(given_: Arguments, world_size: int) -> None:
    assume(given_["batch_size"] % world_size == 0)
    ranks = [PairBatches(**given_, rank=rank, world_size=world_size) for rank in range(world_size)]
    parts = zip(*(plan(rank) for rank in ranks), strict=True)
    assert [list(chain(*part)) for part in parts] == plan(PairBatches(**given_))


def random_graph(**changes: Any) -> PairBatches:
    given_: Arguments = {"batch_size": 100, "seed": 0, "edges": torch.from_numpy(graph(2000, 4000, seed=1))}
    return PairBatches(items=torch.arange(2000), **{**given_, **changes})


def test_epochs_and_seeds_differ() -> None:
    plans = [plan(random_graph(seed=seed), epoch) for seed in range(3) for epoch in range(3)]
    assert len({str(each) for each in plans}) == 9


def test_every_item_is_seen_about_once_an_epoch() -> None:
    batches = random_graph()
    epochs = [np.bincount(list(chain(*plan(batches, epoch))), minlength=2000) for epoch in range(20)]
    assert np.mean([(seen > 0).mean() for seen in epochs]) > 0.97
    assert np.mean(epochs, axis=0).min() > 0.7


@pytest.mark.parametrize("per_cluster", [2, 4, 8])
def test_nearly_all_linked_items_find_a_partner_and_at_random_few_do(per_cluster: int) -> None:
    assert with_partner(random_graph(per_cluster=per_cluster)) > 0.95
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0)).tolist()
    edges = random_graph().edges.tolist()
    batch = {item: place // 100 for place, item in enumerate(order)}
    assert len({item for a, b in edges if batch[a] == batch[b] for item in (a, b)}) < 0.3 * 2000


def test_leaves_of_a_hub_find_it() -> None:
    star = torch.stack([torch.zeros(999, dtype=torch.int64), torch.arange(1, 1000)], dim=1)
    batches = PairBatches(torch.arange(1000), 50, 0, edges=star)
    assert with_partner(batches) > 0.95


def test_of_two_links_that_exclude_each_other_the_stronger_is_taken_in_proportion() -> None:
    # The item in the middle of three can be coupled with one of its two partners; the other gets a copy of it.
    taken = Counter()
    edges = np.array([[0, 1], [1, 2]])
    for seed in range(2000):
        waiting = np.random.default_rng(seed).standard_exponential(2) / np.array([3.0, 1.0])
        taken[int(clusters(3, edges[np.argsort(waiting)], most=2)[1])] += 1
    assert taken[0] / 2000 == pytest.approx(0.75, abs=0.04)
    strength = torch.tensor([1e9, 1.0] * 500)
    chain_of_three = torch.arange(1500).reshape(500, 3)
    edges = torch.stack([chain_of_three[:, :2], chain_of_three[:, 1:]], dim=1).reshape(-1, 2)
    batches = PairBatches(torch.arange(1500), 10, 0, edges=edges, strength=strength, per_cluster=2)
    together = Counter((item % 3, item + 1 in batch) for batch in plan(batches) for item in batch if item % 3 < 2)
    # Every strong couple stands as such, but where the end of a batch cuts it.
    assert together[0, True] > 0.85 * (together[0, True] + together[0, False])


def test_items_judged_different_meet_in_a_batch() -> None:
    apart = torch.arange(200).reshape(100, 2)
    edges = torch.from_numpy(graph(2000, 4000, seed=1))
    shares = []
    for batches in (random_graph(edges=edges, apart=apart), random_graph(edges=edges)):
        places = [set(batch) for batch in plan(batches)]
        shares.append(np.mean([any(a in batch and b in batch for batch in places) for a, b in apart.tolist()]))
    assert shares[0] > 0.75
    assert shares[1] < 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4000}, "4000 needs as many items, but there are 2000"),
        ({"world_size": 3}, r"shared equally by 3 processes.*multiple of 3"),
        ({"per_cluster": 1}, "per_cluster .* to a number from 2 to 100"),
        ({"per_cluster": 101}, "per_cluster .* to a number from 2 to 100"),
        ({"edges": torch.tensor([[3, 5000], [7000, 8000]])}, "No two of the 2000 items .* of 2 pairs"),
        ({"edges": torch.empty(0, 2, dtype=torch.int64)}, "No two of the 2000 items"),
    ],
)
def test_what_cannot_be_made_is_refused(changes: Arguments, message: str) -> None:
    with pytest.raises(UserError, match=message):
        random_graph(**changes)
