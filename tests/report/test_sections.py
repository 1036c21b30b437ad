"""The newer sections' contents: classes, the course of training, uncertainty, what other commands left."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mscon.errors import UserError
from mscon.evaluate.predictions import SCHEMA, read_predictions
from mscon.report.classes import FEW_CLASSES, MISTAKES, SHOWN, class_tables
from mscon.report.course import read_course
from mscon.report.kept import read_ablation, read_audit
from mscon.report.text import LONGEST, brief
from mscon.report.thumbnails import SIZES, thumbnails
from mscon.report.uncertainty import PARTS, read_uncertainty
from mscon.run import Run
from mscon.schemas import read_evaluation


def told(truth: list[str], predicted: list[str]) -> pl.DataFrame:
    given = {"label": ["a"] * len(truth), "truth": truth, "predicted": predicted}
    return pl.DataFrame({key: given.get(key, [None] * len(truth)) for key in SCHEMA}, schema=SCHEMA)


def test_recall_precision_and_confusions_are_counts_of_items() -> None:
    (table,) = class_tables(told(list("aaaabbbc"), list("aaabbbad")))
    assert [(each.name, each.items) for each in table.classes] == [("a", 4), ("b", 3), ("c", 1)]
    assert [each.recall for each in table.classes] == [3 / 4, 2 / 3, 0.0]
    assert [each.precision for each in table.classes] == [3 / 4, 2 / 3, None]  # nothing is told to be c
    assert table.names == ("a", "b", "c", "d")  # d is told, and no item's
    assert [[cell.text for cell in row] for row in table.confusion] == [
        ["3", "1", "", ""],
        ["1", "2", "", ""],
        ["", "", "", "1"],
    ]
    assert [sum(cell.share for cell in row) for row in table.confusion] == pytest.approx([1.0, 1.0, 1.0])
    assert [(each.truth, each.predicted) for each in table.mistakes] == [("a", "b"), ("b", "a"), ("c", "d")]


def test_many_classes_have_their_most_frequent_mistakes_in_place_of_a_table() -> None:
    names = [f"c{each}" for each in range(1000)]
    (table,) = class_tables(told(names + ["c0"] * 5, names[::-1] + ["c1"] * 5))
    assert len(names) > FEW_CLASSES
    assert (table.names, table.confusion) == ((), ())
    assert (len(table.classes), table.more) == (SHOWN, 1000 - SHOWN)
    assert len(table.mistakes) == MISTAKES
    assert (table.mistakes[0].truth, table.mistakes[0].predicted, table.mistakes[0].items) == ("c0", "c1", 5)


def test_labels_without_classes_have_no_class_table(two_runs: tuple[Path, Path]) -> None:
    tables = class_tables(read_predictions(two_runs[0]))
    assert [table.label for table in tables] == ["character", "style", "kind", "typeface"]
    assert class_tables(None) == []


def test_the_course_is_what_the_lines_say_and_what_never_changes_has_no_curve() -> None:
    def line(kind: str, step: int, **more: Any) -> dict[str, Any]:
        terms = {"a": {"loss": 3.0, "floor": 1.0, "chance": 5.0, "excess": 2.0, "relative_excess": 0.5, "weight": 1.5}}
        return {"kind": kind, "step": step, "epoch": step / 10, "total": 0.5, "terms": terms} | more

    trust, records = {"a": {"noise_share": 0.25}}, []
    for step in (10, 20):
        records.append(line("train", step, lr=1 / step, images_per_second=100.0 * step, seconds=1.0))
        records.append(line("val", step, trust=trust, temperature={"a": step / 100}, doubted={"a": 7}))
    course = read_course(records, ["a"])
    assert course.rate.values.tolist() == [0.1, 0.05]
    assert course.usual_pace == 1500.0
    assert (course.noise_share, course.doubted) == ({}, {})
    assert course.temperature["a"].values.tolist() == [0.1, 0.2]
    (end,) = course.ends
    assert (end.excess, end.held_out, end.weight, end.noise_share, end.temperature, end.doubted) == (
        *(2.0, 0.5, 1.5, 0.25, 0.2, 7),
    )
    (unlabelled,) = read_course(records, ["a"], labelled=()).ends
    assert replace(end, noise_share=None) == unlabelled
    assert read_course([], ["a"]).ends == ()


def test_the_weight_at_the_end_is_the_one_that_the_diagnostics_tell(two_runs: tuple[Path, Path]) -> None:
    for folder in two_runs:
        records, evaluation = list(Run.open(folder).metrics()), read_evaluation(folder)
        assert evaluation is not None
        diagnosed = {head["name"]: head["weight"] for head in evaluation["diagnostics"]["heads"]}
        assert {end.name: end.weight for end in read_course(records, list(diagnosed)).ends} == pytest.approx(diagnosed)
        of_steps = [record for record in records if record["kind"] == "train"]  # a run without any look yet
        assert all(end.weight is not None for end in read_course(of_steps, list(diagnosed)).ends)


def test_fifths_of_uncertainty_rise_and_hold_every_test_item_once(two_runs: tuple[Path, Path]) -> None:
    run = Run.open(two_runs[0])
    data, model, predictions = run.prepare(), run.model(), read_predictions(two_runs[0])
    embeddings = torch.randn(
        len(data.catalog), model.architecture.embedding_dim, generator=torch.Generator().manual_seed(0)
    )
    found = {each.name: each for each in read_uncertainty(model, data, embeddings, predictions)}
    assert list(found) == list(run.recipe.similarities)
    assert predictions is not None
    for name, each in found.items():
        levels = [part.uncertainty for part in each.parts]
        assert len(levels) == PARTS
        assert levels == sorted(levels)
        assert set(each.certain) <= set(data.split.test.tolist()) >= set(each.uncertain)
        asked = len(predictions.filter(pl.col("label") == name))
        right = (name in ("character", "style", "kind")) * asked  # the others' probes tell no class
        assert sum(part.asked for part in each.parts) == right
    values = model.item_uncertainty(embeddings)["character"].numpy()
    assert found["character"].uncertain[0] == data.split.test[np.argmax(values[data.split.test])]
    other = Run.open(two_runs[1])
    assert read_uncertainty(other.model(), data, embeddings, None) == []


def test_an_ablation_and_an_audit_are_read_as_they_were_written(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    data = Run.open(two_runs[0]).prepare()
    assert read_ablation(tmp_path) is None
    assert read_audit(tmp_path, data.labels) == []
    effects = [
        {"label": "x", "without": name, "value": 0.1, "low": low, "high": 0.3}
        for name, low in (("a", 0.05), ("b", -0.1))
    ]
    scores = {"x": {"metric": "accuracy", "value": 0.5}}
    written = {"scores": scores, "effects": effects, "notes": ["n"], "warnings": ["w"]}
    (tmp_path / "ablation.json").write_text(json.dumps(written))
    table = read_ablation(tmp_path)
    assert table is not None
    assert (table.without, table.notes, table.warnings) == (("a", "b"), ("n",), ("w",))
    assert [effect and effect.verdict for effect in table.rows[0].effects] == ["above", "level"]
    columns = {"id": ["1", "2", "3"], "similarity": ["character"] * 2 + ["ink"], "label": ["a", "R", "1.0"]}
    audited = pl.DataFrame(columns | {"suggested": ["R", "R", "2.0"], "score": [0.9, 0.8, 0.5]})
    audited.write_parquet(tmp_path / "audit.parquet")
    found = read_audit(tmp_path, data.labels)
    assert [(each.name, each.judged, each.differing) for each in found] == [("character", 2, 1), ("ink", 1, 0)]
    assert [doubt.suggested for doubt in found[0].doubts] == ["R"]


@pytest.mark.parametrize(("name", "read"), [("ablation.json", read_ablation), ("audit.parquet", read_audit)])
def test_a_broken_file_is_named_with_the_command_that_mends_it(two_runs, tmp_path: Path, name: str, read: Any) -> None:
    (tmp_path / name).write_text("[]")
    more = (Run.open(two_runs[0]).labels,) * (read is read_audit)
    with pytest.raises(UserError, match=rf"{name}: not an a\w+ .*mscon a\w+ "):
        read(tmp_path, *more)


def test_pictures_shrink_until_they_fit_and_the_last_are_left_out_where_nothing_helps() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    found = [thumbnails(pixels, range(60), budget=budget) for budget in (10**7, 200_000, 20_000)]
    lengths = [sum(map(len, each.values())) for each in found]
    assert lengths[0] > 200_000 >= lengths[1]
    assert lengths[2] <= 20_000
    assert [len(each) for each in found[:2]] == [60, 60]
    assert list(found[2]) == list(range(len(found[2])))
    assert SIZES[0][0] == 64


def test_long_words_are_cut_and_short_ones_are_not() -> None:
    assert brief("x" * LONGEST) == "x" * LONGEST
    assert len(brief("x" * 10_000)) == LONGEST
