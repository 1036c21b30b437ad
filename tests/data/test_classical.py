"""The learning-free features against a slow version pixel by pixel, and what they must and must not see."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from mscon.data import classical
from mscon.data.classical import classical_features, pixel_features


def random_images(count: int, side: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, side, side, 3), dtype=np.uint8)


def gradients_of(images: np.ndarray) -> torch.Tensor:
    """The gradient histogram alone, as (n, blocks down, blocks across, cell of the block, orientation)."""
    return classical_features(images)[:, 768:].unflatten(1, (4, 9, 7, 7)).permute(0, 3, 4, 1, 2)


def slow_histogram(image: np.ndarray) -> np.ndarray:
    """The histogram of a 64 × 64 image, one pixel at a time; cells beyond the picture are made and cut off."""
    x = image.astype(np.float64) / 255
    cells = np.zeros((10, 10, 9))
    for row in range(64):
        for column in range(64):
            across = x[row, min(column + 1, 63)] - x[row, max(column - 1, 0)]
            down = x[min(row + 1, 63), column] - x[max(row - 1, 0), column]
            channel = int(np.argmax(across**2 + down**2))
            angle = math.atan2(down[channel], across[channel]) % math.pi
            length = math.hypot(across[channel], down[channel]) / 64
            places = ((row + 0.5) / 8 + 0.5, (column + 0.5) / 8 + 0.5, angle / math.pi * 9 - 0.5)
            lower = [math.floor(place) for place in places]
            for corner in product((0, 1), repeat=3):
                share = math.prod(
                    place - low if upper else low + 1 - place
                    for place, low, upper in zip(places, lower, corner, strict=True)
                )
                cells[lower[0] + corner[0], lower[1] + corner[1], (lower[2] + corner[2]) % 9] += share * length
    cells = cells[1:-1, 1:-1]
    blocks = np.stack([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
    return blocks / np.sqrt(np.square(blocks).sum((2, 3), keepdims=True) + 1e-6)


def test_the_gradient_histogram_equals_one_made_pixel_by_pixel():
    images = random_images(2, 64)
    found = gradients_of(images).numpy()
    np.testing.assert_allclose(found, [slow_histogram(image) for image in images], atol=1e-4)


def test_the_thumbnail_keeps_colours_where_they_are():
    images = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    images[:, :, :32, 0] = 255
    images[:, :16, :, 2] = 51
    red, green, blue = pixel_features(images)[0].unflatten(0, (3, 16, 16))
    torch.testing.assert_close(red[:, :7], torch.ones(16, 7))
    assert not red[:, 9:].any()
    assert not green.any()
    torch.testing.assert_close(blue[:3], torch.full((3, 16), 0.2))
    assert not blue[5:].any()


def test_batches_change_nothing_and_a_read_only_map_will_do(tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", random_images(7, 24))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    whole = classical_features(images)
    assert whole.shape == (7, 768 + 7 * 7 * 36)
    assert torch.equal(whole[:, :768], pixel_features(images))
    monkeypatch.setattr(classical, "BATCH", 4)
    torch.testing.assert_close(classical_features(images), whole)


@pytest.mark.parametrize("side", [32, 64, 80, 131])
def test_the_number_of_features_does_not_depend_on_the_image_size(side):
    assert classical_features(random_images(2, side)).shape == (2, 2532)


def test_a_blank_image_has_a_thumbnail_and_no_gradients():
    images = np.full((1, 64, 64, 3), 200, dtype=np.uint8)
    assert not gradients_of(images).any()
    torch.testing.assert_close(pixel_features(images), torch.full((1, 768), 200 / 255))


def test_gradients_are_blind_to_contrast_and_brightness_and_the_thumbnail_is_not():
    images = random_images(2, 64) // 2
    brighter = images + 100
    torch.testing.assert_close(gradients_of(brighter), gradients_of(images))
    torch.testing.assert_close(gradients_of(images * 2), gradients_of(images), atol=1e-3, rtol=0)
    assert (pixel_features(brighter) - pixel_features(images)).abs().min() > 0.3


def test_a_quarter_turn_turns_the_cells_and_the_orientations():
    image = random_images(1, 64)
    cells = gradients_of(image)
    turned = gradients_of(np.rot90(image, axes=(1, 2)).copy())
    # 90° lie between two of nine bins, so only what sums over orientations survives exactly.
    energy, turned_energy = (each.square().sum((3, 4)) for each in (cells, turned))
    torch.testing.assert_close(turned_energy, torch.rot90(energy, dims=(1, 2)), atol=1e-3, rtol=0)
    stripes = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    stripes[:, :, ::4] = 255
    upright, lying = gradients_of(stripes)[0, 3, 3, 0], gradients_of(stripes.transpose(0, 2, 1, 3).copy())[0, 3, 3, 0]
    assert set(upright.topk(2).indices.tolist()) == {0, 8}
    assert lying.argmax() == 4
