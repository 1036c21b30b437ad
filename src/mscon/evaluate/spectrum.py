"""Features in standard units, turned into their principal axes: the coordinates that both probes work in."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

# Elements of the float64 working copy of a chunk of rows: 32 MiB.
CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What the training rows say of the features, and with it how any row becomes principal components.

        x ↦ ((clip(x, low, high) − mean) / scale) · axes

    On the training rows these have mean 0 and covariance diag(variances). A penalty ‖w‖² on standardised features is
    the same number in these coordinates, for the axes are orthonormal; the diagonal covariance is what ridge regression
    solves in closed form and L-BFGS starts from. Axes without variance are left out: a penalised weight stays 0 there.

    - `low`, `high`: `(d,)`, each feature's range. A row outside it counts as at its edge: of a feature that hardly
      varies in training, a row that differs would else be hundreds of deviations away and drown the other features.
    - `mean`, `scale`: `(d,)`; a constant feature has an infinite scale, so it counts for nothing.
    - `axes`: `(d, r)`, r the numerical rank; r = 0 when every feature is constant.
    - `variances`: `(r,)`, ascending.
    """

    low: Float64[Tensor, " d"]
    high: Float64[Tensor, " d"]
    mean: Float64[Tensor, " d"]
    scale: Float64[Tensor, " d"]
    axes: Float64[Tensor, "d r"]
    variances: Float64[Tensor, " r"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> "Spectrum":
        """The spectrum of the training rows, accumulated in float64 chunk by chunk: no second copy of the features."""
        low, high, mean, scale = _units(features, rows)
        standard = ((chunk - mean) / scale for chunk in _chunks(features, rows))
        variances, axes = _principal(standard, len(rows), features.shape[1])
        return cls(low, high, mean, scale, axes, variances)

    def project(self, features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Float[Tensor, "m r"]:
        """Some rows in principal axes: computed in float64, returned in float32 unless the features are float64."""
        dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
        projected = features.new_empty(len(rows), len(self.variances), dtype=dtype)
        first = 0
        for chunk in _chunks(features, rows):
            standard = (chunk.clamp(self.low, self.high) - self.mean) / self.scale
            projected[first : first + len(chunk)] = standard @ self.axes
            first += len(chunk)
        return projected


@dataclass(frozen=True, eq=False)
class Spectra:
    """The spectra that one feature set's probes ask for; that of all training rows is found once for them all.

    - `features`: `(n, d)`, one row per item.
    - `train`: the rows of the training part, of which each label column has a label on some.
    """

    features: Float[Tensor, "n d"]
    train: Int64[np.ndarray, " m"]

    @cached_property
    def whole(self) -> Spectrum:
        """Of all training rows."""
        return Spectrum.of(self.features, self.train)

    def of(self, rows: Int64[np.ndarray, " k"]) -> Spectrum:
        """Of these training rows, and of no others: what has no label must not move a label's score."""
        return self.whole if len(rows) == len(self.train) else Spectrum.of(self.features, rows)


def _units(
    features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"], Float64[Tensor, " d"], Float64[Tensor, " d"]]:
    """Range, mean and scale of each feature on these rows, as a `Spectrum` has them."""
    mean = features.new_zeros(features.shape[1], dtype=torch.float64)
    squares, low, high = mean.clone(), torch.full_like(mean, torch.inf), torch.full_like(mean, -torch.inf)
    for chunk in _chunks(features, rows):
        mean += chunk.sum(0) / len(rows)
        low, high = torch.minimum(low, chunk.amin(0)), torch.maximum(high, chunk.amax(0))
    for chunk in _chunks(features, rows):
        squares += (chunk - mean).square().sum(0) / len(rows)
    deviation = squares.sqrt()
    # A feature that varies by no more than its own rounding is constant: scaled up, the noise would be a feature.
    constant = deviation <= 8 * torch.finfo(features.dtype).eps * mean.abs()
    return low, high, mean, deviation.masked_fill(constant, torch.inf)


def _principal(
    standard: Iterator[Float64[Tensor, "c d"]], rows: int, width: int
) -> tuple[Float64[Tensor, " r"], Float64[Tensor, "d r"]]:
    """The covariance's eigenvalues above rounding, ascending, and their unit eigenvectors."""
    rounding = max(rows, width) * torch.finfo(torch.float64).eps
    # The eigenvectors are combinations of the rows: fewer rows than features, less work.
    if rows < width:
        matrix = torch.cat(list(standard))
        variances, combinations = torch.linalg.eigh(matrix @ matrix.T / rows)
        kept = variances > rounding * variances[-1]
        return variances[kept], F.normalize(matrix.T @ combinations[:, kept], dim=0)
    covariance = sum((chunk.T @ chunk for chunk in standard), torch.zeros(())) / rows
    variances, axes = torch.linalg.eigh(covariance)
    kept = variances > rounding * variances[-1]
    return variances[kept], axes[:, kept]


def _chunks(features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Iterator[Float64[Tensor, "c d"]]:
    size = max(1, CHUNK // max(1, features.shape[1]))
    for first in range(0, len(rows), size):
        yield features[torch.from_numpy(rows[first : first + size]).to(features.device)].double()
