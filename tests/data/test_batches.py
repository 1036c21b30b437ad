"""Laws of the batches: what an epoch covers, how ranks share it, where it resumes, and what classes a batch holds."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon.data.batches import Batches, _visits, fitting_per_class
from mscon.errors import UserError

Arguments = dict[str, Any]  # of Batches, which is built in the tests: a strategy may use no chance of its own


@st.composite
def random_batches(draw: st.DrawFn) -> Arguments:
    size = draw(st.integers(1, 12))
    count = draw(st.integers(size, 80))
    return {"items": torch.arange(count) * 3 + 5, "batch_size": size, "seed": draw(st.integers(0, 100))}


@st.composite
def class_batches(draw: st.DrawFn) -> Arguments:
    """Batches under classes of very unequal sizes, some smaller than m, with labels missing."""
    m, rows = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, 40), min_size=rows, max_size=9))
    sizes[0] += max(0, m * rows - sum(sizes))
    missing = draw(st.integers(0, 9))
    codes = torch.cat([torch.full((k,), label * 7) for label, k in enumerate(sizes)] + [torch.full((missing,), -1)])
    codes = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))]
    return {
        "items": torch.arange(len(codes)) * 3 + 5,
        "batch_size": m * rows,
        "seed": draw(st.integers(0, 100)),
        "codes": codes,
        "per_class": m,
    }


any_batches = st.one_of(random_batches(), class_batches())


def plan(batches: Batches, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in batches.epoch(epoch, start=start)]


def labels(batches: Batches) -> dict[int, int]:
    assert batches.codes is not None
    return dict(zip(batches.items.tolist(), batches.codes.tolist(), strict=True))


def skewed(counts: list[int], size: int, m: int, seed: int = 0) -> Batches:
    codes = torch.cat([torch.full((k,), label) for label, k in enumerate(counts)])
    return Batches(torch.arange(len(codes)), size, seed, codes=codes, per_class=m)


@given(any_batches)
@settings(deadline=None)
def test_an_epoch_has_as_many_whole_batches_as_said(arguments: Arguments):
    batches = Batches(**arguments)
    epoch = plan(batches)
    assert len(epoch) == len(batches)
    assert {len(batch) for batch in epoch} == {batches.batch_size}
    assert {item for batch in epoch for item in batch} <= set(batches.items.tolist())


@given(random_batches())
@settings(deadline=None)
def test_a_random_epoch_draws_every_item_once_but_for_the_last_incomplete_batch(arguments: Arguments):
    batches = Batches(**arguments)
    drawn = [item for batch in plan(batches) for item in batch]
    assert len(set(drawn)) == len(drawn)
    assert len(batches.items) - len(drawn) < batches.batch_size


@given(any_batches)
@settings(deadline=None)
def test_resuming_gives_the_rest_of_the_epoch(arguments: Arguments):
    batches = Batches(**arguments)
    whole = plan(batches, epoch=3)
    for start in range(len(batches) + 1):
        assert plan(batches, epoch=3, start=start) == whole[start:]


@given(any_batches, st.integers(1, 4))
@settings(deadline=None)
def test_the_ranks_share_each_batch_without_overlap(arguments: Arguments, world_size: int):
    assume(arguments["batch_size"] % world_size == 0)
    alone = Batches(**arguments)
    ranks = [Batches(**arguments, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {len(alone)}
    parts = zip(*(plan(rank) for rank in ranks), strict=True)
    assert [list(chain(*part)) for part in parts] == plan(alone)


@given(any_batches)
@settings(deadline=None)
def test_batches_depend_on_their_arguments_and_the_epoch_alone(arguments: Arguments):
    one, other = Batches(**arguments), Batches(**arguments)
    plan(one, epoch=0)
    assert plan(one, epoch=1) == plan(other, epoch=1)


def test_epochs_and_seeds_differ():
    plans = [plan(Batches(torch.arange(50), 10, seed), epoch) for seed in range(5) for epoch in range(5)]
    assert len({str(p) for p in plans}) == 25


@given(class_batches())
@settings(deadline=None)
def test_each_batch_holds_m_of_each_of_its_classes_and_none_unlabelled(arguments: Arguments):
    batches = Batches(**arguments)
    label = labels(batches)
    assert batches.per_class is not None
    for batch in plan(batches):
        counts = Counter(label[item] for item in batch)
        assert -1 not in counts
        assert set(counts.values()) == {batches.per_class}


@given(class_batches())
@settings(deadline=None)
def test_no_item_is_twice_in_a_batch_unless_its_class_is_smaller_than_m(arguments: Arguments):
    batches = Batches(**arguments)
    label = labels(batches)
    sizes = Counter(label.values())
    assert batches.per_class is not None
    for batch in plan(batches):
        for item, count in Counter(batch).items():
            assert count <= -(-batches.per_class // sizes[label[item]])


@given(class_batches())
@settings(deadline=None)
def test_an_item_is_seen_once_before_its_class_begins_afresh(arguments: Arguments):
    batches = Batches(**arguments)
    label = labels(batches)
    sizes = Counter(label.values())
    seen = Counter(item for batch in plan(batches) for item in batch)
    m = batches.per_class
    assert m is not None
    for code, size in sizes.items():
        if code < 0 or size < m:
            continue
        counts = [seen[item] for item, own in label.items() if own == code]
        # Blocks are disjoint until fewer than m items are left, so an item is seen once a round at most.
        rounds = -(-sum(counts) // (size // m * m))
        assert max(counts) <= rounds


def test_classes_are_drawn_in_proportion_so_that_an_item_is_seen_about_once_an_epoch():
    batches = skewed([60, 40, 40, 20, 20, 20], size=20, m=5)
    seen = torch.zeros(200)
    for epoch in range(40):
        for batch in batches.epoch(epoch):
            seen += torch.bincount(batch, minlength=200)
    by_class = torch.stack([x.mean() / 40 for x in seen.split([60, 40, 40, 20, 20, 20])])
    # The largest class would need 12 blocks and an epoch has 10 batches: it is in all, the others share the rest.
    expected = torch.tensor([50 / 60] + [150 / 140] * 5)
    torch.testing.assert_close(by_class, expected, rtol=0, atol=0.06)


def test_rounding_to_whole_blocks_is_fair_to_every_class():
    sizes = np.array([1, 30, 5, 3, 9])
    visits = np.mean([_visits(sizes, 8, 3, np.random.default_rng(seed)) for seed in range(4000)], axis=0)
    np.testing.assert_allclose(visits, [5 / 18, 3, 25 / 18, 15 / 18, 45 / 18], atol=0.04)


def test_a_class_too_large_for_its_share_is_in_every_batch():
    batches = skewed([900, 20, 20, 20, 20, 20], size=12, m=4)
    assert all((batch < 900).sum() == 4 for batch in batches.epoch(0))


def test_as_many_classes_as_a_batch_needs_are_all_in_every_batch():
    batches = skewed([5, 90, 9, 30], size=16, m=4)
    for batch in batches.epoch(0):
        assert sorted(Counter(batches.codes[batch].tolist())) == [0, 1, 2, 3]  # type: ignore[index]


def test_a_rare_class_has_its_turn_within_some_epochs():
    batches = skewed([1, 400, 400, 400], size=8, m=4)
    seen = Counter(item for epoch in range(60) for batch in plan(batches, epoch) for item in batch)
    assert 0 < seen[0] <= 60 * 4


def test_a_rank_sees_many_classes_of_a_batch():
    codes = torch.arange(64).repeat(8)
    first = Batches(torch.arange(512), 128, 0, codes=codes, per_class=8, rank=0, world_size=2)
    assert all(len(set(codes[batch].tolist())) > 10 for batch in first.epoch(0))


def test_a_batch_larger_than_the_catalog_is_refused_with_both_numbers():
    with pytest.raises(UserError, match=r"256 needs as many items, but there are 100 to train on: lower batch_size"):
        Batches(torch.arange(100), 256, 0)


def test_a_batch_larger_than_what_is_labelled_is_refused():
    codes = torch.tensor([0, 1] * 10 + [-1] * 80)
    with pytest.raises(UserError, match=r"32 needs as many labelled items, but there are 20"):
        Batches(torch.arange(100), 32, 0, codes=codes, per_class=16)


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(UserError, match=r"10 items cannot be shared equally by 4 processes.*multiple of 4"):
        Batches(torch.arange(100), 10, 0, world_size=4)


def test_a_batch_that_does_not_divide_into_m_is_refused():
    with pytest.raises(UserError, match=r"10 items cannot hold 4 of each class.*multiple of 4"):
        skewed([50, 50, 50], size=10, m=4)


def test_too_few_classes_are_refused_and_the_advice_works():
    with pytest.raises(UserError, match=r"needs 32 classes, but there are 5: raise per_class to 32 .*, or .* to 20 "):
        skewed([50] * 5, size=128, m=4)
    with pytest.raises(UserError, match=r"needs 2 classes, but there are 1: lower batch_size to 8 "):
        skewed([50], size=16, m=8)
    assert len(skewed([50] * 5, size=128, m=32)) == 1
    assert len(skewed([50] * 5, size=20, m=4)) == 12


@given(size=st.integers(2, 200), classes=st.integers(0, 40), least=st.integers(1, 12))
def test_a_number_of_items_per_class_that_is_said_to_fit_does_and_none_below_it(size: int, classes: int, least: int):
    def fits(m: int) -> bool:
        return size % m == 0 and 2 <= size // m <= classes

    found = fitting_per_class(size, classes, least=least)
    assert found is None or found >= least
    assert [m for m in range(least, size + 1) if fits(m)][:1] == ([] if found is None else [found])


def test_codes_without_m_are_refused():
    codes: Tensor = torch.zeros(10, dtype=torch.int64)
    with pytest.raises(ValueError, match="together"):
        Batches(torch.arange(10), 2, 0, codes=codes)
