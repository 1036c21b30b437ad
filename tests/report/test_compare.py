"""Runs side by side, from the command line and in code: real runs, whatever is missing of them."""

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from mscon.errors import UserError
from mscon.evaluate.predictions import read_predictions
from mscon.report.compare import compare_runs
from mscon.report.compare.show import show

Runs = tuple[Path, Path]


def test_the_terminal_shows_what_differs_and_what_came_of_it(mscon, two_runs: Runs) -> None:
    code, out, err = mscon("compare", *two_runs)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["objective.weighting", "excess", "equal"] in lines
    assert not any("image.size" in line for line in lines)  # the same in both
    scores = json.loads((two_runs[1] / "evaluation.json").read_text())["labels"]
    assert f"{100 * scores['character']['value']:.1f} %" in out
    assert "note: kind is left out: only one was scored on it." in out
    assert "typeface*" in out
    assert "* never trained on by any run" in out
    rows = [row for row in compare_runs(two_runs).labels if True in row.in_domain]
    console = Console(file=StringIO(), width=200)
    show(replace(compare_runs(two_runs), labels=tuple(rows)), console)
    assert "*" not in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_the_name_of_a_folder_is_no_markup(mscon, two_runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(two_runs[0], tmp_path / "a[red]")
    code, out, err = mscon("compare", tmp_path / "a[red]", two_runs[1])
    assert code == 0, err
    assert "it − that of a[red] on the same items" in out


def test_json_has_every_difference_as_the_predictions_say_it(mscon, two_runs: Runs) -> None:
    code, out, _ = mscon("compare", *two_runs, "--format", "json")
    assert code == 0
    found = json.loads(out)
    assert [each["name"] for each in found["columns"]] == ["one", "two"]
    tables = [read_predictions(run) for run in two_runs]
    rows = {each["label"]: each for each in found["labels"]}
    assert list(rows) == ["character", "style", "marks", "ink", "typeface"]  # those that one was trained on come first
    for name in ("character", "style", "typeface"):
        right = [
            float((each["truth"] == each["predicted"]).sum()) / len(each)
            for each in (table.filter(pl.col("label") == name) for table in tables if table is not None)
        ]
        assert rows[name]["differences"][0] is None
        difference = rows[name]["differences"][1]
        assert difference["value"] == pytest.approx(right[1] - right[0])
        assert difference["low"] <= difference["value"] <= difference["high"]
    assert rows["ink"]["in_domain"] == [True, False]
    ends = {each["name"]: each["ends"] for each in found["similarities"]}
    assert ends["kind"][1] is None
    assert ends["character"][1]["weight"] == pytest.approx(1.0)


def test_a_run_that_is_not_evaluated_is_shown_as_far_as_it_goes(mscon, two_runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(two_runs[1], tmp_path / "new")
    for name in ("evaluation.json", "predictions.parquet"):
        (tmp_path / "new" / name).unlink()
    code, out, _ = mscon("compare", two_runs[0], tmp_path / "new", "-o", "page.html")
    assert code == 0
    assert f"note: new is not evaluated yet: mscon evaluate {tmp_path / 'new'}" in out
    assert "objective.weighting" in out
    page = Path("page.html").read_text()
    assert "new is not evaluated yet" in page
    assert "never trained on" in page  # of the one that is
    found = compare_runs([tmp_path / "new", two_runs[0]])
    assert all(row.scores[0] is None and row.scores[1] is not None for row in found.labels)
    assert all(row.differences == (None, None) for row in found.labels)


def test_a_run_evaluated_before_predictions_were_kept_has_scores_and_no_differences(
    two_runs: Runs, tmp_path: Path
) -> None:
    shutil.copytree(two_runs[1], tmp_path / "old")
    (tmp_path / "old" / "predictions.parquet").unlink()
    found = compare_runs([two_runs[0], tmp_path / "old"])
    assert all(row.scores[1] is not None and row.differences[1] is None for row in found.labels)
    assert any(note.startswith("old was evaluated before predictions were kept") for note in found.notes)


def test_runs_that_share_a_part_of_their_test_items_are_compared_on_that_part(two_runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(two_runs[1], tmp_path / "two")
    table = pl.read_parquet(tmp_path / "two" / "predictions.parquet")
    of_label = pl.int_range(pl.len()).over("label")
    for kept, said in ((of_label < 10, "is of the 10 test items that both have"), (of_label < 0, "share no test item")):
        table.filter(kept).write_parquet(tmp_path / "two" / "predictions.parquet")
        found = compare_runs([two_runs[0], tmp_path / "two"])
        assert any(note.startswith("character: ") and said in note for note in found.notes)
        gaps = [row.differences[1] for row in found.labels]
        assert all(gap is None or gap.items == 10 for gap in gaps)
        assert any(gaps) == ("10" in said)


def test_runs_of_one_name_are_told_apart_by_their_paths(two_runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(two_runs[0], tmp_path / "one")
    found = compare_runs([two_runs[0], tmp_path / "one"])
    assert [column.name for column in found.columns] == [str(two_runs[0]), str(tmp_path / "one")]
    assert found.settings == ()
    gaps = [row.differences[1] for row in found.labels]
    assert all(gap is not None and gap.value == gap.low == gap.high == 0.0 for gap in gaps)


def test_mistakes_are_told_with_what_to_do(mscon, two_runs: Runs, tmp_path: Path) -> None:
    one, two = two_runs
    with pytest.raises(UserError, match="are the same run"):
        compare_runs([one, two, one])
    shutil.copytree(two, tmp_path / "broken")
    (tmp_path / "broken" / "evaluation.json").write_text('{"labels": 3}')
    shutil.copytree(two, tmp_path / "partial")
    (tmp_path / "partial" / "evaluation.json").write_text('{"labels": {}, "rows": {"train": 9}}')
    for words, said in (
        ([one], "name two runs or more"),
        ([one, two, one], "are the same run"),
        ([one, tmp_path], "is not a run"),
        ([one, tmp_path / "broken"], "broken/evaluation.json: not an evaluation"),
        ([one, tmp_path / "partial"], "partial/evaluation.json: not an evaluation (rows.val"),
        ([one, two, "-o", "page.pdf"], "ends in .html"),
        ([one, two, "-o", "nowhere/page.html"], "there is no folder nowhere"),
    ):
        code, out, err = mscon("compare", *words)
        assert code == 2
        assert said in err.replace("\n", " ")
        assert "Traceback" not in out + err
