"""Alike means: views of the same item."""

from dataclasses import dataclass

from jaxtyping import Integer
from torch import Tensor

from mscon.contrast import LabelTargets, LinearTargets


@dataclass(frozen=True)
class Instance:
    """Alike means: the same item. q_i is uniform over the other views of row i's item; its values are item numbers."""

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from item numbers, equal for views of one item; a negative number is a row that takes no part."""
        return LabelTargets.of(values)
