"""What is kept of every test item: the scores of evaluation.json can be made from it again."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mscon.errors import UserError
from mscon.evaluate.measures import mean_average_precision
from mscon.evaluate.predictions import FILE, SCHEMA, read_predictions
from mscon.evaluate.ridge import r_squared
from mscon.run import Run


def test_every_score_can_be_made_from_it_again(two_runs: tuple[Path, Path]) -> None:
    table = read_predictions(two_runs[0])
    assert table is not None
    labels = json.loads((two_runs[0] / "evaluation.json").read_text())["labels"]
    assert table["label"].unique(maintain_order=True).to_list() == list(labels)
    for name, each in labels.items():
        rows = table.filter(pl.col("label") == name)
        assert len(rows) == each["n"]
        if each["metric"] == "accuracy":
            score = (rows["truth"] == rows["predicted"]).mean()
        else:
            truth, predicted = (np.array(rows[f"{side}_numbers"].to_list()) for side in ("truth", "predicted"))
            r2 = each["metric"] == "r2"
            score = r_squared(truth, predicted) if r2 else mean_average_precision(truth > 0, predicted)[0]
        assert score == pytest.approx(each["value"])
    assert {"accuracy", "r2", "mAP"} == {each["metric"] for each in labels.values()}


def test_items_are_those_of_the_runs_test_split_under_the_names_that_the_catalog_gives_them(
    two_runs: tuple[Path, Path],
) -> None:
    run = Run.open(two_runs[0])
    data, table, items = run.prepare(), read_predictions(two_runs[0]), run.items()
    assert table is not None
    assert items is not None
    rows = table.filter(pl.col("label") == "character")  # which no item lacks
    assert rows["id"].to_list() == [data.catalog.ids()[row] for row in data.split.test]
    assert rows["image"].to_list() == items.table.filter(split="test")["image"].to_list()
    assert rows["truth"].to_list() == data.catalog.table["character"].gather(data.split.test).to_list()
    assert data.groups is not None
    assert rows["group"].to_list() == data.groups[data.split.test].tolist()


def test_another_file_in_its_place_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert read_predictions(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"no table")
    with pytest.raises(UserError, match=r"predictions\.parquet: cannot be read .*mscon evaluate"):
        read_predictions(tmp_path)
    pl.DataFrame({name: [] for name in SCHEMA}).write_parquet(tmp_path / FILE)
    with pytest.raises(UserError, match=r"not the predictions of a run.*mscon evaluate"):
        read_predictions(tmp_path)
