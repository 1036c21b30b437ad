"""Appearance: its equation as written, what it refuses, and what of a picture its features keep."""

import math
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mscon import Appearance
from mscon.contrast import blocks, contrastive_loss
from mscon.data.appearance import COMPONENTS, appearance_features, kept_appearance_features
from mscon.data.cache import Pixels, load_pixels
from mscon.data.catalog import Catalog
from mscon.data.classical import classical_features
from mscon.data.eviction import make_room
from mscon.errors import UserError

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


def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which the components are found in no time."""
    monkeypatch.setattr("mscon.data.appearance.COMPONENTS", 24)
    monkeypatch.setattr("mscon.data.appearance.classical_features", lambda images: classical_features(images)[:, :40])


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pixels:
    few_features(monkeypatch)
    files: list[bytes] = []
    for image in striped(40, seed=3):
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append(file.getvalue())
    catalog = Catalog(pl.DataFrame({"image": files}), "image", "/", "stripes")
    return load_pixels(catalog, size=32, folder=tmp_path)


def made(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """How often features are made from pictures from now on."""
    making = Mock(side_effect=appearance_features)
    monkeypatch.setattr("mscon.data.appearance.appearance_features", making)
    return making


def test_features_are_made_once_for_the_same_pictures_and_training_items(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, train = made(monkeypatch), np.arange(30)
    first = kept_appearance_features(pixels, train)
    assert torch.equal(first, appearance_features(pixels.array, train))
    assert torch.equal(kept_appearance_features(pixels, train), first)
    assert making.call_count == 1
    (home,) = tmp_path.iterdir()
    assert not list(home.glob("*.partial"))
    for others in (np.arange(1, 31), np.arange(29), train[::-1].copy()):
        assert torch.equal(kept_appearance_features(pixels, others), appearance_features(pixels.array, others))
    assert making.call_count == 4


@pytest.mark.parametrize("place", [0, 5, 32, 1000, -1, "cut", "empty", "longer"])
def test_features_that_are_damaged_are_made_anew(
    place: int | str, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = np.arange(30)
    first = kept_appearance_features(pixels, train)
    (kept,) = tmp_path.glob("*/appearance.bin")
    stored = bytearray(kept.read_bytes())
    if isinstance(place, int):
        stored[place] ^= 1
    else:
        stored = {"cut": stored[:-4], "empty": bytearray(), "longer": stored + b"1234"}[place]
    kept.write_bytes(stored)
    making = made(monkeypatch)
    for _ in range(2):
        assert torch.equal(kept_appearance_features(pixels, train), first)
    assert making.call_count == 1


def test_features_count_into_the_size_of_the_caches_and_are_not_kept_where_there_is_no_room(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, train, taken = made(monkeypatch), np.arange(30), 40 * 32 * 32 * 3
    monkeypatch.setenv("MSCON_CACHE_GB", str((taken + 2000) / 1e9))  # no room for 40 × 24 × 4 bytes
    assert torch.equal(kept_appearance_features(pixels, train), kept_appearance_features(pixels, train))
    assert making.call_count == 2
    assert not list(tmp_path.glob("*/appearance.bin"))
    monkeypatch.setenv("MSCON_CACHE_GB", str((taken + 8000) / 1e9))
    kept_appearance_features(pixels, train)
    assert list(tmp_path.glob("*/appearance.bin"))
    with pytest.raises(UserError, match="are in use"):
        make_room(tmp_path, 4500)


def test_without_a_cache_features_are_made_of_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    few_features(monkeypatch)
    images, making = striped(20, seed=4), made(monkeypatch)
    without = Pixels(images, np.arange(20), ())
    assert torch.equal(kept_appearance_features(without, np.arange(9)), appearance_features(images, np.arange(9)))
    assert making.call_count == 1
