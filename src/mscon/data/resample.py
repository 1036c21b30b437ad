"""The arithmetic of views: one resampling and one colour matrix per image, written normalised for the encoder."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import tau

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class ViewParameters:
    """What exactly is done in each of n views: all the chance in them, drawn beforehand; tensors on the CPU."""

    box: Float[Tensor, "n 4"]  # the crop's left, top, width and height as shares of the image's width and height
    flip: Bool[Tensor, " n"]
    brightness: Float[Tensor, " n"]  # factors, 1 = as it is
    contrast: Float[Tensor, " n"]
    saturation: Float[Tensor, " n"]
    hue: Float[Tensor, " n"]  # shares of the colour circle, 0 = as it is

    def __getitem__(self, rows: Int[Tensor, " m"] | slice) -> "ViewParameters":
        """Those of some views, in the order asked for."""
        return ViewParameters(*(getattr(self, field.name)[rows] for field in fields(self)))


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

    *Exactness.* A box of the whole image at the views' size leaves the pixels as they are, and factors of 1 with a hue
    of 0 leave the colours, both to the last bit. Elsewhere float32 rounds: positions to 6e-8 of the image's side. On a
    CPU a view is the same, to the last bit, whichever others are made with it and on however many threads.

    **Arguments:**

    - `images`: uint8, of any memory layout, on any device. n may be 0.
    - `parameters`: of one view per image.
    - `size`: the views' side in pixels; left out, the images' height.

    **Returns:**

    Float32 also under autocast, channels_last, on the images' device.

    **Raises:**

    - `ValueError`: there are not as many parameters as images.
    """
    n = len(images)
    if len(parameters.flip) != n:
        raise ValueError(f"parameters of {len(parameters.flip)} views for {n} images")
    size = images.shape[2] if size is None else size
    views = _empty(images, n, size, size)
    plan = _Plan.of(parameters, whole_fits=images.shape[2:] == (size, size), size=size, device=images.device)
    with torch.autocast(images.device.type, enabled=False):
        for some in _chunks(images, largest=max(size * size, images.shape[2] * images.shape[3])):
            part = plan[some]
            _finish(views[some], _crop(images[some].float(), part), part)
    return views


def normalize(images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """(image / 255 − mean) / std with ImageNet's mean and std; float32, channels_last, on the images' device."""
    n, _, height, width = images.shape
    normalized = _empty(images, n, height, width)
    for some in _chunks(images, largest=height * width):
        _normalize_into(normalized[some], images[some])
    return normalized


def _empty(images: Tensor, n: int, height: int, width: int) -> Tensor:
    """Room for n channels_last images; `torch.empty`'s memory_format would leave images of one pixel contiguous."""
    return images.new_empty((n, height, width, 3), dtype=torch.float32).permute(0, 3, 1, 2)


# Floats per thread in each array between input and output, 2 MiB: with fewer the calls themselves cost time, with more
# the arrays leave the caches and the system hands out and clears new pages for them in every call.
_CACHED = 2**19


def _chunks(images: Tensor, *, largest: int) -> Iterator[slice]:
    """Rows to work on at a time: on a CPU some, elsewhere all. `largest`: pixels of an image or a view."""
    n = len(images)
    length = torch.get_num_threads() * -(-_CACHED // (3 * largest)) if images.device.type == "cpu" and n else n
    return (slice(start, min(start + length, n)) for start in range(0, n, length or 1))


_WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])
_TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float64
)
_TURN_IQ = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
_LUMA = _TO_YIQ[0].expand(3, 3)  # x to Y(x) in all three channels
_CHROMA = torch.eye(3, dtype=torch.float64) - _LUMA  # x to x − Y(x)
_QUARTER_TURN = _TO_YIQ.inverse() @ _TURN_IQ @ _TO_YIQ  # the chroma turned by 90 degrees
_MEAN = 255 * torch.tensor(IMAGENET_MEAN, dtype=torch.float64)
_STD = 255 * torch.tensor(IMAGENET_STD, dtype=torch.float64)
_BLACK, _WHITE = (((value - _MEAN) / _STD).float() for value in (0, 255))  # normalised
_BOUNDS = list(zip(_BLACK.tolist(), _WHITE.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Plan:
    """Parameters made ready: a view's sampling positions, and its colour change with `normalize` folded in."""

    whole: Tensor  # no resampling, on the CPU
    flip: Tensor  # on the CPU
    x: Tensor  # (n, size) positions in the image's width, which is [−1, 1]
    y: Tensor
    kept: Tensor  # no change of colour, on the CPU
    matrix: Tensor  # (n, 3, 3)
    pull: Tensor  # (n, 3, 3): what of the mean colour is added

    @classmethod
    def of(cls, p: ViewParameters, *, whole_fits: bool, size: int, device: torch.device) -> "_Plan":
        left, top, width, height = p.box.double()[:, :, None].unbind(1)
        centres = torch.arange(1 - size, size, 2, dtype=torch.float64) / size
        x = 2 * left + width - 1 + torch.where(p.flip[:, None], -width, width) * centres
        y = 2 * top + height - 1 + height * centres
        b, c, s, hue = (each.double()[:, None, None] for each in (p.brightness, p.contrast, p.saturation, p.hue))
        turned = (tau * hue).cos() * _CHROMA + (tau * hue).sin() * _QUARTER_TURN
        matrix = b * c * (_LUMA + s * turned) / _STD[:, None]
        pull = b * (1 - c) * _LUMA / _STD[:, None]
        return cls(
            whole=(p.box == _WHOLE).all(1) & whole_fits,
            flip=p.flip,
            x=x.float().to(device),
            y=y.float().to(device),
            kept=(p.brightness == 1) & (p.contrast == 1) & (p.saturation == 1) & (p.hue == 0),
            matrix=matrix.float().to(device),
            pull=pull.float().to(device),
        )

    def __getitem__(self, rows: slice) -> "_Plan":
        return _Plan(*(getattr(self, field.name)[rows] for field in fields(self)))


def _crop(pixels: Tensor, plan: _Plan) -> Tensor:
    """(n, 3, size, size) in [0, 255]."""
    if not plan.whole.any():
        return _sample(pixels, plan)
    # Sampling the whole would round: its pixels are copied.
    mirrored = torch.where(plan.flip.to(pixels.device)[:, None, None, None], pixels.flip(-1), pixels)
    if plan.whole.all():
        return mirrored
    return torch.where(plan.whole.to(pixels.device)[:, None, None, None], mirrored, _sample(pixels, plan))


def _sample(pixels: Tensor, plan: _Plan) -> Tensor:
    n, size = plan.x.shape
    grid = pixels.new_empty(n, 2, size, size)  # x apart from y, as whole rows are written faster than pairs
    grid[:, 0] = plan.x[:, None, :]
    grid[:, 1] = plan.y[:, :, None]
    grid = grid.permute(0, 2, 3, 1)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _finish(views: Tensor, pixels: Tensor, plan: _Plan) -> None:
    """Writes the pixels into `views`, recoloured and normalised."""
    if not plan.kept.any():
        views.copy_(_recolour(pixels, plan))
        return
    _normalize_into(views, pixels)
    if not plan.kept.all():
        changed = (~plan.kept).to(views.device)
        views[changed] = _recolour(pixels, plan)[changed]


def _recolour(pixels: Tensor, plan: _Plan) -> Tensor:
    planes = pixels.flatten(2).contiguous()  # the product is far slower where a pixel's three values are neighbours
    shift = _BLACK.to(planes.device) + (plan.pull * planes.mean(2)[:, None]).sum(2)
    planes = torch.baddbmm(shift[:, :, None], plan.matrix, planes)
    for channel, bounds in zip(planes.unbind(1), _BOUNDS, strict=True):
        channel.clamp_(*bounds)
    return planes.view(pixels.shape)


def _normalize_into(normalized: Tensor, pixels: Tensor) -> None:
    """In two steps, each rounded once, so that no processor's fused multiply-add makes a difference."""
    normalized.copy_(pixels)
    rows = normalized.permute(0, 2, 3, 1).flatten(2)  # R G B R G B …
    mean, factor = (each.float().to(rows.device).repeat(normalized.shape[3]) for each in (_MEAN, 1 / _STD))
    rows.sub_(mean).mul_(factor)
