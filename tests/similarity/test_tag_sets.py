"""Tags: rarity, sets that cannot be, and the way from items to values."""

import math

import pytest
import torch

from longest import Longest
from mscon.contrast import contrastive_loss
from mscon.similarity import Tags


def test_the_rarer_tag_pulls_harder() -> None:
    # Row 0 shares "plain" with row 1, and "rare" with row 2.
    sets = [("plain", "rare"), ("plain",), ("rare",)]
    q = Tags(sets, counts=[1, 8, 1]).targets(torch.tensor([0, 1, 2])).matrix()
    plain, rare = math.log(10 / 9), math.log(10 / 2)
    torch.testing.assert_close(q[0], torch.tensor([0.0, plain, rare], dtype=torch.float64) / (plain + rare))
    even = Tags(sets, counts=[1, 8, 1], weighting="even").targets(torch.tensor([0, 1, 2])).matrix()
    assert even[0].tolist() == [0.0, 0.5, 0.5]


def test_a_tag_that_all_items_have_counts_only_where_there_is_no_other() -> None:
    sets = [("all",), ("all", "x"), ("all", "y")]
    q = Tags(sets).targets(torch.tensor([0, 1, 1, 2])).matrix()
    torch.testing.assert_close(q[0, 1:], torch.full((3,), 1 / 3, dtype=torch.float64))
    assert q[1, 2] > 0.999
    torch.testing.assert_close(q.sum(dim=1), torch.ones(4, dtype=torch.float64))


def test_rarity_counts_items_with_tags_only_and_a_tag_never_counted_is_a_rarest() -> None:
    sets = [("a", "b", "new"), ("a",), ("b",), ("new",), ()]
    q = Tags(sets, counts=[0, 4, 1, 0, 1000]).targets(torch.tensor([0, 1, 2, 3])).matrix()
    weight = torch.tensor([math.log(5 / 4), math.log(5 / 1), math.log(5 / 1)], dtype=torch.float64)
    torch.testing.assert_close(q[0, 1:], weight / weight.sum())
    nothing = Tags(sets, counts=[0] * 5).targets(torch.tensor([0, 1, 2, 3])).matrix()
    torch.testing.assert_close(nothing[0, 1:], torch.full((3,), 1 / 3, dtype=torch.float64))


def test_a_tag_that_is_named_twice_is_one_tag() -> None:
    values = torch.tensor([0, 1, 1, 0])
    twice, once = Tags([["a", "a", "b"], ["b"]]), Tags([["a", "b"], ["b"]])
    assert torch.equal(twice.targets(values).matrix(), once.targets(values).matrix())


def test_of_items_equals_its_sets_and_counts() -> None:
    items = [{"a"}, None, ["b", "a"], set(), ("a", "b"), {"a"}, {"c"}]
    tags, values = Tags.of(items)
    assert values.tolist() == [0, -1, 1, -1, 1, 0, 2]
    by_hand = Tags([("a",), ("a", "b"), ("c",)], counts=[2, 2, 1])
    assert torch.equal(tags.targets(values).matrix(), by_hand.targets(values).matrix())
    assert tags.tags == ("a", "b", "c")
    nothing, none = Tags.of([None, []])
    assert none.tolist() == [-1, -1]
    assert contrastive_loss(torch.randn(2, 3), nothing.targets(none)).count == 0


def test_with_a_single_tag_each_it_is_the_same_label() -> None:
    from mscon.similarity import Categorical

    codes = torch.randint(4, (30,), generator=torch.Generator().manual_seed(0))
    for weighting in ("even", "rarity"):
        one = Tags([("p",), ("q",), ("r",), ("s",)], weighting=weighting).targets(codes).matrix()
        torch.testing.assert_close(one, Categorical().targets(codes).matrix())


def test_counts_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="3 counts for 1 sets"):
        Tags([("a",)], counts=[1, 2, 3])


def test_a_batch_does_not_go_through_a_long_table() -> None:
    similarity = Tags([(f"{number % 50}", f"{number % 7} of 7") for number in range(20_000)])
    with Longest() as longest:
        similarity.targets(torch.arange(16) * 1250)
    assert longest.length < 2000
