"""Views that change what a label is read from."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from mscon.inspection import inspect
from mscon.inspection.views import explained, harmful_views
from mscon.prepare import prepare
from mscon.recipe import Recipe

RNG = np.random.default_rng(0)


def test_explained_is_r2_for_numbers_and_between_class_variance_for_classes() -> None:
    statistic = RNG.normal(size=(500, 2))
    assert explained(2.0 * statistic[:, 0] - statistic[:, 1], statistic) == pytest.approx(1.0)
    assert explained(RNG.normal(size=500), statistic) < 0.05
    around = np.stack([np.cos(hours := RNG.uniform(0, 2 * np.pi, 500)), np.sin(hours)], axis=1)
    assert explained(hours, around, period=2 * np.pi) == pytest.approx(1.0)
    assert explained(hours, around) < 0.8
    codes = RNG.integers(0, 4, 500)
    assert explained(codes, codes[:, None].astype(np.float64)) == pytest.approx(1.0)
    assert explained(codes, statistic) < 0.05
    assert explained(np.full(500, np.nan), statistic) == 0.0
    assert explained(RNG.permutation(500) // 2, statistic) < 0.2, "half as many classes as rows, drawn by lot"


def test_a_view_that_changes_what_a_label_is_read_from_is_warned_of(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"views": {"flip": 0.0, "brightness": 0.3}})
    data = prepare(recipe)
    grey = data.pixels.array[:].mean(axis=(1, 2, 3), dtype=np.float64)
    data.values["ink"][:] = grey
    warned = [line for line in inspect(recipe, data).warnings if line.startswith("ink")]
    assert len(warned) == 1
    assert "views.brightness = 0.3 changes" in warned[0]
    calm = Recipe.of(tiny, {"similarities.weight.views": {"brightness": 0.0, "contrast": 0.0}})
    assert not [line for line in inspect(calm, data).warnings if line.startswith("ink")]


@pytest.mark.parametrize("catalog", ["footwear", "clothing"])
def test_brightness_jitter_is_warned_of_beside_a_measured_lightness(
    catalog: str, request: pytest.FixtureRequest
) -> None:
    source = str(request.getfixturevalue(catalog))
    recipe = Recipe.of({"catalog": {"source": source, "ood": ["lightness"]}, "similarities": {"category": {}}})
    warned = [line for line in inspect(recipe, prepare(recipe)).warnings if line.startswith("lightness")]
    assert len(warned) == 1
    assert "Set views.brightness to 0" in warned[0]


def test_a_few_images_at_a_time_are_held_as_floats(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"views": {"brightness": 0.3}})
    data = prepare(recipe)
    images = np.zeros((len(data.catalog), 128, 128, 3), dtype=np.uint8)
    data = replace(data, pixels=replace(data.pixels, array=images))
    tracemalloc.start()
    assert not list(harmful_views(recipe.run_views, data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes, "all of them as floats are four times that"


def test_a_number_that_is_noise_is_explained_by_nothing_however_few_rows_there_are() -> None:
    for rows in (10, 21, 30, 60, 100):
        found = [explained(RNG.normal(size=rows), RNG.normal(size=(rows, 19))) for _ in range(50)]
        assert max(found) < 0.5
        assert rows > 60 or max(found) == 0.0
    assert explained(np.arange(30.0), np.arange(30.0)[:, None]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("setting", "harmless", "harmful"),
    [
        ("grey", 0.2, 0.6),
        ("hue", 0.02, 0.1),
    ],
)
def test_each_change_of_colour_is_named_by_its_own_setting(
    tiny: dict, setting: str, harmless: float, harmful: float
) -> None:
    def warned(strength: float) -> list[str]:
        recipe = Recipe.of(tiny, {"views": {setting: strength}})
        data = prepare(recipe)
        code = np.arange(len(data.catalog)) % 3
        images = np.zeros(data.pixels.array.shape, dtype=np.uint8)
        images[np.arange(len(code)), :, :, code] = 200
        data.values["character"][:] = code
        data = replace(data, pixels=replace(data.pixels, array=images))
        return [line for line in inspect(recipe, data).warnings if line.startswith("character: it goes with")]

    assert not warned(harmless)
    (line,) = warned(harmful)
    assert f"which views.{setting} = {harmful:g} changes" in line
