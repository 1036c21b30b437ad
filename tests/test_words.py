"""Names and numbers in a sentence."""

import json
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from mscon.words import ODD, joined_names, json_text, listed, span


def test_words_are_listed_as_in_a_sentence() -> None:
    assert [listed(words, "or") for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]


def test_a_span_that_is_written_alike_at_both_ends_is_one_number() -> None:
    assert span([0.9, 0.5, 0.7], ".0%") == "50% to 90%"
    assert span([0.501, 0.499], ".2f") == span([0.5], ".2f") == "0.50"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=9))
def test_names_are_together_where_a_way_of_pairs_leads_from_one_to_the_other(pairs: list[tuple[str, str]]) -> None:
    groups = joined_names(pairs)
    assert sorted(name for group in groups for name in group) == sorted({name for pair in pairs for name in pair})
    reached = {name: {name} for pair in pairs for name in pair}
    for _ in reached:
        for one, other in pairs:
            reached[one] = reached[other] = reached[one] | reached[other]
    together = {frozenset(pair) for group in groups for pair in combinations(group, 2)}
    assert together == {frozenset((one, other)) for one in reached for other in reached[one] if one != other}


def test_groups_and_their_names_stand_as_they_first_come() -> None:
    assert joined_names([("a", "b"), ("x", "y"), ("c", "d"), ("b", "c")]) == [("a", "b", "c", "d"), ("x", "y")]


@given(st.dictionaries(st.text(), st.text(st.sampled_from([*ODD, "\n", "é", '"', "\\"])) | st.integers()))
def test_json_that_is_printed_commands_no_terminal_and_reads_the_same(value: dict[str, str | int]) -> None:
    printed = json_text(value)
    assert json.loads(printed) == value
    assert not set(printed) & set(ODD)
    assert ("é" in "".join(map(str, value.values()))) <= ("é" in printed), "what harms nobody stays as it is"
