"""Similarities: notions under which two items are alike, each turning a batch's values into target distributions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from mscon.contrast import LabelTargets, Targets


@runtime_checkable
class Similarity(Protocol):
    """Anything that turns the values of a batch into targets."""

    def targets(self, values: Tensor) -> Targets:
        """The target distributions over a batch whose rows carry `values`."""
        ...


@dataclass(frozen=True)
class Categorical:
    """Alike means: the same label. q_i is uniform over the other rows with row i's label."""

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from integer codes, a negative code being a missing label."""
        return LabelTargets.of(values)


@dataclass(frozen=True)
class Instance:
    """Alike means: the same item. q_i is uniform over the other views of row i's item; its values are item numbers."""

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from item numbers, equal for views of one item; a negative number is a row that takes no part."""
        return LabelTargets.of(values)
