"""Warnings: each named on its own side of its threshold and on no other, with what to do."""

from dataclasses import replace
from typing import Any

import pytest

from mscon.evaluate import diagnostics
from mscon.evaluate.diagnostics import Diagnostics, HeadFacts, PairFacts, warnings

# What an honest run on footwear showed.
CATEGORY = HeadFacts("category", 4.5, -0.92, 0.61, 1.08, None, 0.002)
GENDER = HeadFacts("gender", 2.1, -0.39, 0.74, 0.91, None, 0.006)
PAIR = PairFacts("category", "gender", 0.47, 0.40, 0.13)
HONEST = Diagnostics(924, 107.0, -3.1, (CATEGORY, GENDER), (PAIR,))


def with_head(**changed: Any) -> Diagnostics:
    return replace(HONEST, heads=(replace(CATEGORY, **changed), GENDER))


def with_pair(**changed: Any) -> Diagnostics:
    return replace(HONEST, pairs=(replace(PAIR, **changed),))


def test_an_honest_run_is_not_warned_of() -> None:
    assert warnings(HONEST) == []


def test_figures_that_are_not_known_are_no_reason_to_warn() -> None:
    head = with_head(uniformity=None, relative_excess=None, weight=None)
    pair = with_pair(cka=None, shared_information=None, gradient_cosine=None)
    assert warnings(head) == warnings(pair) == []


@pytest.mark.parametrize(
    ("beyond", "within", "says"),
    [
        (with_pair(cka=0.86), with_pair(cka=diagnostics.REDUNDANT), "category and gender: their heads learned"),
        (with_pair(gradient_cosine=-0.5), with_pair(gradient_cosine=diagnostics.CONFLICT), "opposite ways"),
        (with_head(relative_excess=1.0), with_head(relative_excess=diagnostics.AT_CHANCE), "category: on held-out"),
        (with_head(uniformity=-0.001), with_head(uniformity=diagnostics.POINT), "category: its head has collapsed"),
        (with_head(bound="least", weight=0.3), HONEST, "category: its weight (0.30) is the least"),
        (with_head(bound="most", weight=1.9), HONEST, "category: its weight (1.90) is the most"),
        (with_head(alone=0.11), with_head(alone=diagnostics.ALONE), "training.sampler = 'category'"),
        (replace(HONEST, effective_rank=1.3), replace(HONEST, effective_rank=diagnostics.COLLAPSED), "1.3 directions"),
    ],
)
def test_a_figure_beyond_its_threshold_is_named_and_one_at_it_is_not(
    beyond: Diagnostics, within: Diagnostics, says: str
) -> None:
    (warning,) = warnings(beyond)
    assert says in warning
    assert warnings(within) == []


def test_a_similarity_that_is_trusted_least_is_named_once() -> None:
    assert len(warnings(with_head(relative_excess=1.0, bound="least"))) == 1


def test_redundancy_is_named_with_what_the_labels_share_where_that_is_known() -> None:
    assert "(CKA 0.96, labels share 40%)" in warnings(with_pair(cka=0.96))[0]
    assert "(CKA 0.96)" in warnings(with_pair(cka=0.96, shared_information=None))[0]


def test_of_a_collapsed_run_nothing_else_is_said() -> None:
    collapsed = replace(with_pair(cka=0.99), effective_rank=0.0, heads=(replace(CATEGORY, relative_excess=1.0), GENDER))
    assert len(warnings(collapsed)) == 1


def test_json_holds_every_field_and_the_warnings() -> None:
    found = with_pair(cka=0.86).to_json()
    assert found["pairs"][0]["cka"] == 0.86
    assert found["heads"][1]["name"] == "gender"
    assert found["warnings"] == warnings(with_pair(cka=0.86))
