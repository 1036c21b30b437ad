"""Laws of random views: what settings that change nothing give, what is drawn, and the weakest settings."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from images import colours, photographs
from mscon.data.views import ViewSettings, augment, draw_views, normalize

OFF = ViewSettings(scale=(1.0, 1.0), flip=0.0, brightness=0.0, contrast=0.0)
STRONG = ViewSettings(
    scale=(0.2, 1.0), ratio=(0.5, 2.0), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, grey=0.2
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_settings_that_change_nothing_give_the_normalised_images_bit_for_bit():
    images = photographs()
    assert torch.equal(augment(images, OFF, generator=seeded(0)), normalize(images))
    assert torch.equal(augment(images.contiguous(), OFF, generator=seeded(0)), normalize(images))


@pytest.mark.parametrize("strong", [OFF, STRONG], ids=["off", "strong"])
def test_views_are_float32_and_channels_last_whatever_the_images_layout(strong: ViewSettings):
    images = photographs()
    views = [augment(x, strong, generator=seeded(0)) for x in (images, images.contiguous())]
    for view in views:
        assert view.dtype == torch.float32
        assert view.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(views[0], views[1], rtol=0, atol=1e-5)


def test_autocast_changes_nothing():
    images = photographs()
    expected = augment(images, STRONG, generator=seeded(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(images, STRONG, generator=seeded(0)), expected)


def test_a_flip_of_probability_one_mirrors_every_image():
    images = photographs()
    views = augment(images, OFF.model_copy(update={"flip": 1.0}), generator=seeded(0))
    assert torch.equal(views, normalize(images.flip(-1)))


def test_a_grey_of_probability_one_drops_all_colour():
    views = colours(augment(photographs(), OFF.model_copy(update={"grey": 1.0}), generator=seeded(0)))
    torch.testing.assert_close(views, views[:, :1].expand_as(views), rtol=0, atol=1e-5)


def test_one_seed_gives_the_same_bits_and_another_gives_others():
    images = photographs()
    views = [augment(images, STRONG, generator=seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_the_generator_moves_on_alike_under_all_settings():
    off, strong = seeded(0), seeded(0)
    augment(photographs(), OFF, generator=off)
    augment(photographs(), STRONG, generator=strong)
    assert torch.equal(off.get_state(), strong.get_state())


def test_equal_images_get_different_views():
    images = photographs(1).expand(16, -1, -1, -1)
    views = augment(images, STRONG, generator=seeded(0))
    distance = torch.cdist(views.flatten(1), views.flatten(1)) + 1e3 * torch.eye(16)
    assert distance.min() > 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_device_makes_the_same_views():
    images = photographs()
    views = [augment(images.to(device), STRONG, generator=seeded(0)).cpu() for device in ("cpu", "cuda")]
    torch.testing.assert_close(views[0], views[1], rtol=0, atol=5e-3)


@pytest.mark.parametrize("strong", [OFF, STRONG], ids=["off", "strong"])
@pytest.mark.parametrize("size", [None, 8])
def test_no_images_give_no_views(strong: ViewSettings, size: int | None):
    images = torch.zeros(0, 3, 16, 16, dtype=torch.uint8)
    assert augment(images, strong, generator=seeded(0), size=size).shape == (0, 3, size or 16, size or 16)


def test_an_image_of_one_pixel_keeps_its_colour_under_any_crop():
    images = torch.tensor([10, 120, 250], dtype=torch.uint8).view(1, 3, 1, 1)
    crop = OFF.model_copy(update={"scale": (0.1, 0.5), "flip": 0.5})
    views = augment(images, crop, generator=seeded(0), size=5)
    torch.testing.assert_close(views, normalize(images).expand(1, 3, 5, 5), rtol=0, atol=1e-5)


boxes = st.builds(
    lambda low, width, narrow, wide: ViewSettings(scale=(low, low + width * (1 - low)), ratio=(narrow, wide)),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.floats(0.1, 1),
    st.floats(1, 10),
)


@given(boxes, st.floats(0.2, 5), st.integers(0, 1000))
@settings(deadline=None)
def test_the_crop_stays_inside_the_image(drawn: ViewSettings, aspect: float, seed: int):
    left, top, width, height = draw_views(32, drawn, aspect=aspect, generator=seeded(seed)).box.unbind(1)
    assert min(left.min(), top.min()) >= 0
    assert min(width.min(), height.min()) > 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-6


@given(boxes, st.integers(0, 1000))
@settings(deadline=None)
def test_the_crop_of_a_square_has_the_area_and_ratio_asked_for(drawn: ViewSettings, seed: int):
    _, _, width, height = draw_views(32, drawn, generator=seeded(seed)).box.unbind(1)
    area, ratio = width * height, width / height
    assert area.min() >= drawn.scale[0] - 1e-5
    assert area.max() <= drawn.scale[1] + 1e-5
    assert ratio.min() >= drawn.ratio[0] - 1e-4
    assert ratio.max() <= drawn.ratio[1] + 1e-4


def test_the_crops_of_many_images_spread_over_all_that_is_asked_for():
    drawn = ViewSettings(scale=(0.2, 0.4), ratio=(0.5, 2.0))
    left, top, width, height = draw_views(5000, drawn, generator=seeded(0)).box.unbind(1)
    uniforms = {
        "area": (width * height - 0.2) / 0.2,
        "ratio": (width / height).log() / torch.tensor(4.0).log() + 0.5,
        "left": left / (1 - width),
        "top": top / (1 - height),
    }
    for name, uniform in uniforms.items():
        deciles = torch.quantile(uniform, torch.arange(1, 10) / 10)
        torch.testing.assert_close(deciles, torch.arange(1, 10) / 10, rtol=0, atol=0.03, msg=f"{name} is not uniform")


def test_an_image_too_long_for_any_ratio_asked_for_gets_the_largest_crop_of_the_nearest():
    drawn = ViewSettings(scale=(1.0, 1.0), ratio=(1.0, 1.0))
    box = draw_views(8, drawn, aspect=4.0, generator=seeded(0)).box
    torch.testing.assert_close(box[:, 2:], torch.tensor([[0.25, 1.0]]).expand(8, 2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 0.4)},
        {"scale": (0.5, 1.1)},
        {"ratio": (1.1, 1.2)},
        {"ratio": (0.0, 1.2)},
        {"ratio": (0.5, float("inf"))},
        {"flip": 1.5},
        {"brightness": -0.1},
        {"hue": 0.6},
        {"grey": float("nan")},
        {"blur": 0.1},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ViewSettings.model_validate(wrong)


def test_settings_survive_json():
    assert ViewSettings.model_validate_json(STRONG.model_dump_json()) == STRONG


unit = st.floats(0, 1)
any_settings = st.builds(
    lambda crop, flip, b, c, s, hue, grey: ViewSettings(
        scale=crop.scale, ratio=crop.ratio, flip=flip, brightness=b, contrast=c, saturation=s, hue=hue / 2, grey=grey
    ),
    boxes,
    *[unit] * 6,
)


@given(any_settings, any_settings)
@settings(deadline=None)
def test_the_weakest_is_no_stronger_than_any_and_made_of_their_values(one: ViewSettings, other: ViewSettings):
    weakest = one.weakest([other])
    assert weakest == other.weakest([one])
    assert weakest.weakest([one, other]) == weakest
    for each in (one, other):
        assert weakest.scale[0] >= each.scale[0]
        assert weakest.scale[1] >= each.scale[1]
        assert weakest.ratio[0] >= each.ratio[0]
        assert weakest.ratio[1] <= each.ratio[1]
        for name in ("flip", "brightness", "contrast", "saturation", "hue", "grey"):
            assert getattr(weakest, name) <= getattr(each, name)
            assert getattr(weakest, name) in (getattr(one, name), getattr(other, name))


def test_settings_alone_are_their_own_weakest():
    assert STRONG.weakest([]) == STRONG
    assert STRONG.weakest([OFF]) == OFF.model_copy(update={"ratio": (0.87, 1.15)})
