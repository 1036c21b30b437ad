"""pull: the part of the loss that is linear in the batch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast.targets import LinearTargets


def pull(z: Float[Tensor, "m d"], targets: LinearTargets, own: slice) -> Float[Tensor, " own"]:
    """z_i · Σ_j q_ij z_j for the rows `own`; the gradient is g q z + qᵀ (g z). Differentiable once."""
    towards: Tensor = _Pull.apply(z, targets, own)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    return towards


class _Pull(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, targets: LinearTargets, own: slice) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
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
        with torch.autocast(z.device.type, enabled=False):  # a backward pass may be called inside one
            gradient = ctx.targets.mean_target_gradient(z[ctx.own] * column, ctx.own)
        gradient[ctx.own].addcmul_(mean, column)
        return gradient, None, None
