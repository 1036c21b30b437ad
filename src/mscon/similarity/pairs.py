"""Alike means: linked."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mscon.contrast import LinearTargets, TypeTargets
from mscon.contrast.sparse import distinct, sparse


class Pairs:
    """Alike means: linked. q_ij is in proportion to how strongly the items of rows i and j are linked.

    For judgements of people, co-purchases, clicks: any table of (item, item, strength). Links go both ways. An item
    that is linked to any other is as alike to its own other views as to its strongest link; an item without links
    takes part as a negative. Batches must bring linked items together: `mscon.data.batches` has a sampler for that.

    **Arguments:**

    - `edges`: numbers of the two items of each pair, any order; a pair that is named twice counts with the sum.
    - `strength`: > 0 per pair, 1 when left out.

    **Raises:** `ValueError` for a strength that is not positive and finite, numbers below 0, or an item linked to
    itself.
    """

    def __init__(self, edges: Int[Tensor, "e 2"], strength: Float[Tensor, " e"] | None = None):
        strength = torch.ones(len(edges), dtype=torch.float64) if strength is None else strength.double()
        if not bool(((strength > 0) & strength.isfinite()).all()):
            raise ValueError("the strength of a pair must be positive and finite")
        if len(edges) and (int(edges.min()) < 0 or bool((edges[:, 0] == edges[:, 1]).any())):
            raise ValueError("a pair names two different items by numbers from 0")
        items = int(edges.max()) + 1 if len(edges) else 0
        both = torch.cat([edges, edges.flip(1)]).t()
        links = sparse(both, strength.repeat(2), (items, items))
        (self.first, self.second), self.strength = links.indices(), links.values()
        self.strongest = torch.zeros(items, dtype=torch.float64).scatter_reduce(0, self.first, self.strength, "amax")
        self.starts = torch.searchsorted(self.first, torch.arange(items + 1))

    def targets(self, values: Int[Tensor, " n"]) -> LinearTargets:
        """Targets from item numbers, equal for views of one item; a negative number is a row that takes no part."""
        rows = (values >= 0).nonzero().squeeze(1)
        items, types, _ = distinct(values[rows])
        device, known = values.device, items < len(self.strongest)
        starts, second, strength = (each.to(device) for each in (self.starts, self.second, self.strength))
        number = items.where(known, 0)
        lengths = (
            (starts[number + 1] - starts[number]).where(known, 0) if len(self.strongest) else torch.zeros_like(items)
        )
        one = torch.arange(len(items), device=device).repeat_interleave(lengths)
        places = torch.arange(len(one), device=device) - (lengths.cumsum(0) - lengths)[one] + starts[number][one]
        other = torch.searchsorted(items, second[places]).clamp(max=max(0, len(items) - 1))
        here = items[other] == second[places]
        linked = lengths > 0
        own = linked.nonzero().squeeze(1)
        where = torch.cat([torch.stack([one[here], other[here]]), own.expand(2, -1)], dim=1)
        values_ = torch.cat([strength[places[here]], self.strongest.to(device)[number[own]]])
        v = sparse(where, values_, (len(items), len(items)))
        return TypeTargets.of_matrix(rows, types, v, batch=len(values))
