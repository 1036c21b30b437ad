"""What a classifier says of one label's test rows, whichever way it was fitted, and how often it is right."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True, eq=False)
class Classified:
    """One label column's test rows, told by a classifier of its training rows.

    - `rows`: the labelled test rows, with their `truth` and the codes `predicted` for them.
    - `common`: the most frequent class of the labelled training rows, the lowest code among equals.
    - `known`: the classes that the labelled training rows have; no other is ever predicted.
    """

    rows: Int64[np.ndarray, " t"]
    truth: Int64[np.ndarray, " t"]
    predicted: Int64[np.ndarray, " t"]
    common: int
    known: Int64[np.ndarray, " k"]

    @property
    def classes(self) -> int:
        """How many classes the probe tells apart."""
        return len(self.known)

    @property
    def unseen(self) -> int:
        """Labelled test rows of a class that no training row has: they are never predicted right."""
        return int((~np.isin(self.truth, self.known)).sum())

    @property
    def correct(self) -> Bool[np.ndarray, " t"]:
        """Whether each labelled test row is predicted right."""
        return self.predicted == self.truth

    @property
    def accuracy(self) -> float:
        """Share of the labelled test rows that are predicted right; a class that training never saw counts as wrong."""
        return float(self.correct.mean())

    @property
    def balanced(self) -> float:
        """Mean recall over the classes that the labelled test rows have."""
        _, codes, counts = np.unique(self.truth, return_inverse=True, return_counts=True)
        return float((np.bincount(codes, weights=self.correct) / counts).mean())

    @property
    def majority(self) -> float:
        """Accuracy on test of always answering with the most frequent training class."""
        return float((self.truth == self.common).mean())
