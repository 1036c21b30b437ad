"""The page of a run, read back as a browser would: what it holds, what it escapes, and what it does without."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from mscon.data.glyphs import glyphs_table
from mscon.data.labels import LabelColumn
from mscon.data.pairs import PairTable
from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate import Label, score
from mscon.evaluate.diagnostics import Diagnostics, HeadFacts, PairFacts
from mscon.model import build_model
from mscon.prepare import Prepared, prepare
from mscon.recipe import Recipe
from mscon.report import write_report
from mscon.report.neighbours import find_neighbours
from mscon.report.text import describe
from mscon.run import Run

CLASS = "<img src=x onerror=alert(1)>"
COLUMN = '"><script>alert(2)</script>$\\frac{1}$'
FLOOR = "</svg><b>pixels"


@dataclass(frozen=True)
class Inputs:
    """All that a report is made from."""

    run: Run
    data: Prepared
    embeddings: torch.Tensor
    evaluation: dict[str, Any]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, *names: str) -> list[str]:
        return [value for _, attributes in self.tags for name, value in attributes.items() if name in names]

    def classed(self, name: str) -> int:
        return sum(name in each.split() for each in self.attributes("class"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    """A catalog whose names are an attack, with groups, gaps, a broken image and a continuous column; not trained."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        letters = glyphs_table().filter(pl.col("character").is_in(list("ABC")))
        table = letters.with_columns(
            image=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit(b"broken")).otherwise("image"),
            style=pl.col("style").replace("mono", CLASS),
            weight=pl.when(pl.int_range(pl.len()) % 3 > 0).then("weight"),
        ).rename({"weight": COLUMN})
        table.write_parquet(folder / "<u>shoes.parquet")
        recipe = Recipe.of(
            {
                "catalog": {"source": str(folder / "<u>shoes.parquet"), "ood": ["typeface", "ink"]},
                "similarities": {"style": {}, COLUMN: {}, "instance": {}},
                "image": {"size": 16},
            }
        )
        data = prepare(recipe)
        run = Run.create(folder / "run <1>", recipe, data.labels, data.items)
        torch.manual_seed(0)
        model = build_model("resnet10t", dict.fromkeys(recipe.similarities, 8), image_size=16)
        model.save(run.model_path)
        for step in range(10, 60, 10):
            run.append_metrics(record("train", step, recipe))
        run.append_metrics(record("val", 50, recipe))
        embeddings = torch.randn(len(data.catalog), model.architecture.embedding_dim)
        yield Inputs(run, data, embeddings, evaluation(data, recipe))


@pytest.fixture(scope="module")
def page(made: Inputs) -> Page:
    """Its report."""
    return write(made)


@pytest.fixture
def inputs(made: Inputs, tmp_path: Path) -> Inputs:
    """The same with a folder and an evaluation that a test may change."""
    folder = tmp_path / made.run.folder.name
    shutil.copytree(made.run.folder, folder)
    return replace(made, run=Run.open(folder), evaluation=json.loads(json.dumps(made.evaluation)))


def record(kind: str, step: int, recipe: Recipe) -> dict[str, Any]:
    term = {"loss": 5.0 - step / 50, "floor": 3.0, "chance": 5.0, "excess": 2.0 - step / 50}
    term |= {"relative_excess": 1.0 - step / 100, "weight": 1.0, "anchors": 40.0}
    extra = {"lr": 0.1, "images_per_second": 9.0, "seconds": float(step)} if kind == "train" else {}
    return {"kind": kind, "step": step, "epoch": step / 50, "total": 1.0, **extra} | {
        "terms": dict.fromkeys(recipe.similarities, term)
    }


def evaluation(data: Prepared, recipe: Recipe) -> dict[str, Any]:
    """In the order out-of-domain first, one floor above, one below and one level with every label."""

    def floor(difference: float) -> dict[str, Any]:
        ends = {"value": difference, "low": difference - 0.05, "high": difference + 0.05}
        return {"value": 0.6 - difference, "low": 0.5, "high": 0.7, "difference": ends}

    labels: dict[str, Any] = {}
    for name in reversed((*recipe.labelled, *recipe.catalog.ood)):
        categorical = data.labels[name].kind == "categorical"
        labels[name] = {
            "role": "ood" if name in recipe.catalog.ood else "in-domain",
            "kind": data.labels[name].kind,
            "metric": "accuracy" if categorical else "r2",
            **{"value": 0.6, "low": 0.55, "high": 0.65, "n": len(data.split.test), "strength": 1.0},
            **dict.fromkeys(("balanced", "majority", "knn"), 0.4 if categorical else None),
            "classes": len(data.labels[name].classes) if categorical else None,
            "floors": {FLOOR: floor(0.2), "untrained": floor(0.0), "classical": floor(-0.2)},
        } | ({} if categorical else {"mae": 0.01})
    heads = [HeadFacts(name, 4.0, -1.0, 0.6, 1.0, None, 0.0) for name in recipe.similarities]
    pairs = [PairFacts(a, b, 0.9, None, -0.125) for a, b in combinations(recipe.similarities, 2)]
    diagnostics = Diagnostics(900, 100.0, -3.0, tuple(heads), tuple(pairs))
    return {"rows": {}, "labels": labels, "diagnostics": diagnostics.to_json()}


def write(inputs: Inputs) -> Page:
    return Page(write_report(inputs.run, inputs.data, inputs.embeddings, inputs.evaluation))


def test_page_is_one_file_that_refers_to_nothing_outside(page: Page) -> None:
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    references = page.attributes("href", "src", "xlink:href", "srcset", "action")
    assert references
    assert all(each.startswith(("#", "data:image/")) for each in references)
    assert re.findall(r"https?:|@import|url\((?!#)", page.source) == []


def test_names_of_the_user_are_text_and_never_markup(page: Page) -> None:
    assert {tag for tag, _ in page.tags}.isdisjoint({"img", "script", "b", "u"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(name in page.text for name in (CLASS, COLUMN, FLOOR, "<u>shoes", "run <1>"))
    spoken = page.attributes("aria-label")
    assert all(any(name in each for each in spoken) for name in (CLASS, COLUMN, FLOOR))


def test_ids_are_unique_and_every_reference_finds_its_target(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    inside = [each[1:] for each in page.attributes("href") if each.startswith("#")]
    inside += re.findall(r"url\(#([^)]+)\)", " ".join(page.attributes("clip-path", "style")))
    assert set(inside) <= set(ids)


def test_a_picture_shown_often_is_embedded_once_and_is_the_items_own(made: Inputs, page: Page) -> None:
    pictures = {each["id"]: each["href"] for tag, each in page.tags if tag == "image"}
    shown = [each["href"][1:] for tag, each in page.tags if tag == "use" and each["href"].startswith("#item-")]
    assert set(shown) == set(pictures)
    assert len(shown) > len(pictures)
    items = made.data.pixels.array[:].astype(float)
    for name, address in pictures.items():
        image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
        distances = np.abs(items - np.asarray(image)).mean(axis=(1, 2, 3))
        assert name == f"item-{distances.argmin()}"


def test_every_label_is_in_the_table_in_domain_first_with_its_verdict_on_each_floor(page: Page) -> None:
    table = page.source.partition('<table class="probes">')[2].partition("</table>")[0]
    rows = re.findall(r'<th scope="row" class="label">(.*?)<span', table)
    assert len(rows) == 4
    assert {rows[0], rows[1]} == {"style", "&#34;&gt;&lt;script&gt;alert(2)&lt;/script&gt;$\\frac{1}$"}
    assert {rows[2], rows[3]} == {"typeface", "ink"}
    marks = [table.count(f'<span class="verdict {verdict}">') for verdict in ("above", "level", "below")]
    assert marks == [4, 4, 4]
    assert table.count("▲") - 1 == table.count("▼") - 1 == table.count("≈") - 1 == 4  # and one each in the caption
    assert "0.600" in table
    assert "[0.550, 0.650]" in table
    assert "−0.200" in table
    assert "R²" in table


def test_diagnostics_and_their_warnings_are_on_the_page(made: Inputs, page: Page) -> None:
    warned = made.evaluation["diagnostics"]["warnings"]
    assert len(warned) == 4  # of the heads once, of the gradients for each pair
    assert all(warning in page.text for warning in warned)
    assert page.text.count("−0.12") >= 3  # a cell for each pair
    assert page.classed("negative") == 3


def test_a_neighbour_is_marked_by_the_labels_in_the_table(made: Inputs) -> None:
    table = made.data.catalog.table
    for query in find_neighbours(made.run, made.data, made.embeddings):
        for similarity, found in query.neighbours.items():
            assert len(found) == 6
            for each in found:
                labels = {
                    name: (table[name][query.row], table[name][each.row]) for name in ("style", COLUMN, "typeface")
                }
                known = {name: a == b for name, (a, b) in labels.items() if a is not None and b is not None}
                mark = {True: "same", False: "other", None: "missing"}[known.get(str(similarity))]
                assert each.match == (mark if similarity in labels else None)
                sign = {"same": "✓", "other": "✗", "missing": "?"}.get(str(each.match))
                assert each.sign == (sign or f"{sum(known.values())}/{len(known)}")
                assert table["group"][each.row] != table["group"][query.row]


@pytest.fixture
def varied(inputs: Inputs) -> Inputs:
    """Learned from a number, tags and paths beside classes, and scored for real: by random embeddings."""
    data = inputs.data
    generator = np.random.default_rng(0)
    rows = len(data.catalog)
    marks = LabelColumn("marks", "tags", ("<i>bold", "old", "thin"), members=((0,), (0, 1), (1,), (2,)))
    place = LabelColumn("place", "hierarchy", ("a", "a/x", "a/y", "b"), members=((0,), (0, 1), (0, 2), (3,)))
    data = replace(
        data,
        labels=data.labels
        | {"marks": marks, "place": place, "ink": data.labels["ink"].of_training(data.values["ink"])},
        values=data.values | {"marks": generator.integers(-1, 4, rows), "place": generator.integers(-1, 4, rows)},
    )
    names = ("style", "ink", "marks", "place")
    recipe = Recipe.of({"catalog": {"source": "*.csv", "ood": [COLUMN]}, "similarities": {name: {} for name in names}})
    build_model("resnet10t", dict.fromkeys(names, 8), image_size=16).save(inputs.run.model_path)
    run = Run(inputs.run.folder, recipe, data.labels)
    heads = {name: run.model().project_embedding(inputs.embeddings, name) for name in names}
    labels = {
        name: Label("in-domain" if name in names else "ood", data.values[name], data.labels[name])
        for name in (*names, COLUMN)
    }
    scores = score({"model": inputs.embeddings}, labels, data.split, heads=heads, groups=data.groups, resamples=50)
    return Inputs(run, data, inputs.embeddings, {"labels": scores})


def test_every_kind_of_label_has_its_own_scores_on_the_page(varied: Inputs) -> None:
    page = write(varied)
    scores = varied.evaluation["labels"]
    table = page.source.partition('<table class="probes">')[2].partition("</table>")[0]
    cells = dict(zip([*scores], re.findall(r"<tr>.*?</tr>", table.partition("<tbody>")[2], re.DOTALL), strict=True))
    assert "accuracy, 4 paths" in cells["place"]
    assert all(
        f"level {level}: {each['value']:.3f}" in cells["place"]
        for level, each in enumerate(scores["place"]["levels"], start=1)
    )
    assert "mAP, 3 tags" in cells["marks"]
    assert f"{scores['ink']['knn']:.3f}\u00a0ρ".replace("-", "−") in cells["ink"]
    for name in ("style", "ink", "marks", "place"):
        assert f'own head">{scores[name]["own_head"]["value"]:.3f}'.replace("-", "−") in cells[name]
    assert 'own head">–' in cells[COLUMN]
    tags = page.source.partition('<details class="tags">')[2].partition("</details>")[0]
    assert all(f"{each['value']:.3f}" in tags for each in scores["marks"]["tags"].values())
    assert "with the same style or place, images with marks in common and images that are near in ink" in page.text
    assert "3 tags, 1.2 of them on an item" in page.text
    assert "4 paths of up to 2 levels" in page.text


def test_a_neighbour_is_marked_by_what_its_kind_of_label_shares(varied: Inputs) -> None:
    data = varied.data
    names = {
        name: [set() if set_ < 0 else {column.classes[code] for code in column.members[set_]} for set_ in values]
        for name in ("marks", "place")
        for column, values in [(data.labels[name], data.values[name])]
    }
    seen = set()
    for query in find_neighbours(varied.run, data, varied.embeddings):
        for name in ("marks", "place"):
            for each in query.neighbours[name]:
                one, other = names[name][query.row], names[name][each.row]
                match = "missing" if not one or not other else "same" if one & other else "other"
                if name == "place" and match == "same" and one != other:
                    match = "part"
                    assert each.sign == f"{len(one & other)}/{len(one)}"
                assert each.match == match
                seen.add(match)
        for each in query.neighbours["ink"]:
            assert each.match == "number"
            change = data.values["ink"][each.row] - data.values["ink"][query.row]
            assert float(each.sign.replace("−", "-").replace("=", "0")) == pytest.approx(change, rel=0.1)
    assert seen == {"same", "part", "other", "missing"}


@pytest.fixture
def linked(inputs: Inputs) -> Inputs:
    """Learned from links alone: every item of test is linked to every third of the others, and two of training."""
    others = np.arange(0, len(inputs.data.catalog), 3)
    edges = np.array(
        [inputs.data.split.train[:2]]
        + [(one, other) for one in inputs.data.split.test for other in others if one != other]
    )
    edges = np.unique(np.sort(edges), axis=0)
    table = PairTable(edges, np.ones(len(edges)), np.zeros((0, 2), np.int64), "pairs.csv")
    edges_of = {"kind": "pairs", "edges": "pairs.csv"}
    recipe = Recipe.of({"catalog": {"source": "*.csv"}, "similarities": {"<i>like": edges_of, "instance": {}}})
    build_model("resnet10t", {"<i>like": 8, "instance": 8}, image_size=16).save(inputs.run.model_path)
    data = replace(inputs.data, labels={}, values={}, pairs={"<i>like": table})
    score = {"value": 0.5, "low": 0.3, "high": 0.7, "chance": 0.1}
    space = {"recall": {"10": score}}
    links = {"<i>like": {"pairs": 9, "asked": 29, "embedding": space, "own_head": space}}
    return replace(inputs, run=Run(inputs.run.folder, recipe, {}), data=data, evaluation={"labels": {}, "links": links})


def test_a_neighbour_that_is_linked_is_marked_and_nothing_is_where_nothing_compares(linked: Inputs) -> None:
    marks = []
    for query in find_neighbours(linked.run, linked.data, linked.embeddings):
        for each in query.neighbours["<i>like"]:
            alike = each.row % 3 == 0 or (query.row % 3 == 0 and each.row in linked.data.split.test)
            assert (each.match, each.sign) == (("same", "✓") if alike else (None, ""))
            marks.append(alike)
        assert {each.sign for name in ("instance", None) for each in query.neighbours[name]} == {""}
    page = write(linked)
    assert {True, False} == set(marks)
    assert page.classed("badge") == sum(marks)
    assert sum(spoken.startswith("linked: ") for spoken in page.attributes("aria-label", "title", "alt")) == sum(marks)


def test_a_run_of_links_says_so_and_that_few_of_them_say_little(linked: Inputs) -> None:
    page = write(linked)
    assert "to bring together images linked by <i>like and views of the same image." in page.text
    assert "only 29 test items: says little" in page.text
    linked.evaluation["links"]["<i>like"]["asked"] = 30
    assert "says little" not in write(linked).text
    for space in ("own_head", "embedding"):
        linked.evaluation["links"]["<i>like"][space]["recall"]["10"] |= {"low": None, "high": None}
    assert "<td>50.0</td>" in write(linked).source, "without an interval the score alone"


def test_scores_that_are_not_defined_are_left_blank(varied: Inputs) -> None:
    scores = varied.evaluation["labels"]["marks"]
    scores |= dict.fromkeys(("value", "low", "high", "majority", "knn")) | {"tags": {}, "classes": 0}
    scores["own_head"] |= dict.fromkeys(("value", "low", "high"))
    page = write(varied)
    assert '<span class="model">–</span>' in page.source
    assert "marks, mAP: model not defined" in page.source


def test_how_long_was_trained_is_said_as_the_recipe_has_it(made: Inputs) -> None:
    recipe = made.run.recipe
    for steps, said in ((None, "for 30 epochs on"), (200, "for 200 steps on"), (1, "for 1 step on")):
        training = recipe.training.model_copy(update={"steps": steps})
        asked = recipe.model_copy(update={"training": training})
        assert said in describe(asked, made.data, embedding_dim=8)


def test_skipped_images_are_told_with_row_and_reason(made: Inputs, page: Page) -> None:
    (skipped,) = made.data.pixels.skipped
    assert f"row {skipped.row} ({skipped.id}): {skipped.reason}" in page.text


def test_recipe_commands_and_versions_are_on_the_page(made: Inputs, page: Page) -> None:
    assert made.run.recipe.to_toml() in page.text
    assert f"mscon train '{made.run.folder}/recipe.toml' --out '{made.run.folder}-again'" in page.text
    assert torch.__version__ in page.text


def test_the_same_run_gives_the_same_page(inputs: Inputs) -> None:
    assert write(inputs).source == write(inputs).source


def test_colours_are_the_pages_own_in_every_figure(page: Page) -> None:
    styles = " ".join(page.attributes("style", "fill", "stroke"))
    assert "var(--model)" in styles
    assert re.findall(r"#[0-9a-fA-F]{6}", re.sub(r"url\([^)]*\)", "", styles)) == []


def test_a_run_without_a_model_is_refused(inputs: Inputs) -> None:
    inputs.run.model_path.unlink()
    with pytest.raises(UserError, match="no such model"):
        write(inputs)


def without_metrics(inputs: Inputs) -> Inputs:
    (inputs.run.folder / "metrics.jsonl").unlink()
    return inputs


def without_validation(inputs: Inputs) -> Inputs:
    return relogged(inputs, lambda each: each if each["kind"] == "train" else None)


def without_relative_excess(inputs: Inputs) -> Inputs:
    def blank(each: dict[str, Any]) -> dict[str, Any]:
        return each | {"terms": {name: term | {"relative_excess": None} for name, term in each["terms"].items()}}

    return relogged(inputs, blank)


def without_anchors(inputs: Inputs) -> Inputs:
    def blank(each: dict[str, Any]) -> dict[str, Any]:
        gone = dict.fromkeys(("loss", "floor", "chance", "excess", "relative_excess"))
        return each | {"terms": {name: term | gone | {"anchors": 0} for name, term in each["terms"].items()}}

    return relogged(inputs, blank)


def with_only_validation_so_far(inputs: Inputs) -> Inputs:
    return relogged(inputs, lambda each: each if each["kind"] == "val" else None)


def without_one_floor(inputs: Inputs) -> Inputs:
    del inputs.evaluation["labels"]["style"]["floors"]["untrained"]
    return inputs


def without_floors(inputs: Inputs) -> Inputs:
    for label in inputs.evaluation["labels"].values():
        del label["floors"]
    return inputs


def without_intervals(inputs: Inputs) -> Inputs:
    for label in inputs.evaluation["labels"].values():
        for scores in (label, *label["floors"].values(), *(each["difference"] for each in label["floors"].values())):
            scores["low"] = scores["high"] = None
    return inputs


def without_warnings(inputs: Inputs) -> Inputs:
    inputs.evaluation["diagnostics"]["warnings"] = []
    return inputs


def without_labels(inputs: Inputs) -> Inputs:
    recipe = Recipe.of({"catalog": {"source": "*.csv"}, "similarities": {"instance": {}}})
    build_model("resnet10t", {"instance": 8}, image_size=16).save(inputs.run.model_path)
    data = replace(inputs.data, labels={}, values={})
    return replace(inputs, run=Run(inputs.run.folder, recipe, {}), data=data, evaluation={"labels": {}})


def without_groups(inputs: Inputs) -> Inputs:
    return replace(inputs, data=replace(inputs.data, groups=None))


def with_two_test_items(inputs: Inputs) -> Inputs:
    split = inputs.data.split
    few = Split(split.train[:3], split.val, split.test[:2])
    return replace(inputs, data=replace(inputs.data, split=few))


def with_nothing_known_of_a_label(inputs: Inputs) -> Inputs:
    rows = len(inputs.data.catalog)
    gone = {"style": np.full(rows, -1), "ink": np.full(rows, np.nan)}
    return replace(inputs, data=replace(inputs.data, values=inputs.data.values | gone))


def relogged(inputs: Inputs, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Inputs:
    records = [change(each) for each in inputs.run.metrics()]
    (inputs.run.folder / "metrics.jsonl").unlink()
    for each in records:
        if each is not None:
            inputs.run.append_metrics(each)
    return inputs


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_metrics, "no curves to show"),
        (without_validation, "style, relative excess: from 0.9 to 0.5"),
        (with_only_validation_so_far, "style, relative excess: no value; held out 0.5"),
        (without_relative_excess, "style, relative excess: no value"),
        (without_anchors, "style, loss: no value"),
        (without_one_floor, '<td data-head="untrained □">–</td>'),
        (without_warnings, "none has collapsed"),
        (without_floors, "In-domain: trained on"),
        (without_intervals, '<span class="model">0.600</span></td>'),
        (without_labels, "nothing to probe"),
        (without_groups, "bootstrap\nintervals. ●"),
        (with_two_test_items, "Nearest neighbours"),
        (with_nothing_known_of_a_label, "no values"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_page_does_without_what_is_not_there(inputs: Inputs, change: Callable[[Inputs], Inputs], expected: str) -> None:
    changed = change(inputs)
    page = write(changed)
    assert expected in page.source
    assert page.source.count("<article") == min(12, len(changed.data.split.test))
    assert "nan" not in " ".join(page.attributes("d", "x", "y", "width", "aria-label")).lower().split()
