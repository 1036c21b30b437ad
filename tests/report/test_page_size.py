"""The page of a large run stays small: many similarities, many classes, pictures that hardly compress."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from mscon.data.labels import LabelColumn
from mscon.evaluate.predictions import FILE, SCHEMA
from mscon.model import build_model
from mscon.prepare import Prepared, prepare
from mscon.recipe import Recipe
from mscon.report import write_report
from mscon.run import Run

SIMILARITIES, CLASSES, ITEMS, LINES = 12, 1000, 1200, 400
LIMIT = 5_000_000
LONG = "a name that somebody made far too long, as names of classes in shops at times are; " * 40


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Prepared]:
    """A run of 12 similarities of 1,000 classes each, with long names and a long training, on pictures of noise."""
    folder = tmp_path_factory.mktemp("large")
    generator = np.random.default_rng(0)
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(folder / "x.png")
    names = [f"label {number}" for number in range(SIMILARITIES)]
    columns = {name: [f"{each} {LONG}" for each in generator.integers(0, CLASSES, ITEMS)] for name in names}
    split = pl.Series("split", generator.choice(["train", "val", "test"], ITEMS, p=[0.7, 0.1, 0.2]))
    table = pl.DataFrame({"id": [f"{row} {LONG}" for row in range(ITEMS)], "image": ["x.png"] * ITEMS, **columns})
    table.with_columns(split).write_parquet(folder / "shop.parquet")
    recipe = Recipe.of(
        {
            "catalog": {"source": str(folder / "shop.parquet")},
            "similarities": {name: {} for name in names},
            "image": {"size": 64},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        data = prepare(recipe)
    pictures = generator.integers(0, 256, (ITEMS, 64, 64, 3), dtype=np.uint8)
    data = replace(data, pixels=replace(data.pixels, array=pictures))
    run = Run.create(folder / "run", recipe, data.labels, data.items)
    build_model("test_resnet", dict.fromkeys(names, 8), image_size=64, uncertainty=True).save(run.model_path)
    for line in range(LINES):
        run.append_metrics(record("train", line, names, generator))
        if line % 8 == 0:
            run.append_metrics(record("val", line, names, generator))
    predictions(data, names).write_parquet(run.folder / FILE)
    return run, data


def record(kind: str, line: int, names: list[str], generator: np.random.Generator) -> dict[str, Any]:
    keys = ("loss", "floor", "chance", "excess", "relative_excess", "weight")
    terms = {name: dict(zip(keys, generator.random(6).tolist(), strict=True)) for name in names}
    more: dict[str, Any] = {"lr": generator.random(), "images_per_second": 9.0, "seconds": 9.0}
    if kind == "val":
        numbers = {name: float(generator.random()) for name in names}
        more = {"trust": {name: {"noise_share": each} for name, each in numbers.items()}, "temperature": numbers}
    return {"kind": kind, "step": 10 * line, "epoch": line / 10, "total": 0.5, "terms": terms} | more


def predictions(data: Prepared, names: list[str]) -> pl.DataFrame:
    def text(column: LabelColumn, values: np.ndarray) -> list[str]:
        return [column.text(each) for each in values[data.split.test].tolist()]

    parts = []
    for name in names:
        truth = text(data.labels[name], data.values[name])
        given = {"label": [name] * len(truth), "truth": truth, "predicted": truth[::-1]}
        parts.append(pl.DataFrame({key: given.get(key, [None] * len(truth)) for key in SCHEMA}, schema=SCHEMA))
    return pl.concat(parts)


def test_the_page_of_a_large_run_is_below_its_limit_with_every_picture(large: tuple[Run, Prepared]) -> None:
    run, data = large
    embeddings = torch.randn(ITEMS, run.model().architecture.embedding_dim, generator=torch.Generator().manual_seed(0))
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    floors = {name: score | {"difference": score} for name in ("untrained", "pixels", "classical")}
    label = {"role": "in-domain", "kind": "categorical", "metric": "accuracy", "floors": floors, "n": 240, **score}
    path = write_report(run, data, embeddings, {"labels": dict.fromkeys(data.labels, label)})
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < LIMIT
    assert page.count("<image ") == page.count('href="data:image/')
    assert page.count("<image ") > 100
    assert page.count("<article") >= 3
