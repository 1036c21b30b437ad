"""Weights that stay as they are."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mscon.arguments import number
from mscon.terms import BatchTerms
from mscon.weighting.weights import Weights, sum_to_count


class Fixed(nn.Module):
    """Weights that the user chose, scaled to sum to C; `Fixed([1.0] * C)` trusts all similarities alike."""

    weight: Tensor

    def __init__(self, weights: Sequence[float]):
        """**Raises** `ValueError` for no numbers, a negative weight, or when none is positive."""
        super().__init__()
        if not isinstance(cast(object, weights), Sequence):
            raise ValueError(f"fixed weights are given one after the other, such as Fixed([2.0, 1.0]), not {weights!r}")
        weights = [number("a weight", each) for each in weights]
        if not weights or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"weights must be at least 0, finite, and not all 0: {weights}")
        self.similarities = len(weights)
        given = torch.tensor(weights, dtype=torch.float64)
        # A setting, not state: a buffer only to follow the module to its device.
        self.register_buffer("weight", sum_to_count(given).float(), persistent=False)

    def forward(self, terms: BatchTerms) -> Weights:
        """The same weights for every batch."""
        return Weights(weight=self.weight.to(terms.loss.dtype), penalty=terms.loss.new_zeros(()))
