"""The probe table: the structure that evaluation.json promises, on simulated features and on real glyphs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mscon.data.cache import load_pixels
from mscon.data.catalog import Catalog
from mscon.data.labels import read_label
from mscon.data.splits import Split, read_split
from mscon.errors import UserError
from mscon.evaluate import (
    Label,
    classical_features,
    knn_categorical,
    pixel_features,
    probe_categorical,
    probe_continuous,
    score,
)

CATEGORICAL = [
    "role",
    "kind",
    "metric",
    "value",
    "low",
    "high",
    "balanced",
    "majority",
    "knn",
    "classes",
    "n",
    "strength",
]


@pytest.fixture(scope="module")
def table(simulated) -> dict:
    noise = torch.randn(600, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = {"noise": noise, "model": simulated.features, "same": simulated.features}
    labels = {
        "few": Label("in-domain", simulated.columns["few"]),
        "sparse": Label("ood", simulated.numbers["sparse"]),
        "gaps": Label("ood", simulated.columns["gaps"]),
    }
    return score(features, labels, simulated.split, resamples=200)


def test_every_label_has_what_the_file_promises_in_the_order_given(table):
    assert list(table) == ["few", "sparse", "gaps"]
    assert list(table["gaps"]) == [*CATEGORICAL, "floors"]
    assert [table["gaps"][key] for key in CATEGORICAL[:3]] == ["ood", "categorical", "accuracy"]
    sparse = table["sparse"]
    assert (sparse["kind"], sparse["metric"]) == ("continuous", "r2")
    assert sparse["mae"] > 0
    assert [sparse[key] for key in ("balanced", "majority", "knn", "classes")] == [None] * 4
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
    assert found["knn"] == knn_categorical(x, {"gaps": simulated.columns["gaps"]}, split)["gaps"].accuracy
    ridge = probe_continuous(x, {"sparse": simulated.numbers["sparse"]}, split)["sparse"]
    assert (table["sparse"]["value"], table["sparse"]["mae"]) == (ridge.r2, ridge.mae)


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
    with pytest.raises(UserError, match="'untrained' features of row 17"):
        score(
            {"model": simulated.features, "untrained": broken},
            {"few": Label("ood", simulated.columns["few"])},
            simulated.split,
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
