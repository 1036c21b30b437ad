"""Features in standard units, turned into their principal axes: the coordinates that both probes work in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

# Elements of the float64 working copy of a chunk of rows: 32 MiB.
CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Spectrum:
    """How features become principal components of themselves in standard units.

        x ↦ ((x − mean) / scale) · axes        covariance over the rows it was taken from = diag(variances)

    A penalty ‖w‖² on standardised features is the same number in these coordinates, for `axes` is orthonormal; what is
    gained is a diagonal covariance, which ridge regression solves in closed form and L-BFGS takes as its first metric.
    Axes without variance are left out: no penalised weight ever grows along them.

    - `mean`, `scale`: per feature; a constant feature has an infinite scale, so it counts for nothing.
    - `axes`: `(d, r)`, r the numerical rank; r = 0 when every feature is constant.
    - `variances`: `(r,)`, ascending. All float64.
    """

    mean: Float64[Tensor, " d"]
    scale: Float64[Tensor, " d"]
    axes: Float64[Tensor, "d r"]
    variances: Float64[Tensor, " r"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Self:
        """The spectrum of some rows, accumulated in float64 chunk by chunk: no second copy of the features."""
        width = features.shape[1]
        mean = features.new_zeros(width, dtype=torch.float64)
        for chunk in _chunks(features, rows):
            mean += chunk.sum(0) / len(rows)
        covariance = mean.new_zeros(width, width)
        for chunk in _chunks(features, rows):
            centred = chunk - mean
            covariance.addmm_(centred.T, centred, alpha=1 / len(rows))
        deviation = covariance.diagonal().sqrt()
        # A feature that varies by no more than its own rounding is constant: scaled up, the noise would be a feature.
        constant = deviation <= 8 * torch.finfo(features.dtype).eps * mean.abs()
        scale = deviation.masked_fill(constant, torch.inf)
        variances, axes = torch.linalg.eigh(covariance / scale / scale[:, None])
        kept = variances > max(width, len(rows)) * torch.finfo(torch.float64).eps * variances[-1]
        return cls(mean, scale, axes[:, kept], variances[kept])

    def project(self, features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Float[Tensor, "m r"]:
        """Some rows in principal axes: computed in float64, returned in float32 unless the features are float64."""
        dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
        projected = features.new_empty(len(rows), len(self.variances), dtype=dtype)
        first = 0
        for chunk in _chunks(features, rows):
            projected[first : first + len(chunk)] = (chunk - self.mean) / self.scale @ self.axes
            first += len(chunk)
        return projected


def _chunks(features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Iterator[Float64[Tensor, "c d"]]:
    size = max(1, CHUNK // max(1, features.shape[1]))
    for first in range(0, len(rows), size):
        yield features[torch.from_numpy(rows[first : first + size]).to(features.device)].double()
