"""Evaluating a run: whatever its labels leave undefined, and whatever has become of its catalog."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from mscon.ablation import compare
from mscon.ablation import show as show_ablation
from mscon.data.digests import content_digests
from mscon.display import TerminalDisplay
from mscon.errors import UserError
from mscon.evaluate.audit_run import audit_run
from mscon.evaluate.audit_run import show as show_audit
from mscon.evaluate.bootstrap import FEW
from mscon.evaluate.evaluation import evaluate_run
from mscon.evaluate.show import score_notes, show
from mscon.inspection import inspect
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.report import write_report
from mscon.report.audit import write_audit
from mscon.run import Run
from mscon.train import train


def printed(shown: Any, *what: Any) -> str:
    """What a function prints on a wide console."""
    console = Console(file=StringIO(), width=200)
    shown(*what, console)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def unsplit(tiny: dict, tmp_path: Path) -> Recipe:
    """A recipe of one epoch for a catalog of its own, which no column divides."""
    pl.read_parquet(tiny["catalog"]["source"]).drop("split").write_parquet(tmp_path / "letters.parquet")
    return Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.parquet"), "training.epochs": 1})


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
    said = printed(show, evaluation)
    assert "seldom: only 1 test item: its score" in said
    (row,) = [line.split() for line in said.splitlines() if line.startswith("seldom ")]
    assert row[3] == "–", "an interval that is not defined is one dash"


def test_a_catalog_that_has_grown_and_moved_leaves_every_score_as_it_was(unsplit: Recipe, tmp_path: Path) -> None:
    run = train(unsplit, tmp_path / "run")
    before = evaluate_run(run)
    table = pl.read_parquet(unsplit.catalog.source)
    new = table.head(9).with_columns(
        image=pl.Series([bytes(each) + b" " for each in table["image"][:9]]), id=pl.lit("n")
    )
    pl.concat([new, table]).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(unsplit.catalog.source)
    dealt = prepare(unsplit)
    trained = set(content_digests(before.data.catalog)[before.data.split.train].tolist())
    tested = set(content_digests(dealt.catalog)[dealt.split.test].tolist())
    assert trained & tested, "dealt anew, test has what was trained on"

    after = evaluate_run(Run.open(run.folder))
    assert after.data.catalog.table.equals(before.data.catalog.table)
    assert {**after.evaluation, "notes": []} == before.evaluation
    (note,) = after.evaluation["notes"]
    assert "9 items are new to the run and in none of its parts: neither trained on nor scored" in note
    assert note in printed(show, after.evaluation)
    assert note in write_report(run, after.data, after.embeddings, after.evaluation).read_text()
    audited = audit_run(run)
    assert note in printed(show_audit, audited, after.data.catalog.ids())
    assert note in write_audit(run, audited).read_text()


def test_what_has_gone_been_moved_or_renamed_is_told_and_nothing_changes_its_part(
    unsplit: Recipe, tmp_path: Path
) -> None:
    run = train(unsplit, tmp_path / "run")
    data = run.prepare()
    table = pl.read_parquet(unsplit.catalog.source)
    gone = {int(data.split.train[0]), int(data.split.test[0])}
    renamed = table["character"].replace("a", "A")
    changed = table.with_columns(character=renamed, split=pl.lit("test"))
    changed.filter(~pl.int_range(pl.len()).is_in(gone)).write_parquet(unsplit.catalog.source)
    again = run.prepare()
    images = [
        [content_digests(each.catalog)[getattr(each.split, part)].tolist() for part in ("train", "val", "test")]
        for each in (data, again)
    ]
    assert images[1] == [images[0][0][1:], images[0][1], images[0][2][1:]]
    lost, moved, unknown = again.notes
    assert "2 items are gone that the run had (1 of train, 1 of test)" in lost
    assert f"{len(again.split.train) + len(again.split.val)} items are in another part by the split column" in moved
    count = int((again.catalog.table["character"] == "A").sum())
    assert f"character: {count} items are of a class that the run does not know ('A' {count})" in unknown
    table.with_columns(image=pl.lit(b"none"), id=pl.lit(None, pl.String)).write_parquet(unsplit.catalog.source)
    with pytest.raises(UserError, match=r"letters\.parquet: none of the run's .* items is in it"):
        run.prepare()


def test_a_run_from_before_its_split_was_kept_goes_on_as_it_did(unsplit: Recipe, tmp_path: Path) -> None:
    run = train(unsplit, tmp_path / "run")
    with_it = evaluate_run(run).evaluation
    run.split_path.unlink()
    assert evaluate_run(Run.open(run.folder)).evaluation == with_it


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_label_that_a_part_lacks_is_warned_of_and_the_others_are_scored(
    tiny: dict, part: str, tmp_path: Path
) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"])
    lacking = pl.when(pl.col("split") == part).then(None).otherwise(pl.col("style"))
    table.with_columns(lacking=lacking).write_parquet(tmp_path / "letters.parquet")
    ood = ("lacking",) if part == "train" else ()
    similarities = {name: {} for name in ("weight", "lacking") if name not in ood}
    catalog = {"source": str(tmp_path / "letters.parquet"), "ood": ood}
    recipe = Recipe.of(tiny | {"catalog": catalog, "similarities": similarities}, {"training.epochs": 1})
    (warning,) = [each for each in inspect(recipe, prepare(recipe)).warnings if f"0 {part}" in each]
    assert warning.startswith("lacking: ")
    console = Console(file=StringIO(), width=200)
    with TerminalDisplay(console) as display:
        run = train(recipe, tmp_path / "run", display=display)
    assert warning in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    found, ablation = evaluate_run(run), compare(run, {"weight": run})
    notes = [] if part == "val" else [f"lacking: no {part} row has it, so it is not scored."]
    assert found.evaluation["notes"] == list(ablation.notes) == notes
    scored = {"weight", "lacking"} if part == "val" else {"weight"}
    assert set(found.evaluation["labels"]) == set(ablation.scores) == scored
    for name in ("evaluation.json", "ablation.json"):
        assert json.loads((run.folder / name).read_text())["notes"] == notes
    page = write_report(run, found.data, found.embeddings, found.evaluation).read_text()
    for shown in (printed(show, found.evaluation), printed(show_ablation, ablation), page):
        assert all(note in shown for note in notes)


def test_a_run_of_pairs_alone_has_no_table_of_probes_and_few_links_are_said_to_say_little() -> None:
    def of(asked: int) -> dict[str, Any]:
        score = {"value": 0.5, "low": 0.3, "high": 0.7, "chance": 0.1}
        space = {"recall": {"10": score}, "reciprocal_rank": score}
        links = {"like": {"pairs": 9, "asked": asked, "candidates": 99, "embedding": space, "own_head": space}}
        return {"labels": {}, "links": links, "notes": [], "diagnostics": {"warnings": []}}

    for asked in (FEW, FEW - 1):
        said = printed(show, of(asked))
        assert "linear probes" not in said
        assert "like (9 pairs)" in said
        assert (f"like: only {asked} test items have a link to find" in said) == (asked < FEW)


def test_what_holds_of_several_labels_is_said_once() -> None:
    labels = {"a": {"n": 9}, "b": {"n": 9}, "c": {"n": 99}, "d": {"n": 1}}
    assert [note.plain for note in score_notes(labels, {})] == [
        "a, b: only 9 test items: its score says little",
        "d: only 1 test item: its score says little",
    ]
