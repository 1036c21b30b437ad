"""Shape and type checks on the whole package in every test, and the real catalogs' addresses."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook

from hostile_runs import few_letters, train_two

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
    """A small catalog of real glyphs as a Parquet file."""
    return few_letters(tmp_path_factory.mktemp("letters"), tmp_path_factory.getbasetemp() / "cache")


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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def two_runs(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs that are trained and evaluated, with hostile names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return train_two(letters, tmp_path_factory.mktemp("two runs"))
