"""The diagnostics on the page: every figure where it belongs, bars within their length, and nothing made up."""

from typing import Any

import pytest

from mscon.evaluate.diagnostics import Diagnostics, HeadFacts, PairFacts
from mscon.report.diagnosis import read_diagnosis


def evaluation(heads: list[HeadFacts], pairs: list[PairFacts], *, rank: float = 100.0) -> dict[str, Any]:
    return {"labels": {}, "diagnostics": Diagnostics(900, rank, -3.0, tuple(heads), tuple(pairs)).to_json()}


def head(name: str, *, weight: float | None = 1.0) -> HeadFacts:
    return HeadFacts(name, 4.0, -1.0, 0.25, weight, None, 0.5)


def test_an_evaluation_without_diagnostics_has_no_section() -> None:
    assert read_diagnosis({"labels": {}}) is None


def test_bars_are_shares_of_their_scale_and_stay_within_it() -> None:
    found = read_diagnosis(evaluation([head("a", weight=0.5), head("b", weight=2.0)], []))
    assert found is not None
    assert [row.name for row in found.rows] == [None, "a", "b"]
    shares = [[meter and meter.share for meter in row.meters] for row in found.rows]
    assert shares == [[None, None, 1.0, 0.75, None], [0.25, 0.25, 0.04, 0.25, 0.5], [0.25, 1.0, 0.04, 0.25, 0.5]]
    odd = read_diagnosis(evaluation([HeadFacts("a", 0.0, 0.0, 1.3, None, None, 0.0)], [], rank=0.0))
    assert odd is not None
    assert [meter and meter.share for meter in odd.rows[1].meters] == [1.0, None, 0.0, 0.0, 0.0]


def test_each_pair_stands_in_the_row_of_the_second_and_the_column_of_the_first() -> None:
    pairs = [
        PairFacts("a", "b", 0.1, None, -0.4),
        PairFacts("a", "c", 0.2, None, 0.5),
        PairFacts("b", "c", None, None, -0.001),
    ]
    found = read_diagnosis(evaluation([head("a"), head("b"), head("c")], pairs))
    assert found is not None
    heads, gradients = found.grids  # no pair shares information, so there is no grid of it
    assert [[cell and cell.text for cell in row] for row in heads.cells] == [["0.10"], ["0.20", None]]
    assert [[cell and cell.text for cell in row] for row in gradients.cells] == [["−0.40"], ["0.50", "0.00"]]
    first = gradients.cells[0][0]
    assert first is not None
    assert (first.share, first.below) == (pytest.approx(0.4), True)


def test_one_similarity_has_a_row_and_no_grid() -> None:
    found = read_diagnosis(evaluation([head("a")], []))
    assert found is not None
    assert (len(found.rows), found.grids) == (2, ())
