"""The colour histogram: shares that add up to one, wherever the pixels stand."""

import numpy as np
import torch

from mscon.evaluate.colours import LEVELS, colour_features


def test_squares_are_shares_and_places_do_not_count() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(130, 8, 8, 3), dtype=np.uint8)
    found = colour_features(images)
    torch.testing.assert_close(found.square().sum(1), torch.ones(130))
    shuffled = images.reshape(130, 64, 3)[:, generator.permutation(64)].reshape(images.shape)
    torch.testing.assert_close(colour_features(shuffled), found)


def test_a_colour_votes_for_its_neighbours_by_distance() -> None:
    # Red 64 of 255 lies at about 1.25 of the levels 0 … 5, green and blue at a level each.
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 64, 255, 51
    position = 64 / 255 * (LEVELS - 1)
    shares = colour_features(image)[0].square().reshape(LEVELS, LEVELS, LEVELS)
    expected = torch.zeros_like(shares)
    expected[1, LEVELS - 1, 1], expected[2, LEVELS - 1, 1] = 2 - position, position - 1
    torch.testing.assert_close(shares, expected)
