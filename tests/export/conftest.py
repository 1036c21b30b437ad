"""A small run to export, with random weights, an uncertainty head, and names that are an attack on Markdown."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from mscon.build import new_model
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from shop import CLASSES, COLUMN, scramble

COUNT = 90


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of small pictures."""
    folder = tmp_path_factory.mktemp("secret") / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (20, 14, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    table = pl.DataFrame(
        {
            "id": [f"sku-{row}" for row in range(COUNT)],
            "image": [f"{row}.png" for row in range(COUNT)],
            "colour": ["rgb"[row % 3] for row in range(COUNT)],
            COLUMN: [CLASSES[row % 2] for row in range(COUNT)],
            "price": [31.25 + row for row in range(COUNT)],
            "maker": [f"maker-{row % 4}" for row in range(COUNT)],
        }
    )
    table.write_parquet(folder / "shop.parquet")
    return folder / "shop.parquet"


@pytest.fixture(scope="session")
def shop_run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its run."""
    recipe = Recipe.of(
        {
            "catalog": {"source": str(shop), "ood": ["maker"]},
            "similarities": {"colour": {}, COLUMN: {}, "price": {"kind": "continuous"}},
            "image": {"size": 32, "fit": "crop"},
            "model": {
                "backbone": "test_resnet",
                "stages": [{"stage": -2, "grid": 3}, {"stage": -1, "grid": 2}],  # cells that divide no map evenly
                "head_dim": 8,
                "head_width": 16,
            },
            "objective": {"item_uncertainty": True},
            "training": {"batch_size": 32},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        data = prepare(recipe)
    run = Run.create(tmp_path_factory.mktemp("private") / "shop", recipe, data.labels, items=data.items)
    torch.manual_seed(0)
    model = new_model(recipe, pretrained=False, labels=data.labels)
    scramble(model)
    model.save(run.model_path)
    return run
