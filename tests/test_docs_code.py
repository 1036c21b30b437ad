"""The Python of every page runs as it stands, block after block, in a folder that has what the pages speak of."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from mscon import Catalog
from mscon.cli import app
from mscon.command_line import recipe_of
from mscon.export import export_backbone, export_onnx, noise, publish
from mscon.model import build_model
from mscon.prepare import prepare, training_batches
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.search.index import index_catalog
from test_docs import commands

ROOT = Path(__file__).parents[1]
NAMES = ("category", "closure", "colour")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [
    page.relative_to(ROOT)
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if BLOCK.search(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_pages_python_runs(page: Path, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    names: dict[str, object] = {}  # one block after the other, as one reads
    with torch.random.fork_rng():
        for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
            exec(compile(block, str(page), "exec"), names)


def test_a_reader_who_brings_a_catalog_as_the_page_does_can_train_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pages = [ROOT / "docs" / "howto" / name for name in ("own-catalog.md", "imbalanced-classes.md")]
    exec(BLOCK.findall(pages[0].read_text(encoding="utf-8"))[0], {})
    trainings = [words[1:] for page in pages for words in commands(page) if words[0] == "train"]
    assert len(trainings) == 3
    for words in trainings:
        _, given, _ = app.parse_args(["train", *words], exit_on_error=False, print_error=False)
        asked = given.arguments
        settings = [*asked["set_"], "image.size=32"]
        recipe = recipe_of(asked["catalog"], asked["similarity"], None, None, settings)
        assert len(training_batches(recipe, prepare(recipe))) > 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a catalog of them, two runs with untrained models, and what is made of the first: what pages name."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg", "photo.jpg", *(f"{row}.png" for row in range(40))):
        Image.fromarray(rng.integers(0, 255, (20, 14, 3), dtype=np.uint8)).save(folder / name)
    catalog = folder / "shop.parquet"
    pl.DataFrame(
        {
            "id": [str(10_030 + row) for row in range(40)],
            "image": [f"{row}.png" for row in range(40)],
            "gender": ["Women" if row % 2 else "Men" for row in range(40)],
            "year": [2000 + row for row in range(40)],
            **{name: [f"{name} {(row + place) % 3}" for row in range(40)] for place, name in enumerate(NAMES)},
        }
    ).write_parquet(catalog)
    catalog.with_name("archive.parquet").write_bytes(catalog.read_bytes())
    run, _ = (_run(catalog, folder / "runs" / name) for name in ("shoes", "shoes-2"))
    publish(run, folder / "shoes")
    export_backbone(run.model(), folder / "backbone.safetensors")
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        export_onnx(run.model(), folder / "shoes.onnx", sample=noise(32))
    if find_spec("lancedb"):
        index_catalog(run, Catalog.read(str(catalog)), str(folder / "shop.lance"))
    return folder


def _run(catalog: Path, folder: Path) -> Run:
    recipe = Recipe.of(
        {
            "catalog": {"source": str(catalog)},
            "similarities": {name: {} for name in NAMES},
            "image": {"size": 32},
            "model": {"backbone": "resnet10t", "stages": [], "head_dim": 8, "head_width": 16},
        }
    )
    data = prepare(recipe)
    run = Run.create(folder, recipe, data.labels, items=data.items)
    build_model("resnet10t", dict.fromkeys(NAMES, 8), image_size=32, stages=[], head_width=16).save(run.model_path)
    return run
