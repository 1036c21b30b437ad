"""Methods to compare with, trained as any run is: they learn, are evaluated, and are told what they can't do."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from mscon.build import new_objective
from mscon.cli import main
from mscon.encoder import Stage
from mscon.errors import UserError
from mscon.model import MSConModel, build_model
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train

METHODS = {
    "cross-entropy": {"objective.loss": "cross-entropy", "objective.weighting": "equal", "model.head_layers": 1},
    "triplets": {
        "objective.loss": "triplet",
        "objective.weighting": "equal",
        "model.heads": "masked",
        "model.head_layers": 1,
    },
    "one head for all": {"objective.weighting": "equal", "model.heads": "shared"},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_to_compare_with_learns_and_is_evaluated(method: str, tiny: dict, tmp_path: Path) -> None:
    recipe = Recipe.of(tiny, METHODS[method])
    run = train(recipe, tmp_path / "run")
    held = [each["terms"] for each in run.metrics() if each["kind"] == "val"]
    for name in recipe.similarities:
        assert held[-1][name]["relative_excess"] < 0.97 * held[0][name]["relative_excess"]
    main(["evaluate", str(run.folder)])
    found = json.loads((run.folder / "evaluation.json").read_text())
    assert found["labels"]["character"]["value"] > 0.5 > 2 * found["labels"]["character"]["majority"]
    assert Run.open(run.folder).model().architecture.heads == recipe.model.heads


def test_a_classifier_has_as_many_outputs_as_its_label_has_classes(tiny: dict, tmp_path: Path) -> None:
    recipe = Recipe.of(tiny, METHODS["cross-entropy"] | {"training.epochs": 1})
    run = train(recipe, tmp_path / "run")
    assert run.model().architecture.head_dims == {"character": 5, "weight": 2}


def test_what_no_label_gives_keeps_its_contrastive_loss_beside_classifiers(tiny: dict, tmp_path: Path) -> None:
    more = {"similarities.instance": {}, "similarities.appearance": {}}
    recipe = Recipe.of(tiny, METHODS["cross-entropy"] | more | {"training.epochs": 1})
    run = train(recipe, tmp_path / "run")
    assert run.model().architecture.head_dims == {"character": 5, "weight": 2, "instance": 16, "appearance": 512}

    data, generator = prepare(recipe), torch.Generator().manual_seed(0)
    items = torch.arange(12).repeat(2)
    z = {
        name: torch.randn(24, width, generator=generator) for name, width in run.model().architecture.head_dims.items()
    }
    values = {name: torch.from_numpy(data.values[name])[items] if name in data.values else items for name in z}
    terms = new_objective(recipe, data)(z, values).terms
    contrastive = Recipe.of(tiny, more)
    others = new_objective(contrastive, data)(z, values).terms
    for name in ("instance", "appearance"):
        assert float(terms[name].loss) == pytest.approx(float(others[name].loss))
    logits, codes = z["character"], values["character"].long()
    assert float(terms["character"].loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, codes)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarities.ink": {}, "catalog.ood": []}, "cross-entropy needs classes, but 'ink' is continuous"),
        ({"objective.weighting": "excess"}, "excess reads contrastive losses"),
        ({"objective.weighting": "UPGrad"}, "UPGrad reads contrastive losses"),
        ({"objective.item_uncertainty": True}, "item_uncertainty belongs to contrastive losses"),
        ({"objective.learn_temperature": True}, "learn_temperature belongs to contrastive losses"),
        ({"model.heads": "masked"}, "a classifier has a head of its own"),
        ({"model.heads": "shared", "similarities.weight.head_dim": 9}, "'shared' have one width"),
    ],
)
def test_what_a_baseline_cannot_do_is_said(change: dict, message: str, tiny: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(Recipe.of(tiny, METHODS["cross-entropy"] | change), tmp_path / "run")


def test_a_shared_head_gives_the_same_projection_and_masks_weigh_its_numbers() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    shared = build_model("test_resnet", {"a": 8, "b": 8}, image_size=32, heads="shared").eval()
    torch.testing.assert_close(shared.project(images, "a"), shared.project(images, "b"))
    masked = build_model("test_resnet", {"a": 8, "b": 8}, image_size=32, heads="masked").eval()
    assert masked.trunk is not None
    h = masked.embed(images)
    with torch.inference_mode():
        x, z = masked.trunk(h), masked.project_all(h)
    for name, mask in zip("ab", masked.heads, strict=True):
        torch.testing.assert_close(z[name], x * mask.get_parameter("weight").detach().relu())
    with pytest.raises(ValueError, match="one width"):
        build_model("test_resnet", {"a": 8, "b": 4}, image_size=32, heads="masked")


@pytest.mark.parametrize("options", [{"heads": "masked"}, {"embedding_dim": 12}, {"embedding_norm": False}], ids=str)
@pytest.mark.parametrize("stages", [(), (Stage(-1, 1),)], ids=["pooled", "stages"])
def test_a_model_of_every_form_is_loaded_as_it_was_saved(options: dict, stages: tuple, tmp_path: Path) -> None:
    model = build_model("test_resnet", {"a": 8, "b": 8}, image_size=32, stages=stages, **options).eval()
    model.save(tmp_path / "model.safetensors")
    again = MSConModel.load(tmp_path / "model.safetensors")
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(model.embed(images), again.embed(images))
    torch.testing.assert_close(model.project(images, "b"), again.project(images, "b"))
    assert model.embed(images).shape[1] == options.get("embedding_dim", model.architecture.embedding_dim)
    assert again.architecture == model.architecture


def test_columns_make_one_joint_class_where_none_is_missing(tiny: dict, tmp_path: Path) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"])
    gaps = pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("weight"))
    table = table.with_columns(weight=gaps)
    table.write_parquet(tmp_path / "letters.parquet")
    joint = {
        "similarities": {"both": {"joint": ["character", "weight"]}},
        "catalog.source": str(tmp_path / "letters.parquet"),
    }
    recipe = Recipe.of(tiny, joint)
    data = prepare(recipe)
    names = data.labels["both"].classes
    assert "R × bold" in names
    assert len(names) == 10
    for row in range(0, len(table), 13):
        weight = table["weight"][row]
        wanted = -1 if weight is None else names.index(f"{table['character'][row]} × {weight}")
        assert data.values["both"][row] == wanted
    new_objective(recipe, data)
    again = prepare(recipe, labels=data.labels)
    np.testing.assert_array_equal(again.values["both"], data.values["both"])


def test_a_value_that_holds_the_sign_between_joint_values_is_refused(tiny: dict, tmp_path: Path) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"]).with_columns(weight=pl.lit("a × b"))
    table.write_parquet(tmp_path / "letters.parquet")
    joint = {
        "similarities": {"both": {"joint": ["character", "weight"]}},
        "catalog.source": str(tmp_path / "letters.parquet"),
    }
    with pytest.raises(UserError, match="column 'weight', row 0"):
        prepare(Recipe.of(tiny, joint))
