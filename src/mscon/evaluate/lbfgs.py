"""L-BFGS on many independent convex problems at once, so that one product with shared data serves them all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

# Armijo's share of the decrease that the slope promises, and how often a step is shortened before it is given up.
SUFFICIENT = 1e-4
SHORTENINGS = 20


class Evaluation(NamedTuple):
    """The values of some problems, in float64, and their gradients laid out as their points are."""

    values: Float64[Tensor, " b"]
    gradient: Float[Tensor, "p d"]


# Evaluates some of the problems at once, given their points one below the other and which they are (ascending).
Objective = Callable[[Float[Tensor, "p d"], Int[Tensor, " b"]], Evaluation]


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where each problem ended.

    - `point`: `(p, d)`, laid out as the start.
    - `iterations`: `(b,)`, the steps each problem took.
    - `converged`: `(b,)`, false for a problem that `max_iterations` stopped.
    """

    point: Float[Tensor, "p d"]
    iterations: Int[Tensor, " b"]
    converged: Bool[Tensor, " b"]


def minimise(
    objective: Objective,
    start: Float[Tensor, "p d"],
    *,
    sizes: Sequence[int],
    metric: Float[Tensor, "p d"],
    tolerance: float,
    max_iterations: int,
    memory: int = 10,
) -> Minimum:
    """Minimises b smooth convex problems together, each with a curvature history and a step length of its own.

        d = −H g   by the two-loop recursion        x ← x + t d,   f(x + t d) ≤ f(x) + 10⁻⁴ t gᵀd

    The full step t = 1 is tried first; only the problems whose value fell too little try again, at the minimum of the
    parabola through what is known. Convexity alone gives sᵀy ≥ 0 for every move s and change of gradient y, so no
    condition on the new slope is needed; a pair with sᵀy = 0 is left out.

    A problem is done, and takes no part in later products, once −gᵀd / 2 (how far the quasi-Newton model sees its value
    above the minimum) is at most `tolerance`, or once rounding hides every further decrease.

    **Arguments:**

    - `objective`: values and gradients of some of the problems.
    - `start`: `(p, d)`; problem j owns `sizes[j]` consecutive rows. It decides dtype and device.
    - `sizes`: b numbers that sum to p.
    - `metric`: `(p, d)`, positive: what is known beforehand of the inverse Hessian's diagonal. Each problem rescales
      its part by sᵀy / yᵀHy as it goes.
    - `tolerance`: in units of the objective.
    - `max_iterations`: a problem that is not done by then ends where it is.
    - `memory`: pairs (s, y) that are kept; each pair is two copies of the point.

    Source: Nocedal & Wright, *Numerical Optimization*, 2nd ed., algorithms 3.1 and 7.4.
    """
    problems = torch.arange(len(sizes), device=start.device)
    live = _Live(
        problems=problems,
        owner=torch.repeat_interleave(problems, torch.tensor(sizes, device=start.device)),
        rows=torch.arange(len(start), device=start.device),
        metric=metric,
        scale=start.new_ones(len(sizes)),
        point=start,
        at=objective(start, problems),
        pairs=(),
    )
    point = start.clone()
    iterations = torch.zeros_like(problems)
    for _ in range(max_iterations):
        direction = live.direction()
        slope = live.dot(live.at.gradient, direction)
        step = _search(objective, live, direction, slope, pending=-slope / 2 > tolerance)
        stopped = ~step.taken[live.owner]
        point[live.rows[stopped]] = live.point[stopped]
        live = live.advance(step, memory=memory).keep(step.taken)
        iterations[live.problems] += 1
        if len(live.problems) == 0:
            break
    point[live.rows] = live.point
    return Minimum(point, iterations, ~torch.isin(problems, live.problems))


class _Pair(NamedTuple):
    """One step's move s and change of gradient y, with 1 / sᵀy per problem; 0 leaves the pair out."""

    moved: Float[Tensor, "p d"]
    turned: Float[Tensor, "p d"]
    inverse: Float[Tensor, " b"]


class _Step(NamedTuple):
    """Where the line search ended; a problem for which no step was taken is left where it was."""

    point: Float[Tensor, "p d"]
    at: Evaluation
    taken: Bool[Tensor, " b"]


@dataclass(frozen=True, eq=False)
class _Live:
    """The problems that are not done; `owner` numbers them from 0, `problems` and `rows` say which ones they are."""

    problems: Int[Tensor, " b"]
    owner: Int[Tensor, " p"]
    rows: Int[Tensor, " p"]
    metric: Float[Tensor, "p d"]
    scale: Float[Tensor, " b"]
    point: Float[Tensor, "p d"]
    at: Evaluation
    pairs: tuple[_Pair, ...]

    def dot(self, a: Float[Tensor, "p d"], b: Float[Tensor, "p d"]) -> Float[Tensor, " b"]:
        return a.new_zeros(len(self.problems)).index_add_(0, self.owner, (a * b).sum(1))

    def each(self, values: Float[Tensor, " b"]) -> Float[Tensor, "p 1"]:
        return values[self.owner, None]

    def direction(self) -> Float[Tensor, "p d"]:
        """−H g, H being the metric as the pairs have corrected it."""
        direction = -self.at.gradient
        shares = []
        for moved, turned, inverse in reversed(self.pairs):
            share = inverse * self.dot(moved, direction)
            direction.addcmul_(turned, self.each(share), value=-1)
            shares.append(share)
        direction.mul_(self.metric).mul_(self.each(self.scale))
        for (moved, turned, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            direction.addcmul_(moved, self.each(share - inverse * self.dot(turned, direction)))
        return direction

    def advance(self, step: _Step, *, memory: int) -> "_Live":
        """The problems at their new points, the newest pair remembered and the oldest forgotten."""
        moved, turned = step.point - self.point, step.at.gradient - self.at.gradient
        curvature = self.dot(moved, turned)
        # None where no step was taken, or where rounding ate it up.
        usable = curvature > 0
        pair = _Pair(moved, turned, torch.where(usable, 1 / curvature, 0))
        scale = torch.where(usable, curvature / self.dot(turned * self.metric, turned), self.scale)
        return replace(self, scale=scale, point=step.point, at=step.at, pairs=(*self.pairs, pair)[-memory:])

    def keep(self, kept: Bool[Tensor, " b"]) -> "_Live":
        """Some of the problems alone."""
        if kept.all():
            return self
        rows = kept[self.owner]
        return replace(
            self,
            problems=self.problems[kept],
            owner=(kept.cumsum(0) - 1)[self.owner[rows]],
            rows=self.rows[rows],
            metric=self.metric[rows],
            scale=self.scale[kept],
            point=self.point[rows],
            at=Evaluation(self.at.values[kept], self.at.gradient[rows]),
            pairs=tuple(_Pair(pair.moved[rows], pair.turned[rows], pair.inverse[kept]) for pair in self.pairs),
        )


def _search(
    objective: Objective,
    live: _Live,
    direction: Float[Tensor, "p d"],
    slope: Float[Tensor, " b"],
    *,
    pending: Bool[Tensor, " b"],
) -> _Step:
    point, values, gradient = live.point.clone(), live.at.values.clone(), live.at.gradient.clone()
    length = torch.ones_like(slope)
    wanted = pending
    for _ in range(SHORTENINGS):
        if not pending.any():
            break
        rows = pending[live.owner]
        trial = torch.addcmul(live.point[rows], direction[rows], live.each(length)[rows])
        tried = objective(trial, live.problems[pending])
        promised = length[pending] * slope[pending]
        change = tried.values - live.at.values[pending]
        enough = change <= SUFFICIENT * promised
        taken = pending.masked_scatter(pending, enough)
        accepted = taken[live.owner]
        point[accepted], values[taken] = trial[accepted[rows]], tried.values[enough]
        gradient[accepted] = tried.gradient[accepted[rows]]
        shorter = (-promised / (2 * (change - promised))).clamp(0.1, 0.5).to(length)
        length = length.masked_scatter(pending, length[pending] * shorter)
        pending = pending & ~taken
    return _Step(point, Evaluation(values, gradient), wanted & ~pending)
