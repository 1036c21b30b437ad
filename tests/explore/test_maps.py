"""Maps: kept for the same vectors, coloured by what an item has, and the law of their places."""

from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import polars as pl
import pytest

from mscon.data import Catalog
from mscon.errors import UserError
from mscon.explore import maps as module
from mscon.explore.layout import FEW, _nearest, layout
from mscon.explore.maps import Map, Maps, Working
from mscon.explore.points import CLASSES, MISSING, OTHERS, points
from mscon.search import Space


def few_of(space: Space) -> Space:
    """So few items that no UMAP is needed."""
    blocks = {name: block[:FEW] for name, block in space.blocks.items()}
    return Space(space.ids[:FEW], space.catalog.take(range(FEW)), blocks)


def drawn(maps: Maps, name: str) -> Map:
    until = monotonic() + 60
    while isinstance(found := maps.get(name), Working):
        assert monotonic() < until
        sleep(0.05)
    return found


def test_a_map_is_drawn_by_a_process_once_and_kept_as_long_as_the_vectors_are_the_same(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = few_of(space)
    first = drawn(Maps(small, tmp_path / "maps", small.ids), "style")
    np.testing.assert_allclose(first.places, layout(small.blocks["style"]), atol=1e-6)
    assert first.rows.tolist() == list(range(FEW))
    monkeypatch.setattr(module, "draw", None)  # nothing can be drawn any more
    again = Maps(small, tmp_path / "maps", small.ids).get("style")
    assert isinstance(again, Map)
    np.testing.assert_array_equal(again.places, first.places)
    (kept,) = (tmp_path / "maps").iterdir()
    with np.load(kept, allow_pickle=False) as file:
        assert set(file) == {"key", "places"}
    turned = replace(small, blocks=small.blocks | {"style": -small.blocks["style"]})
    assert isinstance(Maps(turned, tmp_path / "maps", small.ids)._read("style"), Working)
    kept.write_bytes(b"no map")
    assert isinstance(Maps(small, tmp_path / "maps", small.ids)._read("style"), Working)


def test_a_map_that_fails_is_told_and_can_be_asked_for_again(space: Space, tmp_path: Path) -> None:
    maps = Maps(space, tmp_path, space.ids)
    maps._there["style"] = Working(monotonic(), failed="MemoryError: full")
    with pytest.raises(UserError, match="MemoryError: full"):
        maps.get("style")
    assert "style" not in maps._there


def test_a_process_that_cannot_be_started_is_told(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    small = few_of(space)
    with pytest.raises(UserError, match=r"could not be started: .*temporarily unavailable"):
        drawn(Maps(small, tmp_path, small.ids), "style")


def test_large_catalogs_are_sampled_the_same_for_every_similarity(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE", 20)
    rows = Maps(space, tmp_path, space.ids)._sample()
    assert len(set(rows.tolist())) == 20
    assert rows.tolist() == Maps(space, tmp_path, space.ids)._sample().tolist() == sorted(rows.tolist())


def test_the_nearest_are_those_of_the_largest_cosine_and_an_item_is_its_own_first() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    vectors[7] = vectors[3]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near, gaps = _nearest(vectors, 6)
    assert near[:, 0].tolist() == list(range(40))
    assert near[3, 1] == 7
    expected = np.sort(1 - vectors @ vectors.T, axis=1)[:, :6]
    np.testing.assert_allclose(gaps, expected, atol=1e-6)


def test_points_are_coloured_by_classes_or_numbers_and_missing_ones_are_grey(space: Space) -> None:
    few = few_of(space)
    map_ = Map(np.arange(FEW), layout(few.blocks["style"]))
    words = ["b", "a", "b", None, "c", "a", "a", "<b>"]
    numbers = [0.5, 1.0, None, 3.0, 4.0, 5.0, 6.0, 7.0]
    table = few.catalog.table.with_columns(word=pl.Series(words), number=pl.Series(numbers))
    few = Space(few.ids, Catalog(table, few.catalog.image, few.catalog.root, "x"), few.blocks)
    found = points(few, map_, "word")
    assert found["colours"]["names"] == ["<b>", "a", "b", "c"]
    assert found["colours"]["codes"] == [2, 1, 2, MISSING, 3, 1, 1, 0]
    assert found["words"][3] is None
    assert found["ids"] == few.ids
    assert points(few, map_, None)["colours"] is None
    assert points(few, map_, "number")["colours"]["kind"] == "classes"  # so few numbers are told apart as classes
    wide = Space(few.ids * 3, few.catalog.take([*range(FEW)] * 3), {})
    twice = [f"word {row // 2}" for row in range(2 * CLASSES)]
    many = pl.Series([*twice, *(f"rare {row}" for row in range(24 - 2 * CLASSES))])
    table = wide.catalog.table.with_columns(n=pl.int_range(24) / 2, many=many)
    wide = Space(wide.ids, replace(wide.catalog, table=table), {})
    many_rows = Map(np.arange(24), np.zeros((24, 2), np.float32))
    scale = points(wide, many_rows, "n")["colours"]
    assert scale["kind"] == "numbers"
    assert 0 < scale["low"] < scale["high"] < 11.5
    assert points(wide, many_rows, "n", "categorical")["colours"]["kind"] == "classes"
    classes = points(wide, many_rows, "many")["colours"]
    assert classes["names"] == [f"word {place}" for place in range(CLASSES)]
    assert classes["codes"] == [row // 2 if row < 2 * CLASSES else OTHERS for row in range(24)]
    assert classes["others"] == 24 - 2 * CLASSES
