"""Appearance: how wide its kernel is, what it refuses, and that pictures that look alike are alike."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mscon import Appearance
from mscon.data.look import COMPONENTS, look_of

GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(600, 8, generator=GENERATOR)


def positives(similarity: Appearance, count: int) -> float:
    """e^H(q_i) of a batch of all items, in the geometric mean."""
    return similarity.targets(torch.arange(count)).floor.mean().exp().item()


@given(bandwidth=st.floats(0.005, 0.9), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=25)
def test_an_items_positives_are_the_share_that_the_bandwidth_says(bandwidth: float, scale: float) -> None:
    similarity = Appearance.of(FEATURES * scale, bandwidth=bandwidth)
    assert positives(similarity, 600) == pytest.approx(max(1.0, bandwidth * 599), rel=1e-3)


def test_the_width_is_found_among_the_reference_alone() -> None:
    close = torch.randn(600, 8, generator=GENERATOR) * 0.01 + torch.ones(8)
    both = Appearance.of(torch.cat([FEATURES, close]), reference=torch.arange(600))
    assert both.temperature == Appearance.of(FEATURES).temperature
    assert both.temperature > 3 * Appearance.of(close).temperature


def test_a_sample_of_many_items_finds_nearly_the_width_of_all() -> None:
    many = torch.randn(5_000, 8, generator=GENERATOR)
    assert positives(Appearance.of(many, bandwidth=0.05), 5_000) == pytest.approx(250, rel=0.1)


def test_other_views_pull_as_the_nearest_item_and_features_of_no_length_are_as_near_to_all() -> None:
    similarity = Appearance(torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [0.0, 0.0]]), 0.2)
    q = similarity.targets(torch.arange(4).repeat(2)).matrix()
    assert q[0, 4] == q[0, 1] == q[0, 5] > 10 * q[0, 2]
    assert q[3, [0, 1, 2, 7]].tolist() == pytest.approx([1 / 7] * 4)


def test_an_item_far_from_all_others_keeps_its_order_of_them() -> None:
    similarity = Appearance(torch.tensor([[1.0, 0.0], [0.999, 0.001], [-1.0, 0.1], [-1.0, 0.2]]), 1e-4)
    q = similarity.targets(torch.tensor([0, 2, 3])).matrix()
    assert q.sum(dim=1).tolist() == pytest.approx([1.0] * 3)
    assert q[0, 2] > 0.99, "its direction is the less far"


def test_what_cannot_be_is_refused() -> None:
    for features, temperature in ((FEATURES, 0.0), (torch.full((3, 2), math.nan), 1.0)):
        with pytest.raises(ValueError, match="must be finite, their temperature positive"):
            Appearance(features, temperature)
    with pytest.raises(ValueError, match="item 3 has no features: there are those of 3 items"):
        Appearance(torch.eye(3), 1.0).targets(torch.tensor([0, 3, -1]))
    for features, bandwidth in ((FEATURES, 0.0), (FEATURES, 1.0), (FEATURES[:2], 0.5)):
        with pytest.raises(ValueError, match="a bandwidth is between 0 and 1, of at least 3 items"):
            Appearance.of(features, bandwidth=bandwidth)


def striped(count: int, seed: int) -> np.ndarray:
    """Pictures of bars at a few angles, each a little moved and noisy; the angle goes with the number."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:24, :24]
    images = []
    for number in range(count):
        angle, phase = number % 4 * math.pi / 4, rng.uniform(0, 0.5)
        wave = np.sin((down * math.sin(angle) + across * math.cos(angle)) / 1.5 + phase) * 90 + 128
        images.append(np.clip(wave + rng.normal(0, 12, (24, 24)), 0, 255))
    return np.repeat(np.array(images, dtype=np.uint8)[..., None], 3, axis=3)


def test_pictures_that_look_alike_are_each_others_positives() -> None:
    images = striped(120, seed=0)
    look = look_of(images, np.arange(80))
    assert look.shape == (120, COMPONENTS)
    q = Appearance.of(look, reference=torch.arange(80)).targets(torch.arange(80, 120)).matrix()
    alike = torch.arange(40) % 4
    assert q[alike[:, None] == alike].sum() / 40 > 0.9


def test_components_are_those_of_the_training_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images = striped(60, seed=1)
    others = images.copy()
    others[40:] = striped(20, seed=2)
    one, other = (look_of(each, np.arange(40)) for each in (images, others))
    assert torch.equal(one[:40], other[:40])
    assert not torch.equal(one[40:], other[40:])
    monkeypatch.setattr("mscon.data.look.TOGETHER", 7)
    torch.testing.assert_close(look_of(images, np.arange(40)), one)
