"""Shape and type checks on the whole package in every test, and the real catalogs' addresses."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("mscon", "beartype.beartype")

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton reads it when it first meets a kernel

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MSCON_DATA", ROOT.parent / "shared" / "data"))
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def footwear() -> Path:
    """The footwear catalog's Parquet file; the test is skipped where it is absent."""
    return _real(DATA / "footwear" / "footwear.parquet")


@pytest.fixture(scope="session")
def clothing() -> Path:
    """The clothing catalog's Parquet file; the test is skipped where it is absent."""
    return _real(DATA / "clothing" / "clothing.parquet")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests share one cache of their own and never touch the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


def _real(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.parent.name} is not here: set MSCON_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small catalog of real glyphs as a Parquet file: five characters in every face, split as the whole is."""
    from mscon.data.glyphs import glyphs_table

    path = tmp_path_factory.mktemp("letters") / "letters.parquet"
    table = glyphs_table(tmp_path_factory.getbasetemp() / "cache")
    table.filter(table["character"].is_in(list("aRgQ5"))).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright; a test that needs it is skipped where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser: {CHROMIUM} is missing (Debian's package chromium)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tiny(letters: Path) -> dict[str, object]:
    """A recipe that trains on `letters` in seconds."""
    return {
        "catalog": {"source": str(letters), "ood": ["typeface", "ink"]},
        "similarities": {"character": {}, "weight": {}},
        "image": {"size": 32},
        "views": {"flip": 0.0},
        "model": {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 2}], "head_dim": 16, "head_width": 64},
        "training": {"epochs": 3, "batch_size": 32, "lr": 3e-3, "precision": "32-true", "device": "cpu"},
    }


@pytest.fixture
def mscon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command in an empty folder: its exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str, str]:
        from mscon.cli import main

        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "'\"><svg onload=alert(3)>")
"""Classes of `two_runs`: whatever they are, no page may run them."""


@pytest.fixture(scope="session")
def two_runs(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of a few steps on the same items, evaluated: `one` of classes, tags, paths and a number and with
    uncertainty of items, `two` of classes and tags, under other weights. Their labels have gaps, and hostile names.
    """
    import polars as pl

    from mscon.evaluate.evaluation import evaluate_run
    from mscon.recipe import Recipe
    from mscon.report import write_report
    from mscon.train import train

    folder = tmp_path_factory.mktemp("two runs")
    rows, third = pl.int_range(pl.len()), pl.int_range(pl.len()) % 3
    table = pl.read_parquet(letters).filter(pl.col("character").is_in(list("aRg")))
    table.with_columns(
        style=pl.when(rows % 9 > 0).then(third.replace_strict(dict(enumerate(HOSTILE)))),
        marks=pl.when(rows % 11 > 0).then(pl.concat_str("weight", "slant", separator=",")),
        kind=pl.concat_str(pl.lit("letter/"), "character"),
    ).write_parquet(folder / "letters.parquet")
    plain = {
        "catalog": {"source": str(folder / "letters.parquet"), "ood": ["typeface"]},
        "similarities": {"character": {}, "style": {}, "marks": {"kind": "tags"}},
        "image": {"size": 16},
        "model": {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 1}], "head_dim": 8, "head_width": 16},
        "training": {"epochs": 2, "batch_size": 32, "lr": 3e-3, "precision": "32-true", "device": "cpu"},
    }
    more = {"kind": {"kind": "hierarchy"}, "ink": {"kind": "continuous"}}
    recipes = {
        "one": plain | {"similarities": plain["similarities"] | more, "objective": {"item_uncertainty": True}},
        "two": plain
        | {"catalog": plain["catalog"] | {"ood": ["typeface", "ink"]}, "objective": {"weighting": "equal"}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        for name, recipe in recipes.items():
            run = train(Recipe.of(recipe), folder / name)
            found = evaluate_run(run)
            write_report(run, found.data, found.embeddings, found.evaluation)
    return folder / "one", folder / "two"
