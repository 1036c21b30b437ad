"""What differs between recipes: those keys and no others, under the names that `--set` has for them."""

from typing import Any

from mscon.recipe import Recipe
from mscon.report.compare.recipes import TRAINED, differing


def recipe(**overrides: Any) -> Recipe:
    plain = {"catalog": {"source": "x.csv"}, "similarities": {"a": {}, "b": {}}}
    return Recipe.of(plain, {key.replace("__", "."): value for key, value in overrides.items()})


def test_recipes_that_are_the_same_differ_in_nothing() -> None:
    assert differing([recipe(), recipe()]) == ()


def test_only_the_keys_that_differ_are_named_in_the_order_of_a_recipe() -> None:
    found = differing([recipe(), recipe(training__epochs=60, image__size=32), recipe(training__epochs=60)])
    assert [(each.key, each.values) for each in found] == [
        ("image.size", ("64", "32", "64")),
        ("training.epochs", ("30", "60", "60")),
    ]


def test_a_key_that_is_left_out_has_no_value() -> None:
    (found,) = differing([recipe(), recipe(similarities__a__temperature=0.2)])
    assert (found.key, found.values) == ("similarities.a.temperature", (None, "0.2"))


def test_a_key_is_of_the_similarity_that_it_names_in_full() -> None:
    """A name may hold dots, and begin as others do."""
    *others, last = ["heel" + ".height" * count for count in range(9)]
    similarities = {name: {} for name in others}
    with_it, without = (
        Recipe.of({"catalog": {"source": "x.csv"}, "similarities": similarities | more})
        for more in ({last: {"temperature": 0.2}}, {})
    )
    found = differing([with_it, without])
    assert [(each.key, each.values) for each in found] == [(f"similarities.{last}", (TRAINED, None))]


def test_a_similarity_that_one_lacks_is_one_line_whatever_its_own_keys_say() -> None:
    one = recipe(similarities__a__temperature=0.2)
    other = Recipe.of({"catalog": {"source": "x.csv"}, "similarities": {"b": {}}})
    found = differing([one, other])
    assert [(each.key, each.values) for each in found] == [("similarities.a", (TRAINED, None))]
