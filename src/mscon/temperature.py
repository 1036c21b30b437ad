"""Temperatures: fixed numbers, or numbers that are learned, one for each similarity."""

from collections.abc import Sequence
from math import inf, log
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mscon.contrast import Ranks


class Temperatures(nn.Module):
    """τ of each of C similarities.

    A learned τ_c is trained by the loss itself, in log τ_c, from its given value on and within bounds. Scores are
    z_i·z_j/τ, so making all z longer by a factor is making τ smaller by its square; where they are z_i·x_k/τ, with
    keys x that are given, by the factor itself. The gradient of any loss L of such scores is at hand once that of the
    unit rows is, whatever engine computed it:

        ∂L/∂log τ = −½ Σ_i z_i·∂L/∂z_i        against given keys −Σ_i z_i·∂L/∂z_i

    Learned from σ² = 1 on as τ σ², this is the uncertainty of Mu et al. (2023, arXiv 2307.02712) without its
    approximation: the softmax of similarity c tempered by σ_c².

    **Arguments:**

    - `values`: τ > 0 of each.
    - `learned`: whether they are.
    - `bounds`: least and greatest τ that can be learned; the same for all, or a pair for each. A gradient that leads
      back inside passes, so a bound can be left again.

    **Raises:** `ValueError` for a value that is not positive and finite, or one outside its bounds when it is to be
    learned.
    """

    def __init__(
        self,
        values: Sequence[float],
        *,
        learned: bool = False,
        bounds: tuple[float, float] | Sequence[tuple[float, float]] = (0.02, 1.0),
    ):
        super().__init__()
        if not all(0.0 < value < inf for value in values):
            raise ValueError(f"a temperature must be positive and finite, not {list(values)}")
        self.learned, self.fixed = learned, tuple(values)
        if not learned:
            return
        pairs = list(bounds) if isinstance(bounds[0], Sequence) else [bounds] * len(values)
        self.bounds = cast("list[tuple[float, float]]", pairs)
        for value, (least, most) in zip(values, self.bounds, strict=True):
            if not 0.0 < least <= value <= most:
                raise ValueError(
                    f"a temperature that is learned must start within its bounds: {least} ≤ {value} ≤ {most}"
                )
        self.log_temperature = nn.Parameter(torch.tensor([log(value) for value in values]))

    @property
    def values(self) -> tuple[float, ...]:
        """τ of each as it stands."""
        if not self.learned:
            return self.fixed
        raw = cast("list[float]", self.log_temperature.detach().double().exp().tolist())  # pyright: ignore[reportUnknownMemberType]
        return tuple(min(max(value, least), most) for value, (least, most) in zip(raw, self.bounds, strict=True))

    def attached(
        self, units: Sequence[Float[Tensor, "_ _"]], keyed: Sequence[bool], ranks: Ranks | None = None
    ) -> list[Float[Tensor, "_ _"]]:
        """The same unit rows, which lead the gradient on to log τ as well.

        **Arguments:**

        - `units`: the rows of each similarity, of all processes.
        - `keyed`: which similarities compare them with given keys (`KeyTargets`), not with one another.
        - `ranks`: the processes that compute a summand of the loss each.
        """
        if not self.learned:
            return list(units)
        with torch.no_grad():  # what went beyond a bound starts from it
            for log_temperature, (least, most) in zip(self.log_temperature, self.bounds, strict=True):
                log_temperature.clamp_(log(least), log(most))
        powers = self.log_temperature.new_tensor([-1.0 if each else -0.5 for each in keyed])
        lengths = (powers * (self.log_temperature - self.log_temperature.detach())).exp()  # 1, but for its gradient
        if ranks:
            lengths = _Shared.apply(lengths, ranks)  # pyright: ignore[reportUnknownMemberType]
        each = zip(units, cast(Tensor, lengths).unbind(), strict=True)
        return [z * length.to(z.dtype) for z, length in each]


class _Shared(torch.autograd.Function):
    """The same numbers; their gradient is the sum over the processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.ranks = ranks
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.ranks.sum(upstream), None
