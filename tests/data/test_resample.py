"""Laws of a view's arithmetic: the equations as written, each single change, and no dependence on the batch."""

from dataclasses import replace
from math import cos, sin, tau

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from images import colours, photographs
from mscon.data import resample
from mscon.data.resample import IMAGENET_MEAN, IMAGENET_STD, ViewParameters, apply_views, normalize

LUMINANCE = torch.tensor([0.299, 0.587, 0.114])


def noise(n: int, height: int, width: int) -> Tensor:
    """The hardest images: neighbours differ by up to 255, and any change of colour meets the bounds."""
    shape = (n, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def identity(n: int) -> ViewParameters:
    """Parameters that leave n images as they are."""
    box, one = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(n, 1), torch.ones(n)
    return ViewParameters(box, torch.zeros(n, dtype=torch.bool), one, one, one, torch.zeros(n))


def wild(n: int) -> ViewParameters:
    """Parameters far beyond what settings draw by default, with boxes in every corner and of the whole image."""
    u = torch.rand(9, n, generator=torch.Generator().manual_seed(2))
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    side = 0.05 + 0.95 * u[:2].T
    place = u[2:4].T.clone()
    place[: len(corners)] = corners[:n]
    box = torch.cat([place * (1 - side), side], dim=1)
    box[-1] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    return ViewParameters(
        box=box, flip=u[4] < 0.5, brightness=2 * u[5], contrast=2 * u[6], saturation=2 * u[7], hue=u[8] - 0.5
    )


def textbook(image: Tensor, parameters: ViewParameters, size: int) -> Tensor:
    """One view in float64: a tent around every sampled position, then brightness, contrast, saturation, hue in YIQ."""
    left, top, width, height = parameters.box[0].double()
    steps = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    x = left + width * (steps.flip(0) if parameters.flip else steps)

    def tents(position: Tensor, pixels: int) -> Tensor:
        inside = (position * pixels - 0.5).clamp(0, pixels - 1)
        return (1 - (inside[:, None] - torch.arange(pixels)).abs()).clamp(min=0)

    _, h, w = image.shape
    view = tents(top + height * steps, h) @ image.double() @ tents(x, w).T

    to_yiq = [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
    to_yiq = torch.tensor(to_yiq, dtype=torch.float64)
    names = ("brightness", "contrast", "saturation", "hue")
    brightness, contrast, saturation, hue = (float(getattr(parameters, name)) for name in names)
    y, i, q = brightness * torch.einsum("dc,cyx->dyx", to_yiq, view)
    y, i, q = y.mean() + contrast * (y - y.mean()), contrast * i, contrast * q
    i, q = saturation * i, saturation * q
    i, q = cos(tau * hue) * i - sin(tau * hue) * q, sin(tau * hue) * i + cos(tau * hue) * q
    view = torch.einsum("cd,dyx->cyx", to_yiq.inverse(), torch.stack([y, i, q])).clamp(0, 255)
    mean, std = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (view / 255 - mean) / std


def recoloured(images: Tensor, **factors: float) -> Tensor:
    """The images in [0, 1] after one change of colour, the same for all."""
    changes = {name: torch.full((len(images),), value) for name, value in factors.items()}
    return colours(apply_views(images, replace(identity(len(images)), **changes)))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(64, 64, 64), (37, 53, 41), (60, 20, 7), (5, 9, 33), (1, 1, 5), (1, 8, 3), (7, 3, 1), (112, 112, 224)],
)
def test_a_view_is_the_textbooks(height: int, width: int, size: int):
    images, parameters = noise(12, height, width), wild(12)
    expected = torch.stack([textbook(images[i], parameters[i : i + 1], size) for i in range(12)])
    # Positions in [−1, 1] are rounded twice to 6e-8, which is 6e-8 · side pixels; noise as steep as 255 per pixel,
    # colours up to 8 times as strong and a std of 0.22 · 255 make 36 times that of it.
    atol = 2e-6 * (1 + max(height, width))
    torch.testing.assert_close(apply_views(images, parameters, size=size).double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("size", [15, 21])
def test_a_view_does_not_depend_on_its_batch(size: int):
    images, parameters = noise(12, 15, 15), wild(12)
    for name in ("brightness", "contrast", "saturation", "hue"):  # every third keeps its colours, and some their pixels
        getattr(parameters, name)[::3] = 0.0 if name == "hue" else 1.0
    parameters.box[::2] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    together = apply_views(images, parameters, size=size)
    for some in (slice(0, 1), slice(1, 2), slice(2, 7), slice(6, 7), slice(9, 12)):
        assert torch.equal(apply_views(images[some], parameters[some], size=size), together[some])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    assert torch.equal(apply_views(images[order], parameters[order], size=size), together[order])


def test_views_do_not_depend_on_threads_or_on_how_many_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch):
    images, parameters = noise(12, 33, 29), wild(12)
    before, expected = torch.get_num_threads(), apply_views(images, parameters)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for cached in (1, 10_000, 2**30):
                monkeypatch.setattr(resample, "_CACHED", cached)
                assert torch.equal(apply_views(images, parameters), expected)
                assert torch.equal(normalize(images), torch.cat([normalize(image[None]) for image in images]))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("n", "entries"), [(4, 6), (4, 2), (0, 3)])
def test_parameters_that_do_not_fit_the_images_are_refused(n: int, entries: int):
    with pytest.raises(ValueError, match=f"parameters of {entries} views for {n} images"):
        apply_views(noise(n, 8, 8), identity(entries))


@pytest.mark.parametrize("parameters", [identity(6), wild(6)], ids=["identity", "wild"])
def test_the_images_layout_changes_nothing(parameters: ViewParameters):
    images = noise(6, 18, 22)
    padded = torch.zeros(12, 4, 20, 44, dtype=torch.uint8)
    padded[::2, 1:, 1:19, ::2] = images
    expected = apply_views(images, parameters, size=18)
    for same in (
        images.contiguous(memory_format=torch.channels_last),
        padded[::2, 1:, 1:19, ::2],
        images.mT.clone().mT,
    ):
        views = apply_views(same, parameters, size=18)
        assert torch.equal(views, expected)
        assert views.permute(0, 2, 3, 1).is_contiguous()
        assert torch.equal(normalize(same), normalize(images))


def test_a_mirrored_view_is_the_mirror_of_the_view_bit_for_bit():
    images, still = noise(12, 31, 17), replace(wild(12), flip=torch.zeros(12, dtype=torch.bool))
    for name in ("brightness", "contrast", "saturation"):
        getattr(still, name).fill_(1)
    still.hue.zero_()
    mirrored = replace(still, flip=torch.ones(12, dtype=torch.bool))
    assert torch.equal(apply_views(images, mirrored, size=20), apply_views(images, still, size=20).flip(-1))


def test_normalize_is_the_formula():
    images = photographs()
    expected = tv.normalize(images / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    torch.testing.assert_close(normalize(images), expected, rtol=0, atol=2e-6)


def test_a_crop_onto_whole_pixels_is_that_part_of_the_image():
    images = photographs(2, 24, 24)
    box = torch.tensor([[6, 12, 8, 8], [0, 0, 8, 8]]) / 24
    views = apply_views(images, replace(identity(2), box=box), size=8)
    expected = torch.stack([images[0, :, 12:20, 6:14], images[1, :, 0:8, 0:8]])
    torch.testing.assert_close(views, normalize(expected), rtol=0, atol=1e-4)


def test_a_crop_is_torchvisions_bilinear_resized_crop():
    images = photographs(1, 24, 30)
    box = torch.tensor([[6 / 30, 5 / 24, 15 / 30, 12 / 24]])
    views = apply_views(images, replace(identity(1), box=box), size=20)
    # torchvision cuts first and cannot see past the cut, so the outermost pixels differ.
    expected = tv.resized_crop(images.float(), 5, 6, 12, 15, [20, 20], antialias=False)
    torch.testing.assert_close(colours(views)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1] / 255, rtol=0, atol=1e-5)


def test_an_enlarged_whole_image_repeats_its_edge():
    images = torch.full((1, 3, 4, 4), 200, dtype=torch.uint8)
    views = apply_views(images, identity(1), size=32)
    torch.testing.assert_close(views, normalize(images)[:, :, :1, :1].expand(1, 3, 32, 32), rtol=0, atol=1e-5)


def test_brightness_multiplies():
    images = photographs()
    torch.testing.assert_close(recoloured(images, brightness=1.3), images / 255 * 1.3, rtol=0, atol=1e-5)


def test_colours_are_clamped_as_torchvision_does():
    images = photographs()
    views = recoloured(images, brightness=2.5)
    torch.testing.assert_close(views, tv.adjust_brightness(images / 255, 2.5), rtol=0, atol=1e-5)
    assert (views == views.max()).sum() > 100, "nothing was clamped"


@pytest.mark.parametrize("change", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.0, 0.7, 1.2])
def test_a_change_of_colour_is_torchvisions(change: str, factor: float):
    images = photographs()
    expected = getattr(tv, f"adjust_{change}")(images / 255, factor)
    # torchvision's luminance has 0.2989 for 0.299, so its weights miss 1 by 1e-4
    torch.testing.assert_close(recoloured(images, **{change: factor}), expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("change", [{"saturation": 0.3}, {"saturation": 1.3}, {"hue": 0.1}, {"hue": 0.5}])
def test_saturation_and_hue_keep_the_luminance(change: dict[str, float]):
    images = photographs() // 2 + 60  # pale enough that no hue leaves [0, 255]
    views = recoloured(images, **change)
    assert (views - images / 255).abs().max() > 0.01
    expected = torch.einsum("nchw,c->nhw", images / 255, LUMINANCE)
    torch.testing.assert_close(torch.einsum("nchw,c->nhw", views, LUMINANCE), expected, rtol=0, atol=1e-5)


def test_a_whole_turn_of_hue_is_none_and_half_a_turn_mirrors_the_chroma():
    images = photographs() // 2 + 60
    pixels = images / 255
    grey = torch.einsum("nchw,c->nhw", pixels, LUMINANCE)[:, None]
    torch.testing.assert_close(recoloured(images, hue=1.0), pixels, rtol=0, atol=1e-5)
    torch.testing.assert_close(recoloured(images, hue=0.5), 2 * grey - pixels, rtol=0, atol=1e-5)


def test_grey_images_keep_their_grey_under_hue_and_saturation():
    images = photographs()[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(recoloured(images, hue=0.3, saturation=1.7), images / 255, rtol=0, atol=1e-5)


def test_contrast_keeps_the_mean_of_each_view_and_not_of_its_batch():
    images = photographs()
    views = recoloured(images, contrast=0.6)
    means = [torch.einsum("nchw,c->nhw", x, LUMINANCE).mean((1, 2)) for x in (views, images / 255)]
    torch.testing.assert_close(means[0], means[1], rtol=0, atol=1e-5)
