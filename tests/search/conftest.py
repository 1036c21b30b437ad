"""A small shop: real picture files in a catalog, and a run with an untrained model of it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from mscon.model import build_model
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.search import Space

COUNT = 60
NAMES = ("colour", "form")


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 items, of which the eighth has no image."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        path = folder / f"{row}.png"
        if row == 7:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(rng.integers(0, 255, (20, 14, 3), dtype=np.uint8)).save(path)
    table = pl.DataFrame(
        {
            "id": [f"sku {row}" for row in range(COUNT)],
            "image": [f"{row}.png" for row in range(COUNT)],
            "colour": ["rgb"[row % 3] if row % 10 else None for row in range(COUNT)],
            "form": ["<b>round</b>" if row % 2 else "[red]square" for row in range(COUNT)],
            "year": [2000 + row % 20 for row in range(COUNT)],
        }
    )
    table.write_parquet(folder / "shop.parquet")
    return folder / "shop.parquet"


@pytest.fixture(scope="session")
def run(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = Recipe.of(
        {
            "catalog": {"source": str(catalog), "ood": ["year"]},
            "similarities": {name: {} for name in NAMES},
            "image": {"size": 16},
            "model": {"backbone": "test_resnet", "stages": [], "head_dim": 8, "head_width": 16},
        }
    )
    data = prepare(recipe)
    run = Run.create(tmp_path_factory.mktemp("runs") / "shop", recipe, data.labels, items=data.items)
    torch.manual_seed(0)
    build_model("test_resnet", dict.fromkeys(NAMES, 8), image_size=16, stages=[], head_width=16).save(run.model_path)
    return run


@pytest.fixture(scope="session")
def space(run: Run) -> Space:
    """The catalog in memory."""
    return Space.of(run)
