"""Rows of unit length, in as few passes over them as the gradient allows."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

SHORTEST = 1e-12
"""Rows shorter than this are divided by it instead, as `torch.nn.functional.normalize` does."""


def unit_rows(z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """u = z / ‖z‖ row by row, half precision raised to float32; a row of zeros stays one.

    A row that is too long for its type, 10¹⁹ in float32, becomes NaN, as one does that holds infinity or NaN.

    The gradient is (g − u (u·g)) / ‖z‖, differentiable again, and 0 where g is, even of rows that are NaN.
    """
    with torch.autocast(z.device.type, enabled=False):
        wide = z if z.dtype in (torch.float32, torch.float64) else z.float()
        unit: Tensor = _UnitRows.apply(wide)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
        return unit


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        unit = z / _lengths(z)
        ctx.save_for_backward(z, unit)
        return unit

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        z, unit = ctx.saved_tensors
        inverse = _lengths(z).reciprocal()
        along = (unit * upstream).sum(dim=1, keepdim=True) * inverse
        unasked = (upstream == 0).all(dim=1, keepdim=True)  # 0 times NaN is not 0
        return torch.addcmul(upstream * inverse, unit, along, value=-1).masked_fill_(unasked, 0.0)


def _lengths(z: Tensor) -> Tensor:
    lengths = cast(Tensor, torch.linalg.vector_norm(z, dim=1, keepdim=True))  # pyright: ignore[reportUnknownMemberType]
    # A length beyond the type's numbers would make a row of zeros of it, which nobody would notice.
    return lengths.masked_fill(lengths.isinf(), torch.nan).clamp_min(SHORTEST)
