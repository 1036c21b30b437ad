"""What the page finds is what a search finds, without looking at the vectors again."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mscon.explore.state import ask_item, ask_picture, find, suggested
from mscon.run import Run
from mscon.search import SHARED, Hits, Space, query_of

NAMES = (SHARED, "character", "style", "marks", "kind", "ink")
WEIGHTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([-2.0, -0.3, 0.1, 1.0]), min_size=1)
WHERE = st.sampled_from([None, "character = 'a'", "style IS NULL OR ink > 0.1", "character = 'none'"])


def same(one: Hits, other: Hits) -> None:
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.weights == other.weights
    for name, cosines in one.cosines.items():
        np.testing.assert_allclose(cosines, other.cosines[name], atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(row=st.integers(0, 200), weights=WEIGHTS, where=WHERE, k=st.integers(1, 20))
def test_the_page_finds_what_a_search_finds(space: Space, row: int, weights, where, k: int) -> None:
    asked = ask_item(space, row)
    same(find(space, asked, weights, k=k, where=where), space.search(asked.query, weights, k=k, where=where))


def test_an_item_is_the_query_that_its_id_is(run: Run, space: Space) -> None:
    asked, named = ask_item(space, 5).query, query_of(run, space, [space.ids[5]])
    assert asked.rows == named.rows
    for name, vector in named.blocks.items():
        np.testing.assert_allclose(asked.blocks[name], vector, atol=1e-6)


def test_a_slider_takes_no_cosine_again(space: Space) -> None:
    """The vectors are gone once the query is known, and every mix is found all the same."""
    asked = ask_item(space, 7)
    bare = replace(space, blocks={name: np.full_like(each, np.nan) for name, each in space.blocks.items()})
    mixes: tuple[dict[str, float], ...] = ({"character": 1.0}, {"style": -2.0, SHARED: 0.3}, dict.fromkeys(NAMES, 0.7))
    for weights in mixes:
        same(find(bare, asked, weights, k=9), space.search(asked.query, weights, k=9))


def test_a_pictures_nearest_item_is_the_one_that_it_is_of(run: Run, space: Space) -> None:
    asked = ask_picture(run, space, space.images_of([11])[0])
    hits = find(space, asked, {SHARED: 1.0}, k=1)
    assert hits.rows.tolist() == [11]
    assert hits.scores[0] > 0.999


def test_ids_that_begin_as_typed_are_suggested_first() -> None:
    ids = ["b-a", "A1", "xa", "a2", "c"]
    assert suggested(ids, " a", count=9) == ["A1", "a2", "b-a", "xa"]
    assert suggested(ids, "a", count=2) == ["A1", "a2"]
    assert suggested(ids, "", count=2) == ["b-a", "A1"]
    assert suggested(ids, "z", count=2) == []
