"""From relative excess to label noise and back: what a similarity's loss would be if so many of its labels were chance.

The relative excess of a similarity of which a given share of labels is noise depends on how many classes it has, on
their balance and on the temperature. The closed form here takes that out, so that similarities of different kinds can
be compared by one number: the share of labels that, replaced by chance, would leave the best model with that excess.

Share η of the labels is replaced by draws from the class histogram π. An anchor of true class k then has a positive of
true class l with probability

    P_kl = ρ [k = l] + (1 − ρ) π_l        ρ = (1 − η)²: both labels survived

A model that knows true classes and no more can at best have chance − loss = Σ_k π_k Σ_l P_kl log(P_kl / π_l), where
chance − floor = H(π). Its logits are higher within class k than elsewhere by log(1 + ρ / ((1 − ρ) π_k)), but unit
vectors at temperature τ part K classes by no more than the simplex does:

    β_k = min(log(1 + ρ / ((1 − ρ) π_k)), K / ((K − 1) τ))
    r(η) = 1 − Σ_k π_k [P_kk β_k − log(π_k exp β_k + 1 − π_k)] / H(π)

For balanced classes that is the optimum over unit vectors. For others it supposes that a large class spreads out to
part less, which takes many items and a wide head (with each class in one point r is up to 0.04 higher), and that the
simplex is the best place for all, which it is not where τ binds (the best r is up to 0.04 lower at τ = 0.5, 0.07 at 1).

Left out: views of one item share its label, noise and all, which lowers r where a batch has few items to a class.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PARTS = 32
ROUNDS = 4
"""The inverse cuts its bracket into so many parts, so many times: to 2⁻²⁰."""

LEAST_SPAN = 1e-3
"""Nats of chance − floor up to which a similarity tells nothing apart: one class has no r and no simplex."""


@dataclass(frozen=True)
class Classes:
    """Class histograms of similarities, side by side: of the items, `mass` lies in classes of `share` each.

    A plain histogram has mass = share = π; classes of the same size may be one entry. So K balanced ones are one of
    mass 1 and share 1/K, and K need be no whole number. Entries of mass 0 fill up the shorter ones.
    """

    share: Float[Tensor, "*c k"]
    mass: Float[Tensor, "*c k"]

    @classmethod
    def of_histograms(cls, histograms: Sequence[Sequence[float | int] | None]) -> "Classes":
        """From class counts or shares. One that is not known (None) or has a single class gets no mass.

        Classes of the same size are one entry: of a million items there are 1,413 sizes at most.

        **Raises:** `ValueError` for a negative count, or one that is not finite.
        """
        entries = [_sizes(histogram or ()) for histogram in histograms]
        longest = max(1, *(len(shares) for shares, _ in entries))
        shares = [each + [1.0] * (longest - len(each)) for each, _ in entries]
        masses = [each + [0.0] * (longest - len(each)) for _, each in entries]
        return cls(torch.tensor(shares, dtype=torch.float64), torch.tensor(masses, dtype=torch.float64))

    @classmethod
    def balanced(cls, span: Float[Tensor, "*c"]) -> "Classes":
        """The balanced classes whose chance − floor is `span` nats: K = exp(span), for any kind of similarity."""
        share = torch.exp(-span.double().clamp(min=LEAST_SPAN)).unsqueeze(-1)
        return cls(share=share, mass=torch.ones_like(share))

    def filled(self, span: Float[Tensor, "*c"]) -> "Classes":
        """With the `balanced` classes of `span` wherever there is no mass."""
        known = self.mass.sum(dim=-1, keepdim=True) > 0
        first = torch.arange(self.mass.shape[-1], device=self.mass.device) == 0
        other = Classes.balanced(span)
        return Classes(
            share=torch.where(known | ~first, self.share, other.share),
            mass=torch.where(known | ~first, self.mass, other.mass),
        )

    @property
    def count(self) -> Float[Tensor, "*c"]:
        """K: how many classes there are."""
        return (self.mass / self.share).sum(dim=-1)

    @property
    def entropy(self) -> Float[Tensor, "*c"]:
        """H(π) in nats."""
        return -(self.mass * self.share.log()).sum(dim=-1)


def _sizes(histogram: Sequence[float | int]) -> tuple[list[float], list[float]]:
    """The share of one class of each size that occurs, and that of all classes of the size; nothing of one class."""
    counts = Counter(float(each) for each in histogram if each != 0)
    total = sum(size * many for size, many in counts.items())
    if counts and not (min(counts) > 0 and total < float("inf")):
        raise ValueError(f"the counts of a histogram must be at least 0 and finite: {list(histogram)}")
    if counts.total() < 2:
        return [], []
    return [size / total for size in counts], [size * many / total for size, many in counts.items()]


def relative_excess_of(
    noise: Float[Tensor, "*c"], classes: Classes, temperature: float | Float[Tensor, "*#c"]
) -> Float[Tensor, "*c"]:
    """r(η) of the best model, as in the head of this file: rises from about 0 (low τ) or more at η = 0 to 1 at η = 1.

    **Arguments:**

    - `noise`: η in [0, 1].
    - `classes`: of the same leading shape, or of one that broadcasts with it.
    - `temperature`: τ > 0.

    **Returns:** float64; NaN for classes without mass.
    """
    kept = (1.0 - noise.double()).square().unsqueeze(-1)
    count = classes.count.unsqueeze(-1)
    widest = count / ((count - 1.0) * torch.as_tensor(temperature, dtype=torch.float64, device=noise.device)[..., None])
    gap = torch.log1p(kept / ((1.0 - kept) * classes.share)).minimum(widest)
    within = kept + (1.0 - kept) * classes.share
    normaliser = torch.logaddexp(classes.share.log() + gap, torch.log1p(-classes.share))
    return 1.0 - (classes.mass * (within * gap - normaliser)).sum(dim=-1) / classes.entropy


def noise_share(
    r: Float[Tensor, "*c"], classes: Classes, temperature: float | Float[Tensor, "*#c"]
) -> Float[Tensor, "*c"]:
    """η(r): the share of labels which, if they were chance, would give the best model this relative excess.

    The inverse of `relative_excess_of`, by bisection; 0 for an r below r(0), 1 from r = 1 on.

    **Arguments:** `r`, of the shape of `noise` there; `classes` and `temperature` as there.

    **Returns:** float64, in [0, 1]; it says nothing for classes without mass, which `Classes.filled` gives some.
    """
    r = r.double()
    each = Classes(share=classes.share.unsqueeze(-2), mass=classes.mass.unsqueeze(-2))
    temperature = torch.as_tensor(temperature, dtype=torch.float64, device=r.device).unsqueeze(-1)
    offsets = torch.arange(PARTS, dtype=torch.float64, device=r.device) / PARTS
    low, width = torch.zeros_like(r), 1.0
    for _ in range(ROUNDS):
        below = relative_excess_of(low.unsqueeze(-1) + width * offsets, each, temperature) <= r.unsqueeze(-1)
        width /= PARTS
        low = low + width * (below.sum(dim=-1) - 1).clamp(min=0)
    return low.where(r < 1.0, 1.0)
