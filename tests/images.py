"""Images for tests of views."""

import torch
from torch import Tensor

from mscon.data.resample import IMAGENET_MEAN, IMAGENET_STD


def photographs(n: int = 6, height: int = 24, width: int = 24) -> Tensor:
    """Smooth colour images with every value far enough from 0 and 255 to stay inside under small changes."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (60 + 110 * fine).round().to(torch.uint8).contiguous(memory_format=torch.channels_last)


def colours(views: Tensor) -> Tensor:
    """Normalised views back in [0, 1]."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return views * std + mean
