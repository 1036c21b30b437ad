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
from mscon.export import export_backbone, export_onnx, noise, publish
from mscon.model import build_model
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.search.index import index_catalog

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
