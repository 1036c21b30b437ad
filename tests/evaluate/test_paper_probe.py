"""The probe by SGD on augmented images: its arithmetic written out, and its laws."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from mscon.architecture import Architecture
from mscon.cli import main
from mscon.data.splits import Split
from mscon.data.views import ViewSettings, normalize
from mscon.errors import UserError
from mscon.evaluate.paper_probe import SgdProbe, probe_by_sgd
from mscon.model import MSConModel
from mscon.recipe import Recipe
from mscon.train import train

SIDE, WIDTH = 4, 3 * 4 * 4
AS_THEY_ARE = ViewSettings(scale=(1, 1), ratio=(1, 1), flip=0, brightness=0, contrast=0)
STRONG = ViewSettings(scale=(0.3, 1), brightness=0.4, contrast=0.4)


@dataclass(frozen=True)
class Images:
    """300 noisy images, and columns of 2, 3 and 5 classes that they tell in part, the last with gaps."""

    pixels: np.ndarray
    columns: dict[str, np.ndarray]
    split: Split

    def probe(self, encoder: nn.Module | None = None, **settings: Any) -> dict[str, SgdProbe]:
        settings = {"columns": self.columns, "split": self.split, "views": STRONG} | settings
        return probe_by_sgd(model_of(encoder or nn.Flatten()), self.pixels, **settings)

    def embedding(self) -> np.ndarray:
        """What `nn.Flatten` makes of the images as they are, in float64."""
        return normalize(torch.from_numpy(self.pixels).permute(0, 3, 1, 2)).flatten(1).double().numpy()


def model_of(encoder: nn.Module) -> MSConModel:
    return MSConModel(encoder, Architecture(backbone=None, embedding_dim=WIDTH, head_dims={"a": 4})).eval()


@pytest.fixture
def images() -> Images:
    generator = np.random.default_rng(5)
    pixels = generator.integers(0, 256, size=(300, SIDE, SIDE, 3), dtype=np.uint8)
    z = pixels.reshape(300, -1) / 74.0
    columns = {}
    for name, classes in (("pair", 2), ("few", 3), ("gaps", 5)):
        logits = z @ generator.normal(size=(WIDTH, classes)) + 2 * generator.gumbel(size=(300, classes))
        columns[name] = logits.argmax(1)
    columns["gaps"][generator.random(300) < 0.4] = -1
    order = generator.permutation(300)
    return Images(pixels, columns, Split(*(np.sort(each) for each in np.split(order, [160, 220]))))


def same(one: SgdProbe, other: SgdProbe) -> bool:
    return (
        np.array_equal(one.rows, other.rows)
        and np.array_equal(one.predicted, other.predicted)
        and (one.epoch, one.common, one.known.tolist()) == (other.epoch, other.common, other.known.tolist())
        and np.array_equal(one.validation, other.validation, equal_nan=True)
    )


def by_hand(images: Images, codes: np.ndarray, epochs: int) -> tuple[list[float], list[np.ndarray]]:
    """Validation accuracy and test predictions after each epoch of one step, on all labelled rows, in float64."""
    x, split = np.column_stack([images.embedding(), np.ones(300)]), images.split
    train, val, test = (part[codes[part] >= 0] for part in (split.train, split.val, split.test))
    classes, targets = np.unique(codes[train], return_inverse=True)
    w = v = np.zeros((len(classes), WIDTH + 1))
    accuracies, predictions = [], []
    for _ in range(epochs):
        gradient = (softmax(x[train] @ w.T, axis=1) - np.eye(len(classes))[targets]).T @ x[train] / len(train)
        v = 0.8 * v + gradient + 0.05 * w
        w = w - 0.03 * v
        accuracies.append(float((classes[(x[val] @ w.T).argmax(1)] == codes[val]).mean()))
        predictions.append(classes[(x[test] @ w.T).argmax(1)])
    return accuracies, predictions


def test_whole_batches_are_the_steps_as_they_are_written(images: Images) -> None:
    settings = {"lr": 0.03, "momentum": 0.8, "weight_decay": 0.05, "batch_size": 160}
    found = images.probe(views=AS_THEY_ARE, epochs=40, **settings)
    for name, codes in images.columns.items():
        accuracies, predictions = by_hand(images, codes, epochs=40)
        assert len(set(accuracies)) > 3
        assert found[name].validation == pytest.approx(accuracies)
        assert found[name].epoch == 1 + int(np.argmax(accuracies))
        np.testing.assert_array_equal(found[name].predicted, predictions[found[name].epoch - 1])


def test_what_a_line_parts_is_told_without_a_mistake_and_the_first_of_equal_epochs_is_kept() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 100, size=(300, SIDE, SIDE, 3), dtype=np.uint8)
    codes = generator.integers(3, size=300)
    pixels[np.arange(300), :, :, codes] += 130
    rows = np.arange(300)
    images = Images(pixels, {"colour": codes * 7}, Split(rows[:200], rows[200:250], rows[250:]))
    found = images.probe()["colour"]
    assert found.accuracy == 1.0
    assert found.validation[-2:] == (1.0, 1.0)
    assert found.epoch == 1 + found.validation.index(1.0)


def test_a_column_scores_the_same_alone_as_beside_others(images: Images) -> None:
    together = images.probe()
    assert list(together) == ["pair", "few", "gaps"]
    for name, codes in images.columns.items():
        assert same(images.probe(columns={name: codes})[name], together[name])
    assert images.probe(columns={}) == {}


def test_rows_without_a_label_change_nothing(images: Images) -> None:
    more = np.random.default_rng(1).integers(0, 256, size=(90, SIDE, SIDE, 3), dtype=np.uint8)
    columns = {name: np.append(codes, np.full(90, -1)) for name, codes in images.columns.items()}
    parts = (images.split.train, images.split.val, images.split.test)
    split = Split(*(np.append(part, 300 + 30 * place + np.arange(30)) for place, part in enumerate(parts)))
    one, other = images.probe(), Images(np.concatenate([images.pixels, more]), columns, split).probe()
    assert all(same(one[name], other[name]) for name in one)


def test_the_encoder_is_in_evaluation_mode_and_left_as_it_was(images: Images) -> None:
    encoder = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten())
    encoder(normalize(torch.from_numpy(images.pixels).permute(0, 3, 1, 2)))  # statistics of its own
    model = model_of(encoder)
    before = copy.deepcopy(model.state_dict())
    found = {}
    for training in (False, True):
        model.train(training)
        found[training] = probe_by_sgd(model, images.pixels, images.columns, images.split, views=STRONG)
        assert all(module.training == training for module in model.modules())
    assert all(same(found[True][name], found[False][name]) for name in images.columns)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert all(each.grad is None for each in model.parameters())


def test_the_best_epoch_on_validation_is_the_one_that_answers(images: Images) -> None:
    found = images.probe()
    unasked = {name: codes.copy() for name, codes in images.columns.items()}
    for codes in unasked.values():
        codes[images.split.val] = -1
    last = images.probe(columns=unasked)
    assert any(each.epoch < 10 and each.validation[-1] < max(each.validation) for each in found.values())
    assert any((found[name].predicted != last[name].predicted).any() for name in found)
    for name, each in found.items():
        assert each.validation[each.epoch - 1] == max(each.validation)
        shorter = images.probe(epochs=each.epoch)[name]
        assert np.array_equal(shorter.predicted, each.predicted)
        assert shorter.validation == each.validation[: each.epoch]
        assert last[name].epoch == 10
        assert np.isnan(last[name].validation).all()


def test_one_seed_has_the_same_bits_and_another_has_not(images: Images) -> None:
    for views in (STRONG, AS_THEY_ARE):  # without views the orders are all that chance decides
        one, again, other = (images.probe(seed=seed, views=views) for seed in (3, 3, 4))
        assert all(same(one[name], again[name]) for name in one)
        assert not any(same(one[name], other[name]) for name in one)


class Recording(nn.Flatten):
    """An encoder that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, input: Tensor) -> Tensor:
        self.seen.append(input.clone())
        return super().forward(input)


def test_training_images_are_seen_once_an_epoch_under_new_views_and_all_others_as_they_are(images: Images) -> None:
    encoder = Recording()
    images.probe(encoder, epochs=3)
    val, *views, test = encoder.seen
    whole = {
        name: normalize(torch.from_numpy(images.pixels[getattr(images.split, name)]).permute(0, 3, 1, 2))
        for name in ("train", "val", "test")
    }
    torch.testing.assert_close(val, whole["val"])
    torch.testing.assert_close(test, whole["test"])
    assert [len(each) for each in views] == [160] * 3
    for one, other in ((views[0], views[1]), (views[1], views[2]), (views[0], whole["train"])):
        assert ((one - other).flatten(1).abs().amax(1) > 1e-3).float().mean() > 0.99

    encoder = Recording()
    plain = images.probe(encoder, views=AS_THEY_ARE, epochs=3)
    torch.testing.assert_close(encoder.seen[2], whole["train"])
    assert not any(same(plain[name], each) for name, each in images.probe(epochs=3).items())


def test_a_class_that_training_never_saw_counts_as_wrong_and_is_never_predicted(images: Images) -> None:
    codes = images.columns["few"].copy()
    codes[images.split.test[:10]] = 77
    codes[images.split.val[:10]] = 88
    result = images.probe(columns={"few": codes})["few"]
    assert not result.correct[:10].any()
    assert set(result.predicted) <= {0, 1, 2}
    assert (result.classes, result.unseen) == (3, 10)
    assert max(result.validation) <= 5 / 6


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_column_without_a_label_in_a_part_is_refused_by_name(images: Images, part: str) -> None:
    codes = images.columns["few"].copy()
    codes[getattr(images.split, part)] = -1
    with pytest.raises(UserError, match=f"'few' is missing on every {part} row"):
        images.probe(columns={"few": codes})


def test_progress_goes_up_to_every_view_of_every_epoch(images: Images) -> None:
    told: list[tuple[int, int]] = []
    images.probe(epochs=2, progress=lambda *each: told.append(each))
    assert told == [(160, 320), (320, 320)]


def test_evaluate_writes_and_shows_it_only_where_it_is_asked_for(
    tiny: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = pl.read_parquet(tiny["catalog"]["source"])
    seldom = pl.when(pl.col("split") != "test").then("style")
    table = table.with_columns(place=pl.concat_str("weight", "slant", separator="/"), seldom=seldom)
    table.write_parquet(tmp_path / "letters.parquet")
    catalog = {"source": str(tmp_path / "letters.parquet"), "ood": ["ink", "seldom"]}
    similarities = {"character": {}, "place": {"kind": "hierarchy", "separator": "/"}}
    recipe = Recipe.of(tiny | {"catalog": catalog, "similarities": similarities}, {"training.epochs": 1})
    run = train(recipe, tmp_path / "run")
    found, out, page = {}, {}, {}
    for words in ((), ("--paper-probe",)):
        main(["evaluate", str(run.folder), *words])
        found[words] = json.loads((run.folder / "evaluation.json").read_text())
        out[words], page[words] = capsys.readouterr().out, (run.folder / "report.html").read_text()
    plain, asked = found.values()
    entries = {name: each.pop("paper_probe") for name, each in asked["labels"].items() if "paper_probe" in each}
    assert list(entries) == ["character", "place"]
    assert asked == plain, "all else stays as it is"
    for name, entry in entries.items():
        assert entry.keys() == {"metric", "value", "low", "high", "epoch", "validation", "epochs", "lr"}
        assert (entry["metric"], entry["epochs"], entry["lr"]) == ("accuracy", 10, 0.1)
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["epoch"] == 1 + entry["validation"].index(max(entry["validation"]))
        assert len(entry["validation"]) == 10
        rows = [line.split() for line in out["--paper-probe",].splitlines() if line.startswith(f"{name} ")]
        assert rows[1][1] == f"{100 * entry['value']:.1f}", "after its score, and before retrieval"
        assert f"by SGD {entry['value']:.3f}" in page["--paper-probe",]

    data = run.prepare()
    columns = {name: data.values[name] for name in entries}
    again = probe_by_sgd(run.model(), data.pixels.array, columns, data.split, views=recipe.run_views)
    assert {name: each.accuracy for name, each in again.items()} == {
        name: entry["value"] for name, entry in entries.items()
    }
    assert "SGD" not in out[()] + page[()]
