"""The same seed on the same machine gives the same bits, whatever else is going on."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from mscon.recipe import Recipe
from mscon.train import train


def test_the_number_of_threads_that_decode_changes_no_bit(
    tiny: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[bytes] = []
    for workers in (1, 3, 32):
        monkeypatch.setenv("MSCON_CACHE", str(tmp_path / f"cache-{workers}"))  # so that all is decoded anew
        monkeypatch.setattr("mscon.data.threads.thread_count", Mock(return_value=workers))
        run = train(Recipe.of(tiny, {"image.size": 16, "training.epochs": 1}), tmp_path / f"by-{workers}")
        models.append(run.model_path.read_bytes())
        assert list((tmp_path / f"cache-{workers}" / "pixels").iterdir())
    assert models[0] == models[1] == models[2]
