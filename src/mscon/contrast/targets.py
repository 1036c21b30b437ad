"""What each anchor is pulled toward: what all targets say of themselves, those that are linear in z, and labels."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from mscon.arguments import check_tensor
from mscon.contrast.sparse import distinct


@runtime_checkable
class Targets(Protocol):
    """Which rows of a batch take part, and which of them have something to be pulled toward.

    A batch has N rows; M ≤ N of them are labelled: a row without a label is no anchor, no positive and no negative.
    """

    @property
    def batch(self) -> int:
        """N, labelled or not."""
        ...

    @property
    def rows(self) -> Int[Tensor, " m"]:
        """The labelled rows' positions in the batch, ascending."""
        ...

    @property
    def anchors(self) -> Bool[Tensor, " m"]:
        """Which labelled rows have at least one positive."""
        ...


@runtime_checkable
class LinearTargets(Targets, Protocol):
    """One distribution q_i over the other labelled rows for each of them, whose mean target takes O(M·d).

    A row of q (M×M) sums to 1, or to 0 where the anchor has no positive, and q_ii = 0.
    """

    @property
    def floor(self) -> Float[Tensor, " m"]:
        """Entropy H(q_i) in nats, float64: the least loss that anchor i can have; 0 where it has no positive."""
        ...

    def mean_target(self, z: Float[Tensor, "m d"], own: slice = slice(None)) -> Float[Tensor, "own d"]:
        """q z for the labelled rows `own`: Σ_j q_ij z_j, the point that anchor i is pulled toward, in O(M·d) memory.

        A plain function of numbers: its gradient is `mean_target_gradient`.
        """
        ...

    def mean_target_gradient(self, upstream: Float[Tensor, "own d"], own: slice = slice(None)) -> Float[Tensor, "m d"]:
        """qᵀ upstream, over the labelled rows `own`: Σ_i q_ij upstream_i, in O(M·d) memory.

        A tensor of its own: the caller goes on adding to it.
        """
        ...

    def matrix(self, own: slice = slice(None)) -> Float[Tensor, "own m"]:
        """The distributions q of the labelled rows `own`, float64: for the dense engine and for tests."""
        ...


def whole_numbers(codes: Integer[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Labels as int64, from any type of integers.

    **Raises:** `ValueError` for codes that are no integers, or not one for each row.
    """
    check_tensor("labels", codes, "N")
    if codes.dtype.is_floating_point or codes.dtype.is_complex or codes.dtype == torch.bool:
        raise ValueError(f"labels must be integer codes, -1 where one is missing, not {codes.dtype}")
    return codes.long()  # torch takes smaller ones for masks, or for no places at all


@dataclass(frozen=True)
class KnownCodes:
    """Which rows of a batch have an integer label, and which labels occur there.

    - `batch`: N.
    - `rows`: positions of the M rows with a code ≥ 0, ascending.
    - `codes`: those that occur, ascending; `counts`: how often each does.
    - `places`: where among them the code of each of these rows stands.
    """

    batch: int
    rows: Int[Tensor, " m"]
    codes: Int[Tensor, " u"]
    counts: Int[Tensor, " u"]
    places: Int[Tensor, " m"]

    @classmethod
    def of(cls, codes: Integer[Tensor, " n"]) -> "KnownCodes":
        """Of a batch's labels, any negative code being a missing one; **raises** as `whole_numbers`."""
        codes = whole_numbers(codes)
        rows = (codes >= 0).nonzero().squeeze(1)
        occurring, places, counts = distinct(codes[rows])
        return cls(len(codes), rows, occurring, counts, places)


@dataclass(frozen=True)
class LabelTargets:
    """q_i uniform over the other rows with the same label: q_ij = 1/|P(i)| for j in P(i), so H(q_i) = log |P(i)|."""

    batch: int
    rows: Int[Tensor, " m"]
    classes: Int[Tensor, " m"]
    positives: Int[Tensor, " m"]

    @classmethod
    def of(cls, codes: Integer[Tensor, " n"]) -> "LabelTargets":
        """The targets of integer labels; any negative code is a missing label.

        **Arguments:**

        - `codes`: one integer per row, of any range; equal codes are positives of each other.

        **Returns:** targets over the rows with a code ≥ 0; none of them when no row has one.

        **Raises:** `ValueError` for codes that are no integers, or not one for each row.
        """
        known = KnownCodes.of(codes)
        return cls(known.batch, known.rows, known.places, positives=known.counts[known.places] - 1)

    @property
    def anchors(self) -> Bool[Tensor, " m"]:
        """Rows whose label another row shares."""
        return self.positives > 0

    @property
    def floor(self) -> Float[Tensor, " m"]:
        """log |P(i)|."""
        return self.positives.clamp(min=1).double().log()

    def mean_target(self, z: Float[Tensor, "m d"], own: slice = slice(None)) -> Float[Tensor, "own d"]:
        """The mean of the positives, by one sum per class: (S_class(i) − z_i) / |P(i)|."""
        return self._of_others(z, z[own], self.classes, self.classes[own]).mul_(self._share(z, own))

    def mean_target_gradient(self, upstream: Float[Tensor, "own d"], own: slice = slice(None)) -> Float[Tensor, "m d"]:
        """The same sums over upstream_i / |P(i)|."""
        shares = upstream * self._share(upstream, own)
        whole = shares
        if len(shares) < len(self.classes):
            whole = shares.new_zeros(len(self.classes), shares.shape[1])
            whole[own] = shares
        return self._of_others(shares, whole, self.classes[own], self.classes)

    def matrix(self, own: slice = slice(None)) -> Float[Tensor, "own m"]:
        """Same label and not itself, divided by |P(i)|."""
        place = torch.arange(len(self.classes), device=self.classes.device)
        others = place[own].unsqueeze(1) != place
        same = (self.classes[own].unsqueeze(1) == self.classes) & others
        return same.double() / self.positives[own].clamp(min=1).double().unsqueeze(1)

    def _of_others(self, summands: Tensor, itself: Tensor, classes: Tensor, of: Tensor) -> Tensor:
        """The sum over a class, for each row of classes `of`, without the row itself."""
        sums = summands.new_zeros(len(self.classes), summands.shape[1]).index_add_(0, classes, summands)
        return sums.index_select(0, of).sub_(itself)

    def _share(self, z: Tensor, own: slice) -> Tensor:
        return self.positives[own].clamp(min=1).to(z.dtype).reciprocal_().unsqueeze(1)
