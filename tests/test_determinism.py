"""The same seed on the same machine gives the same bits, whatever else is going on."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mscon.data.threads import in_threads
from mscon.recipe import Recipe
from mscon.train import train


def test_the_number_of_threads_that_decode_changes_no_bit(
    tiny: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def by(workers: int, work: Callable[[int], Any], count: int, _: int | None = None) -> Generator[Any, None, None]:
        asked.append(workers)
        return in_threads(work, count, workers)

    models: list[bytes] = []
    for workers in (1, 3, 32):
        monkeypatch.setenv("MSCON_CACHE", str(tmp_path / f"cache-{workers}"))  # so that all is decoded anew
        monkeypatch.setattr("mscon.data.cache.in_threads", partial(by, workers))
        run = train(Recipe.of(tiny, {"image.size": 16, "training.epochs": 1}), tmp_path / f"by-{workers}")
        models.append(run.model_path.read_bytes())
    assert asked == [1, 3, 32]
    assert models[0] == models[1] == models[2]
