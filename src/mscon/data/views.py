"""Views: randomly cropped, flipped and recoloured copies of a batch of images, made all at once on its device."""

from collections.abc import Iterable
from math import log
from typing import Annotated

import torch
from jaxtyping import Float, UInt8
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from mscon.data.resample import IMAGENET_MEAN, IMAGENET_STD, ViewParameters, apply_views, normalize

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ViewParameters",
    "ViewSettings",
    "apply_views",
    "augment",
    "draw_views",
    "normalize",
]

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


def augment(
    images: UInt8[Tensor, "n 3 h w"],
    settings: ViewSettings,
    *,
    generator: torch.Generator,
    size: int | None = None,
) -> Float[Tensor, "n 3 s s"]:
    """A random view of each image, normalised for the encoder: `apply_views` under parameters from `draw_views`.

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
