"""The probe table: the structure that evaluation.json promises, on simulated features and on real glyphs."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.stats import spearmanr

from mscon.data.cache import load_pixels
from mscon.data.catalog import Catalog
from mscon.data.labels import LabelColumn, read_label
from mscon.data.splits import Split, read_split
from mscon.errors import UserError
from mscon.evaluate import (
    Label,
    classical_features,
    knn_categorical,
    knn_continuous,
    knn_tags,
    pixel_features,
    probe_categorical,
    probe_continuous,
    probe_tags,
    score,
)
from mscon.evaluate.bootstrap import FEW
from mscon.evaluate.show import FLOORS, number, show

CATEGORICAL = [
    "role",
    "kind",
    "metric",
    "value",
    "low",
    "high",
    "balanced",
    "majority",
    "classes",
    "unseen",
    "n",
    "strength",
    "floors",
    "knn",
    "own_head",
]


# Paths of a hierarchy by the class of `few`: the second and the third end early or are kin.
PATHS = LabelColumn("paths", "hierarchy", ("a", "a/x", "a/y", "b", "b/z"), members=((0, 1), (0, 2), (3,), (3, 4)))


@pytest.fixture(scope="module")
def labels(simulated, tagged) -> dict[str, Label]:
    sets, table = tagged
    members = tuple(tuple(np.flatnonzero(row).tolist()) for row in table)
    return {
        "few": Label("in-domain", simulated.columns["few"]),
        "sparse": Label("in-domain", simulated.numbers["sparse"]),
        "gaps": Label("ood", simulated.columns["gaps"]),
        "tags": Label("in-domain", sets, LabelColumn("tags", "tags", tuple("vwxyz"), members=members)),
        "paths": Label("in-domain", simulated.columns["few"], PATHS),
    }


@pytest.fixture(scope="module")
def table(simulated, labels) -> dict:
    noise = torch.randn(600, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = {"noise": noise, "model": simulated.features, "same": simulated.features}
    heads = {"few": simulated.features, "sparse": simulated.features, "tags": simulated.features, "paths": noise}
    return score(features, labels, simulated.split, heads=heads, resamples=200)


def test_every_label_has_what_the_file_promises_in_the_order_given(table):
    assert list(table) == ["few", "sparse", "gaps", "tags", "paths"]
    assert list(table["gaps"]) == CATEGORICAL
    assert set(table["paths"]) - {"levels"} == set(CATEGORICAL)
    assert set(table["tags"]) - {"tags"} == set(CATEGORICAL) - {"unseen"}
    assert set(table["sparse"]) - {"mae", "spearman"} == set(CATEGORICAL) - {"unseen"}
    assert [table["gaps"][key] for key in CATEGORICAL[:3]] == ["ood", "categorical", "accuracy"]
    kinds = {name: (each["kind"], each["metric"]) for name, each in table.items()}
    assert kinds["sparse"] == ("continuous", "r2")
    assert kinds["tags"] == ("tags", "mAP")
    assert kinds["paths"] == ("hierarchy", "accuracy")
    assert table["sparse"]["mae"] > 0
    assert [table["sparse"][key] for key in ("balanced", "majority", "classes")] == [None] * 3
    for label in table.values():
        assert list(label["floors"]) == ["noise", "same"]
        for floor in label["floors"].values():
            assert list(floor) == ["value", "low", "high", "difference"]
            assert list(floor["difference"]) == ["value", "low", "high"]
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_the_numbers_are_the_probes_own(table, simulated):
    x, split = simulated.features, simulated.split
    probe = probe_categorical(x, {"gaps": simulated.columns["gaps"]}, split)["gaps"]
    found = table["gaps"]
    assert found["value"] == probe.accuracy
    assert found["balanced"] == probe.balanced
    assert found["majority"] == probe.majority
    assert found["strength"] == probe.strength
    assert (found["classes"], found["n"]) == (9, int((simulated.columns["gaps"][split.test] >= 0).sum()))
    assert found["knn"] == knn_categorical(x, {"gaps": simulated.columns["gaps"]}, split)["gaps"].value
    sparse = simulated.numbers["sparse"]
    ridge = probe_continuous(x, {"sparse": sparse}, split)["sparse"]
    found = table["sparse"]
    assert (found["value"], found["mae"]) == (ridge.r2, ridge.mae)
    assert found["spearman"]["value"] == pytest.approx(spearmanr(ridge.truth, ridge.predicted)[0])
    assert found["spearman"]["low"] < found["spearman"]["value"] < found["spearman"]["high"]
    assert found["knn"] == knn_continuous(x, {"sparse": sparse}, split)["sparse"].value


def test_tags_are_scored_together_and_one_by_one(table, simulated, tagged):
    sets, members = tagged
    probe = probe_tags(simulated.features, {"a": sets}, {"a": members}, simulated.split)["a"]
    found = table["tags"]
    assert (found["value"], found["majority"]) == (probe.mean_precision, probe.majority)
    assert (found["classes"], found["n"]) == (5, len(probe.rows))
    assert list(found["tags"]) == list("vwxyz")
    assert np.mean([each["value"] for each in found["tags"].values()]) == pytest.approx(found["value"])
    assert [each["n"] for each in found["tags"].values()] == probe.truth.sum(0).tolist()
    assert found["majority"] < found["value"]
    assert found["knn"] == knn_tags(simulated.features, {"a": sets}, {"a": members}, simulated.split)["a"].value


def test_a_path_is_scored_as_a_class_and_then_level_by_level(table, simulated):
    few, paths = table["few"], table["paths"]
    assert [paths[key] for key in CATEGORICAL[3:10]] == [few[key] for key in CATEGORICAL[3:10]]
    probe = probe_categorical(simulated.features, {"a": simulated.columns["few"]}, simulated.split)["a"]
    first, second = paths["levels"]
    half = probe.truth // 2 == probe.predicted // 2
    assert (first["value"], first["n"]) == (half.mean(), len(probe.rows))
    deep = probe.truth != 2
    assert (second["value"], second["n"]) == (probe.correct[deep].mean(), deep.sum())
    for level in paths["levels"]:
        assert level["low"] < level["value"] < level["high"]


def test_the_own_head_is_asked_as_the_shared_embedding_is(table):
    for name, metric in (("few", "accuracy"), ("sparse", "spearman"), ("tags", "mAP")):
        own = table[name]["own_head"]
        assert own["metric"] == metric
        assert own["value"] == table[name]["knn"]
        assert own["low"] < own["value"] < own["high"]
        assert own["neighbours"] in (1, 5, 20)
    assert table["gaps"]["own_head"] is None
    assert table["paths"]["own_head"]["value"] < table["paths"]["knn"] - 0.1


def test_the_difference_is_the_models_less_the_floors_and_nothing_from_itself(table):
    for label in table.values():
        assert label["low"] < label["value"] < label["high"]
        noise, same = label["floors"]["noise"], label["floors"]["same"]
        assert noise["difference"]["value"] == pytest.approx(label["value"] - noise["value"])
        assert noise["difference"]["low"] > 0
        assert same["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_duplicated_items_leave_the_interval_as_it_is_only_when_they_are_one_group(simulated):
    twice = torch.cat([simulated.features, simulated.features])
    split = Split(
        simulated.split.train, simulated.split.val, np.append(simulated.split.test, simulated.split.test + 600)
    )
    values = np.tile(simulated.columns["few"], 2)
    once = score({"model": simulated.features}, {"few": Label("ood", values[:600])}, simulated.split)["few"]
    grouped = score({"model": twice}, {"few": Label("ood", values)}, split, groups=np.tile(np.arange(600), 2))["few"]
    alone = score({"model": twice}, {"few": Label("ood", values)}, split)["few"]
    assert (grouped["low"], grouped["high"]) == (once["low"], once["high"])
    assert alone["high"] - alone["low"] < 0.85 * (once["high"] - once["low"])


def test_an_accuracy_of_all_or_none_has_an_interval_of_some_width_in_its_unit_of_groups(simulated):
    few = simulated.columns["few"]
    told = torch.nn.functional.one_hot(torch.from_numpy(few.clip(0)), 8).float()
    groups, features = np.arange(len(few)) // 3, {"model": told, "floor": told}
    heads, tested = {"few": told, "paths": told}, simulated.split.test
    labels = {"few": Label("in-domain", few), "paths": Label("in-domain", few, PATHS)}
    found = score(features, labels, simulated.split, heads=heads, groups=groups)
    entry, paths = found["few"], found["paths"]
    count = len(np.unique(groups[tested[few[tested] >= 0]]))
    for each in (entry, entry["own_head"], entry["floors"]["floor"], paths, paths["levels"][0]):
        assert (each["value"], each["high"]) == (1.0, 1.0)
        assert each["low"] == pytest.approx(count / (count + 1.959964**2))


def test_progress_ends_at_the_number_of_feature_sets(simulated):
    seen = []
    score(
        {"model": simulated.features, "floor": simulated.features[:, :1]},
        {"length": Label("ood", simulated.numbers["length"])},
        simulated.split,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_a_number_that_is_not_defined_is_none(simulated):
    values = simulated.numbers["length"].copy()
    values[simulated.split.test] = 3.0
    found = score({"model": simulated.features}, {"length": Label("ood", values)}, simulated.split)["length"]
    assert (found["value"], found["low"], found["high"]) == (None, None, None)


def test_features_that_are_not_finite_are_refused_with_their_name_and_row(simulated):
    broken = simulated.features.clone()
    broken[17, 3] = torch.nan
    with pytest.raises(UserError, match="features 'untrained' of row 17"):
        score(
            {"model": simulated.features, "untrained": broken},
            {"few": Label("ood", simulated.columns["few"])},
            simulated.split,
        )


def test_projections_that_are_not_finite_are_refused_with_their_label(simulated):
    broken = simulated.features.clone()
    broken[5, 0] = torch.inf
    with pytest.raises(UserError, match="'few' of row 5"):
        score(
            {"model": simulated.features},
            {"few": Label("in-domain", simulated.columns["few"])},
            simulated.split,
            heads={"few": broken},
        )


def test_on_real_letters_gradients_beat_plain_pixels_beat_the_majority(letters: Path):
    catalog = Catalog.read(str(letters))
    images = load_pixels(catalog, size=32).array
    label = read_label(catalog, "typeface")
    found = score(
        {"model": classical_features(images), "pixels": pixel_features(images)},
        {"typeface": Label("ood", label.encode(catalog.column("typeface")))},
        read_split(catalog),
    )["typeface"]
    assert found["value"] > found["floors"]["pixels"]["value"] > found["majority"]


def test_a_score_on_a_handful_of_items_is_printed_as_one() -> None:
    floor = {"value": 0.5, "low": 0.4, "high": 0.6, "difference": {"value": 0.0, "low": -0.1, "high": 0.1}}
    near = {"value": 0.5, "low": 0.4, "high": 0.6}
    label: dict[str, Any] = {"role": "in-domain", "metric": "accuracy", "majority": 0.5, "knn": 0.5} | near
    label |= {"own_head": near, "floors": dict.fromkeys(FLOORS, floor)}
    console = Console(file=StringIO(), width=200)
    labels = {"few": label | {"n": FEW - 1}, "many": label | {"n": FEW}, "new": label | {"n": FEW, "unseen": 4}}
    show({"labels": labels, "links": {}, "diagnostics": {"warnings": []}}, console)
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "few: only 29 test items: its score says little" in printed
    assert "never trained on" not in printed, "nothing is starred"
    assert "many:" not in printed
    assert "new: 4 of its 30 test items are of classes that no training item has" in printed


def test_stars_are_explained_where_there_are_any_and_one_pair_is_a_pair() -> None:
    floor = {"value": 0.5, "low": 0.4, "high": 0.6, "difference": {"value": -1e-6, "low": -1e-6, "high": 1e-6}}
    near = {"value": 0.5, "low": 0.4, "high": 0.6}
    label: dict[str, Any] = {"role": "ood", "metric": "accuracy", "majority": 0.5, "knn": 0.5, "n": 99} | near
    label |= {"own_head": None, "floors": dict.fromkeys(FLOORS, floor)}
    recall = {"recall": {"10": near | {"chance": 0.1}}, "reciprocal_rank": near}
    links = {name: {"pairs": pairs, "asked": 99, "own_head": recall, "embedding": recall} for name, pairs in PAIRS}
    console = Console(file=StringIO(), width=200)
    show({"labels": {"a": label}, "links": links, "diagnostics": {"warnings": []}}, console)
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "* never trained on; intervals" in printed
    assert "one (1 pair) " in printed
    assert "two (2 pairs) " in printed
    assert "-0.0" not in printed
    assert number(-1e-6, 1.0) == "0.000"
    assert number(-1e-6, 1.0, sign=True) == "+0.000"


PAIRS = (("one", 1), ("two", 2))
