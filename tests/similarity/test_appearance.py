"""Appearance: its equation as written, what it refuses, and what of a picture its features keep."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon import Appearance
from mscon.contrast import blocks, contrastive_loss
from mscon.data.appearance import COMPONENTS, appearance_features
from mscon.data.classical import classical_features

FEATURES = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def as_written(z: Tensor, items: list[int], temperature: float) -> list[float]:
    """−log of the softmax over the batch's items, anchor by anchor in plain Python."""
    names = sorted({item for item in items if item >= 0})
    losses: list[float] = []
    for row, item in enumerate(items):
        if item < 0 or len(names) < 2:
            losses.append(0.0)
            continue
        scores = {
            name: float(torch.nn.functional.cosine_similarity(z[row], FEATURES[name], dim=0)) / temperature
            for name in names
        }
        losses.append(math.log(sum(math.exp(score) for score in scores.values())) - scores[item])
    return losses


@given(items=st.lists(st.integers(-1, 12), max_size=20), temperature=st.sampled_from([0.05, 0.5]))
@settings(deadline=None, max_examples=50)
def test_the_loss_is_the_equation_as_written(items: list[int], temperature: float) -> None:
    z = torch.randn(len(items), 6, generator=torch.Generator().manual_seed(len(items)), dtype=torch.float64)
    targets = Appearance(FEATURES).targets(torch.tensor(items, dtype=torch.int64))
    found = contrastive_loss(z, targets, temperature=temperature)
    wanted = torch.tensor(as_written(z, items, temperature), dtype=torch.float64)
    torch.testing.assert_close(found.loss, wanted, rtol=1e-9, atol=1e-9)
    known = len({item for item in items if item >= 0})
    assert found.anchors.tolist() == [item >= 0 and known > 1 for item in items]
    assert not found.floor.any()
    assert set(found.chance[found.anchors].tolist()) <= {math.log(max(1, known))}


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    items = torch.arange(40).repeat(2)
    results: list[tuple[Tensor, Tensor]] = []
    for tile in (2**20, 120):
        monkeypatch.setattr(blocks, "BLOCK_NUMBERS", tile)
        z = torch.randn(80, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
        loss = contrastive_loss(z, Appearance(FEATURES).targets(items)).loss
        (loss * torch.arange(80)).sum().backward()
        assert z.grad is not None
        results.append((loss.detach(), z.grad))
    torch.testing.assert_close(*results)


def test_projections_that_are_the_features_have_the_least_loss() -> None:
    items, similarity = torch.arange(40), Appearance(FEATURES)
    own = contrastive_loss(FEATURES, similarity.targets(items), temperature=0.02).mean
    other = contrastive_loss(FEATURES.roll(1, 0), similarity.targets(items), temperature=0.02).mean
    assert own < 0.01 < math.log(40) < other


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="features must be finite"):
        Appearance(torch.tensor([[1.0, math.nan]]))
    with pytest.raises(ValueError, match="item 3 has no features: there are those of 3 items"):
        Appearance(torch.eye(3)).targets(torch.tensor([0, 3, -1]))
    with pytest.raises(ValueError, match="projections of 4 numbers and features of 3: they must be as wide"):
        contrastive_loss(torch.randn(3, 4), Appearance(torch.eye(3)).targets(torch.arange(3)))


def striped(count: int, seed: int) -> np.ndarray:
    """Pictures of stripes at four angles, at any phase, with some noise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:32, :32]
    images: list[Any] = []
    for number in range(count):
        angle = math.pi * (number % 4) / 4
        wave = np.sin((down * math.sin(angle) + across * math.cos(angle)) / 2 + rng.uniform(0, 6))
        images.append(128 + 80 * wave[..., None] + 20 * rng.standard_normal((32, 32, 3)))
    return np.clip(images, 0, 255).astype(np.uint8)


def test_pictures_that_look_alike_are_near() -> None:
    look = torch.nn.functional.normalize(appearance_features(striped(400, seed=0), np.arange(300)), dim=1)
    assert look.shape == (400, COMPONENTS)
    nearest = (look[300:] @ look[:300].T).argmax(dim=1)
    assert (nearest % 4 == torch.arange(300, 400) % 4).double().mean() > 0.95


def test_components_count_by_their_standard_deviation() -> None:
    images = striped(600, seed=0)
    look = appearance_features(images, np.arange(600)).double()
    features = classical_features(images).double()
    variance = torch.linalg.eigvalsh((features - features.mean(0)).T @ (features - features.mean(0)) / 600).flip(0)
    torch.testing.assert_close(look.square().mean(0), variance[:COMPONENTS].sqrt(), rtol=1e-3, atol=1e-6)


def test_components_are_those_of_the_training_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images = striped(60, seed=1)
    others = images.copy()
    others[40:] = striped(20, seed=2)
    one, other = (appearance_features(each, np.arange(40)) for each in (images, others))
    assert torch.equal(one[:40], other[:40])
    assert not torch.equal(one[40:], other[40:])
    assert one.isfinite().all(), "40 images have fewer components"
    assert not one[:, 40:].any()
    monkeypatch.setattr("mscon.data.appearance.TOGETHER", 7)
    torch.testing.assert_close(appearance_features(images, np.arange(40)), one)
