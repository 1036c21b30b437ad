"""Evaluating a run: whatever its labels leave undefined."""

from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from mscon.evaluate.evaluation import FEW, evaluate_run, show
from mscon.recipe import Recipe
from mscon.train import train


def test_labels_that_test_hardly_has_are_scored_as_far_as_that_goes(tiny: dict, tmp_path: Path) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"])
    in_test = pl.col("split") == "test"
    first = pl.int_range(pl.len()) == table["split"].to_list().index("test")
    table = table.with_columns(
        seldom=pl.when(in_test & ~first).then(None).otherwise(pl.col("character")),
        level=pl.when(in_test).then(0.5).otherwise(pl.col("ink")),
    )
    table.write_parquet(tmp_path / "letters.parquet")
    similarities = {"seldom": {}, "level": {"kind": "continuous"}}
    recipe = Recipe.of(
        tiny | {"catalog": {"source": str(tmp_path / "letters.parquet")}, "similarities": similarities},
        {"training.epochs": 1},
    )
    evaluation = evaluate_run(train(recipe, tmp_path / "run")).evaluation
    seldom, level = evaluation["labels"]["seldom"], evaluation["labels"]["level"]
    assert (seldom["n"], seldom["low"], level["value"]) == (1, None, None)
    assert evaluation["diagnostics"]["above_untrained"] is False
    assert "seldom: only 1 test item: its score" in shown(evaluation)


def shown(evaluation: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=200)
    show(evaluation, console)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_run_of_pairs_alone_has_no_table_of_probes_and_few_links_are_said_to_say_little() -> None:
    def of(asked: int) -> dict[str, Any]:
        score = {"value": 0.5, "low": 0.3, "high": 0.7, "chance": 0.1}
        space = {"recall": {"10": score}, "reciprocal_rank": score}
        links = {"like": {"pairs": 9, "asked": asked, "candidates": 99, "embedding": space, "own_head": space}}
        return {"labels": {}, "links": links, "diagnostics": {"warnings": []}}

    for asked in (FEW, FEW - 1):
        printed = shown(of(asked))
        assert "linear probes" not in printed
        assert "like (9 pairs)" in printed
        assert (f"like: only {asked} test items have a link to find" in printed) == (asked < FEW)
