"""pull, and the unit length of projections: the parts that are linear in the batch, each with as few passes over the
rows as its gradient allows.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast.targets import Targets

SHORTEST = 1e-12
"""Rows shorter than this are divided by it instead, as `torch.nn.functional.normalize` does."""


def unit_rows(z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """u = z / ‖z‖ row by row, half precision raised to float32; a row of zeros stays one.

    The gradient is (g − u (u·g)) / ‖z‖, differentiable again.
    """
    with torch.autocast(z.device.type, enabled=False):
        wide = z if z.dtype in (torch.float32, torch.float64) else z.float()
        unit: Tensor = _UnitRows.apply(wide)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
        return unit


def pull(z: Float[Tensor, "m d"], targets: Targets, own: slice) -> Float[Tensor, " own"]:
    """z_i · Σ_j q_ij z_j for the rows `own`; the gradient is g q z + qᵀ (g z). Differentiable once."""
    towards: Tensor = _Pull.apply(z, targets, own)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    return towards


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
        return torch.addcmul(upstream * inverse, unit, along, value=-1)


def _lengths(z: Tensor) -> Tensor:
    lengths = cast(Tensor, torch.linalg.vector_norm(z, dim=1, keepdim=True))  # pyright: ignore[reportUnknownMemberType]
    return lengths.clamp_min(SHORTEST)


class _Pull(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, targets: Targets, own: slice) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        mean = targets.mean_target(z, own)
        ctx.save_for_backward(z, mean)
        ctx.targets, ctx.own = targets, own
        return (z[own] * mean).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise RuntimeError("pull is differentiable once: take engine='dense' for second derivatives")
        z, mean = ctx.saved_tensors
        column = upstream.unsqueeze(1)
        gradient = ctx.targets.mean_target_gradient(z[ctx.own] * column, ctx.own)
        gradient[ctx.own].addcmul_(mean, column)
        return gradient, None, None
