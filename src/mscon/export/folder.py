"""A run as a folder to be published: the model, what it was trained with, and a card; nothing of the user's machine."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from mscon.export.card import model_card, public_source
from mscon.files import whole_folder, write_text
from mscon.hub import CARD, CONFIG, WEIGHTS, config
from mscon.recipe import Recipe
from mscon.run import Run


def publish(run: Run, folder: Path, *, repo: str | None = None) -> list[Path]:
    """Write a trained run as a folder, whole or not at all, that `MSConModel.from_pretrained` loads, that the Hub shows
    as a model (`hf upload me/shoes FOLDER`), and that `mscon embed`, `search` and `export` take as a run.

        README.md  config.json  model.safetensors  recipe.toml  labels.json

    Of the catalog it holds its file's name, how many items each part has, the labels' names, and the names of the
    classes, tags and paths of those that were trained on: no folder, no address, no image, no item's id or value.

    **Arguments:**

    - `folder`: must be empty or not there.
    - `repo`: see `model_card`.

    **Raises:** `UserError` for a run without a model, a folder that holds something, or a disk that refuses.
    """
    model = run.model()
    trained = {name: each for name, each in run.labels.items() if name in run.recipe.similarities}
    with whole_folder(folder) as aside:
        model.save(aside / WEIGHTS)
        write_text(aside / CONFIG, config(model, image_fit=run.recipe.image.fit))
        write_text(aside / "recipe.toml", public_recipe(run.recipe).to_toml())
        labels = {name: asdict(replace(each, reference=())) for name, each in trained.items()}
        write_text(aside / "labels.json", json.dumps(labels, indent=2, ensure_ascii=False) + "\n")
        write_text(aside / CARD, model_card(run, model, name=(repo or folder.resolve().name).split("/")[-1], repo=repo))
    return sorted(folder.iterdir())


def public_recipe(recipe: Recipe) -> Recipe:
    """The recipe with bare names for the catalog and the tables of pairs."""
    source = public_source(recipe.catalog.source)
    similarities = {
        name: each.model_copy(update={"edges": public_source(each.edges)}) if each.edges else each
        for name, each in recipe.similarities.items()
    }
    catalog = recipe.catalog.model_copy(update={"source": source})
    return recipe.model_copy(update={"catalog": catalog, "similarities": similarities})
