"""Views: randomly cropped, flipped and recoloured copies of a batch of images, made all at once on its device."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import log, tau
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_Unit = Annotated[float, Field(ge=0, le=1)]


class ViewSettings(BaseModel):
    """How strongly views differ from their image; strengths of 0 and a `scale` of (1, 1) leave it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scale: tuple[float, float] = Field(
        default=(0.7, 1.0),
        description="Area of the random crop as a share of the image's: smallest and largest, in (0, 1].",
    )
    ratio: tuple[float, float] = Field(
        default=(0.87, 1.15),
        description="Width / height of the random crop: smallest (at most 1) and largest (at least 1).",
    )
    flip: _Unit = Field(
        default=0.5,
        description="Probability of mirroring left and right. 0 where left and right matter, as in letters.",
    )
    brightness: _Unit = Field(default=0.1, description="Colours are multiplied by a factor in [1 - this, 1 + this].")
    contrast: _Unit = Field(
        default=0.1,
        description="Distances from the image's mean grey are multiplied by a factor in [1 - this, 1 + this].",
    )
    saturation: _Unit = Field(
        default=0.0, description="Distances from grey are multiplied by a factor in [1 - this, 1 + this]."
    )
    hue: float = Field(
        default=0.0, ge=0, le=0.5, description="Hues turn by up to this share of the colour circle, either way."
    )
    grey: _Unit = Field(default=0.0, description="Probability of dropping all colour.")

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be two areas with 0 < smallest <= largest <= 1, not {scale}")
        return scale

    @field_validator("ratio")
    @classmethod
    def _check_ratio(cls, ratio: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ratio[0] <= 1 <= ratio[1]:
            raise ValueError(f"ratio must be two numbers with 0 < smallest <= 1 <= largest, not {ratio}")
        return ratio

    def weakest(self, others: Iterable["ViewSettings"]) -> "ViewSettings":
        """The settings that each of these allows: field by field the weakest among this one and the others.

        One set of views serves all similarities, so a view that would destroy one label (brightness, under a
        similarity of lightness) is left out for all.
        """
        each = (self, *others)
        return ViewSettings(
            scale=(max(s.scale[0] for s in each), max(s.scale[1] for s in each)),
            ratio=(max(s.ratio[0] for s in each), min(s.ratio[1] for s in each)),
            flip=min(s.flip for s in each),
            brightness=min(s.brightness for s in each),
            contrast=min(s.contrast for s in each),
            saturation=min(s.saturation for s in each),
            hue=min(s.hue for s in each),
            grey=min(s.grey for s in each),
        )


@dataclass(frozen=True, eq=False)
class ViewParameters:
    """What exactly is done to each of n images: all the chance in a view, drawn beforehand; tensors on the CPU."""

    box: Float[Tensor, "n 4"]  # the crop's left, top, width and height as shares of the image's width and height
    flip: Bool[Tensor, " n"]
    brightness: Float[Tensor, " n"]  # factors, 1 = as it is
    contrast: Float[Tensor, " n"]
    saturation: Float[Tensor, " n"]
    hue: Float[Tensor, " n"]  # shares of the colour circle, 0 = as it is

    @classmethod
    def identity(cls, n: int) -> "ViewParameters":
        """Parameters that leave n images as they are; `dataclasses.replace` changes one of them."""
        one = torch.ones(n)
        return cls(
            torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(n, 1),
            torch.zeros(n, dtype=torch.bool),
            one,
            one,
            one,
            torch.zeros(n),
        )


def augment(
    images: UInt8[Tensor, "n 3 h w"], settings: ViewSettings, *, generator: torch.Generator, size: int | None = None
) -> Float[Tensor, "n 3 s s"]:
    """One random view of each image, normalised for the encoder: `apply_views` under parameters from `draw_views`.

    **Arguments:**

    - `images`: uint8, of any memory layout, on any device.
    - `settings`: the strengths. With all of them at nothing the result is `normalize(images)`, bit for bit.
    - `generator`: a generator on the CPU, from which every number is drawn, so that one seed means the same views on
      every device. It moves on by the same amount under all settings: switching one on leaves the others' draws as
      they were.
    - `size`: the views' side in pixels; left out, the images' height.

    **Returns:**

    Float32, channels_last, on the images' device.
    """
    n, _, height, width = images.shape
    parameters = draw_views(n, settings, aspect=width / height, generator=generator)
    return apply_views(images, parameters, size=size)


def normalize(images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """(image / 255 − mean) / std with ImageNet's mean and std; float32, channels_last, on the images' device."""
    return _normalize(images.float())


def draw_views(n: int, settings: ViewSettings, *, aspect: float = 1.0, generator: torch.Generator) -> ViewParameters:
    """Independent random parameters for n images.

    The crop's area is uniform in `scale`, the logarithm of its width / height uniform in that part of `ratio` at which
    such an area fits into the image, its place uniform over the image. (torchvision's `RandomResizedCrop` draws again
    until the crop fits, which makes large areas rarer than asked for.) Where no ratio fits, which takes an image that
    is not square, the nearest one does and the crop shrinks. The crop never leaves the image.

    **Arguments:**

    - `n`: how many; may be 0.
    - `settings`: the strengths.
    - `aspect`: width / height of the images.
    - `generator`: a generator on the CPU; it gives n × 10 numbers, whatever the settings.
    """
    # uniforms in [0, 1): area, ratio, horizontal and vertical place, flip, grey, brightness, contrast, saturation, hue
    u = torch.rand(n, 10, generator=generator).unbind(1)

    area = settings.scale[0] + (settings.scale[1] - settings.scale[0]) * u[0]
    # r is the ratio over the image's own: width² = area · r and height² = area / r fit where |log r| ≤ −log area.
    lowest, highest = (log(ratio / aspect) for ratio in settings.ratio)
    low, high = area.log().clamp(lowest, highest), (-area.log()).clamp(lowest, highest)
    r = (low + (high - low) * u[1]).exp()
    width, height = (area * r).sqrt(), (area / r).sqrt()
    shrink = torch.maximum(width, height).clamp(min=1)
    width, height = width / shrink, height / shrink

    def factor(strength: float, uniform: Tensor) -> Tensor:
        return 1 + strength * (2 * uniform - 1)

    return ViewParameters(
        box=torch.stack([u[2] * (1 - width), u[3] * (1 - height), width, height], dim=1),
        flip=u[4] < settings.flip,
        brightness=factor(settings.brightness, u[6]),
        contrast=factor(settings.contrast, u[7]),
        saturation=factor(settings.saturation, u[8]).masked_fill(u[5] < settings.grey, 0),
        hue=settings.hue * (2 * u[9] - 1),
    )


def apply_views(
    images: UInt8[Tensor, "n 3 h w"], parameters: ViewParameters, *, size: int | None = None
) -> Float[Tensor, "n 3 s s"]:
    """The views that the parameters describe: an affine resampling and a 3×4 colour matrix per image, then `normalize`.

    *Crop and flip.* The box is stretched to size × size: bilinear, pixel centres at half-integers
    (`align_corners=False`), the image's edge repeated beyond it. Nothing is smoothed before, so a box much larger than
    `size` aliases: keep images at about the views' size.

    *Colour.* For brightness b, contrast c, saturation s, and x a pixel of the cropped image, whose luminance is
    Y(x) = 0.299 R + 0.587 G + 0.114 B and on average m:

        x' = clamp( b·c · (Y(x) + s · rotate(x − Y(x), 2π·hue)) + b·(1 − c)·m )

    `rotate` turns the chroma in the YIQ plane: linear, and it keeps the luminance. (It is not the shift in HSV that
    torchvision takes for hue.) Saturation 0 is greyscale. The steps commute, as saturation and hue
    leave m alone, so that they have no order; colours are clamped to [0, 255] once, after all of them.

    **Arguments:**

    - `images`: uint8, of any memory layout, on any device. n may be 0.
    - `parameters`: one entry per image.
    - `size`: the views' side in pixels; left out, the images' height.

    **Returns:**

    Float32 also under autocast, channels_last, on the images' device.
    """
    with torch.autocast(images.device.type, enabled=False):
        return _normalize(_recolour(_crop(images, parameters, images.shape[2] if size is None else size), parameters))


def _crop(images: Tensor, parameters: ViewParameters, size: int) -> Tensor:
    """(n, 3, size, size) floats in [0, 255]."""
    n = len(images)
    box, flip = parameters.box, parameters.flip
    if n == 0:
        return images.new_empty((0, 3, size, size), dtype=torch.float32)
    if images.shape[2:] == (size, size) and torch.equal(box, ViewParameters.identity(n).box):
        # No resampling, so that the pixels stay what they are to the last bit.
        return torch.where(flip.to(images.device)[:, None, None, None], images.flip(-1), images).float()
    left, top, width, height = box.unbind(1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.where(flip, -width, width)
    theta[:, 0, 2] = 2 * left + width - 1
    theta[:, 1, 1] = height
    theta[:, 1, 2] = 2 * top + height - 1
    grid = F.affine_grid(theta.to(images.device, non_blocking=True), [n, 3, size, size], align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


_TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float64
)
_TURN_IQ = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
_LUMINANCE = _TO_YIQ[0].float()
_LUMA = _LUMINANCE.expand(3, 3)  # x to Y(x) in all three channels
_CHROMA = torch.eye(3) - _LUMA  # x to x − Y(x)
_QUARTER_TURN = (_TO_YIQ.inverse() @ _TURN_IQ @ _TO_YIQ).float()  # the chroma turned by 90 degrees


def _recolour(x: Tensor, parameters: ViewParameters) -> Tensor:
    """(n, 3, s, s) floats in [0, 255] to the same, recoloured."""
    b, c, s, hue = parameters.brightness, parameters.contrast, parameters.saturation, parameters.hue
    if not torch.cat([b - 1, c - 1, s - 1, hue]).any():
        return x
    b, c, s, angle = (p[:, None, None] for p in (b, c, s, tau * hue))
    matrix = b * c * (_LUMA + s * (angle.cos() * _CHROMA + angle.sin() * _QUARTER_TURN))
    matrix, offset = matrix.to(x.device, non_blocking=True), (b * (1 - c)).to(x.device, non_blocking=True)
    pixels = x.flatten(2)
    mean = (pixels.mean(2) @ _LUMINANCE.to(x.device))[:, None, None]
    return torch.baddbmm(offset * mean, matrix, pixels).clamp_(0, 255).view_as(x)


def _normalize(x: Tensor) -> Tensor:
    mean, std = (255 * torch.tensor(v, device=x.device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.addcmul(-mean / std, x.contiguous(memory_format=torch.channels_last), 1 / std)
