"""Multinomial logistic regression for several label columns and several penalties in one batched fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from mscon.evaluate.lbfgs import Evaluation, minimise

# Logits of a chunk of items: 1 MiB in float32, so that the softmax finds them in the processor's cache …
CACHED = 2**18
# … but no fewer items than these, so that the products stay efficient.
SHORTEST = 256
# Weights that are fitted together: 16 MiB in float32; the solver holds about thirty times as much.
TOGETHER = 2**22


@dataclass(frozen=True, eq=False)
class Classifiers:
    """One label column's linear classifiers, one per strength.

    - `weight`: `(s, k, d)` and `bias`: `(s, k)`; class k's logit is weight_k · x + bias_k.
    - `converged`: `(s,)`, false where the iterations ran out.
    """

    weight: Float[Tensor, "s k d"]
    bias: Float[Tensor, "s k"]
    converged: tuple[bool, ...]

    def logits(self, features: Float[Tensor, "n d"], strength: int) -> Float[Tensor, "n k"]:
        """Every item's logits by the classifier of the strength at this position."""
        return torch.addmm(self.bias[strength], features, self.weight[strength].T)


def fit_logistic(
    features: Float[Tensor, "n d"],
    codes: Int64[Tensor, "c n"],
    *,
    strengths: Sequence[float],
    variances: Float[Tensor, " d"],
    tolerance: float,
    max_iterations: int,
) -> list[Classifiers]:
    """Fits one classifier per label column and strength, the same few products with the features serving them all.

        minimise over W (k×d), b (k):    1/n Σ_i −log softmax(W x_i + b)[y_i]  +  strength/2 · ‖W‖²

    The bias is free. scikit-learn's `LogisticRegression` has the same minimum for **C = 1 / (n · strength)**, with two
    classes for C = 2 / (n · strength), since there it penalises the one difference of weights, W₁ − W₀.

    **Arguments:**

    - `features`: `(n, d)`, centred; the less they are correlated, the fewer iterations. float64 is fitted in float64.
    - `codes`: `(c, n)`, per column 0 … k−1, each class present. A column of one class gets the constant classifier.
    - `strengths`: positive.
    - `variances`: `(d,)`, the features' mean squares.
    - `tolerance`: nats above the minimum, as the solver sees it.
    - `max_iterations`: a fit that is not done by then ends where it is.

    **Returns:** the columns' classifiers, in order.
    """
    shares = [torch.bincount(column).to(features) / len(column) for column in codes]
    problems = [_Problem(column, len(share), strength) for column, share in enumerate(shares) for strength in strengths]
    solutions: list[Tensor] = []
    converged: list[bool] = []
    for batch in _batches(problems, features.shape[1] + 1):
        share = torch.cat([shares[problem.column] for problem in batch])[:, None]
        minimum = minimise(
            _CrossEntropy(features, codes, batch),
            _start(share, features.shape[1]),
            sizes=[problem.classes for problem in batch],
            metric=_metric(share, variances.to(features), batch),
            tolerance=tolerance,
            max_iterations=max_iterations,
        )
        solutions += minimum.point.split([problem.classes for problem in batch])
        converged += minimum.converged.tolist()
    fits = []
    for first in range(0, len(problems), len(strengths)):
        points = torch.stack(solutions[first : first + len(strengths)])
        fits.append(Classifiers(points[..., :-1], points[..., -1], tuple(converged[first : first + len(strengths)])))
    return fits


class _Problem(NamedTuple):
    column: int
    classes: int
    strength: float


def _batches(problems: list[_Problem], width: int) -> Iterator[list[_Problem]]:
    """Cuts the problems, in order, into as few runs as hold TOGETHER weights each; a larger problem stands alone."""
    batch: list[_Problem] = []
    for problem in problems:
        if batch and width * (sum(other.classes for other in batch) + problem.classes) > TOGETHER:
            yield batch
            batch = []
        batch.append(problem)
    if batch:
        yield batch


def _start(share: Float[Tensor, "p 1"], width: int) -> Float[Tensor, "p d"]:
    """No weights, and the biases that give every class its share: the solution of an infinite strength."""
    return torch.cat([share.new_zeros(len(share), width), share.log()], dim=1)


def _metric(share: Float[Tensor, "p 1"], variances: Float[Tensor, " d"], batch: list[_Problem]) -> Float[Tensor, "p _"]:
    """The inverse of the Hessian's diagonal at the start: variance · π (1 − π) + strength, the bias's input being 1."""
    strength = _per_class(share.new_tensor([problem.strength for problem in batch]), batch)
    # A single class has no curvature, and no gradient that a metric could spoil.
    spread = (share * (1 - share)).clamp(min=torch.finfo(share.dtype).eps)
    return torch.cat([spread * variances + strength, spread], dim=1).reciprocal()


class _CrossEntropy:
    """The batch's objective: each problem's point is `(classes, d + 1)`, the bias in the last place."""

    def __init__(self, features: Float[Tensor, "n d"], codes: Int64[Tensor, "c n"], batch: list[_Problem]) -> None:
        self.features, self.codes, self.batch = features, codes, batch

    def __call__(self, point: Float[Tensor, "p w"], problems: Int[Tensor, " b"]) -> Evaluation:
        batch = [self.batch[problem] for problem in problems.tolist()]
        runs = [list(run) for _, run in groupby(batch, lambda problem: problem.column)]
        values = point.new_zeros(len(batch), dtype=torch.float64)
        gradient = torch.zeros_like(point)
        chunk = max(SHORTEST, CACHED // len(point))
        for features, codes in zip(self.features.split(chunk), self.codes.split(chunk, dim=1), strict=True):
            logits = torch.addmm(point[:, -1:], point[:, :-1], features.T)
            blocks = logits.split([len(run) * run[0].classes for run in runs])
            for run, block, value in zip(runs, blocks, values.split([len(run) for run in runs]), strict=True):
                value += _cross_entropy_(block.unflatten(0, (len(run), run[0].classes)), codes[run[0].column])
            gradient[:, :-1].addmm_(logits, features)
            gradient[:, -1] += logits.sum(1)
        values, gradient = values / len(self.features), gradient / len(self.features)
        strength = point.new_tensor([problem.strength for problem in batch])
        weights = point[:, :-1].split([problem.classes for problem in batch])
        values += strength / 2 * torch.stack([weight.square().sum(dtype=torch.float64) for weight in weights])
        gradient[:, :-1].addcmul_(_per_class(strength, batch), point[:, :-1])
        return Evaluation(values, gradient)


def _per_class(values: Float[Tensor, " b"], batch: list[_Problem]) -> Float[Tensor, "p 1"]:
    counts = torch.tensor([problem.classes for problem in batch], device=values.device)
    return values.repeat_interleave(counts)[:, None]


def _cross_entropy_(logits: Float[Tensor, "s k n"], codes: Int64[Tensor, " n"]) -> Float64[Tensor, " s"]:
    """The items' summed cross-entropy per classifier; the logits become its gradient, softmax − one-hot, in place."""
    log_p = logits.log_softmax(1)
    index = codes.expand(len(logits), 1, -1)
    loss = -log_p.gather(1, index).sum((1, 2), dtype=torch.float64)
    torch.exp(log_p, out=logits)
    logits.scatter_add_(1, index, logits.new_full((), -1).expand_as(index))
    return loss
