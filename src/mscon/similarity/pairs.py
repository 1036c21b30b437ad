"""Alike means: linked."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mscon.arguments import check_tensor
from mscon.contrast import LinearTargets, TypeTargets
from mscon.contrast.sparse import entries, sparse
from mscon.contrast.targets import KnownCodes, whole_numbers


class Pairs:
    """Alike means: linked. q_ij is in proportion to how strongly the items of rows i and j are linked.

        q_ij = v_ij / Σ_{k≠i} v_ik,    v_ij = s_ij between two items, max_k s_ik between two views of item i

    For judgements of people, co-purchases, clicks: any table of (item, item, strength). Links go both ways, and only
    their ratios count. An item with a link, be it to an item outside the batch, is as alike to its own other views as
    to its strongest link; an item without one takes part as a negative. Batches must bring linked items together, as
    those of `mscon.data.pair_batches` do.

    **Arguments:**

    - `edges`: numbers of the two items of each pair, any order; a pair that is named twice counts with the sum.
    - `strength`: > 0 per pair, 1 when left out.

    **Raises:** `ValueError` for a strength that is not positive and finite, numbers of strengths and pairs that differ,
    edges that are not (E, 2) integers from 0 on, or an item linked to itself.
    """

    def __init__(self, edges: Integer[Tensor, "e 2"], strength: Float[Tensor, " _"] | None = None):
        check_tensor("edges, two items each,", edges, "E", "2")
        if strength is not None:
            check_tensor("strength", strength, "E")
        edges = whole_numbers(edges.flatten()).reshape(edges.shape)
        strength = torch.ones(len(edges), dtype=torch.float64) if strength is None else strength.double()
        if len(strength) != len(edges):
            raise ValueError(f"{len(strength)} strengths for {len(edges)} pairs")
        if not bool(((strength > 0) & strength.isfinite()).all()):
            raise ValueError("the strength of a pair must be positive and finite")
        if len(edges) and (int(edges.min()) < 0 or bool((edges[:, 0] == edges[:, 1]).any())):
            raise ValueError("a pair names two different items by numbers from 0")
        items = int(edges.max()) + 1 if len(edges) else 0
        both = torch.cat([edges, edges.flip(1)]).t()
        links = sparse(both, strength.repeat(2), (items, items))
        (first, self.second), self.strength = links.indices(), links.values()
        zeros = torch.zeros(items, dtype=torch.float64, device=first.device)
        self.strongest = zeros.scatter_reduce(0, first, self.strength, "amax")
        self.starts = torch.searchsorted(first, torch.arange(items + 1, device=first.device))

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from item numbers, equal for views of one item; a negative number is a row that takes no part."""
        known = KnownCodes.of(values)
        items = known.codes
        self._move_to(values.device)
        # Items beyond the table have no links: their part of it is empty and begins at its end.
        end = len(self.strongest)
        starts = self.starts[items.clamp(max=end)]
        lengths = self.starts[(items + 1).clamp(max=end)] - starts
        one, places = entries(starts, lengths)
        partner = self.second[places]
        other = torch.searchsorted(items, partner).clamp(max=len(items) - 1)
        here = items[other] == partner
        linked = lengths.nonzero().squeeze(1)
        where = torch.cat([torch.stack([one[here], other[here]]), linked.expand(2, -1)], dim=1)
        strength = torch.cat([self.strength[places[here]], self.strongest[items[linked]]])
        v = sparse(where, strength, (len(items), len(items)))
        return TypeTargets.of_matrix(known.rows, known.places, v, batch=known.batch)

    def _move_to(self, device: torch.device) -> None:
        """The table goes where the batches are and stays there: with millions of links, a copy per step would tell."""
        if self.second.device != device:
            self.second, self.strength = self.second.to(device), self.strength.to(device)
            self.strongest, self.starts = self.strongest.to(device), self.starts.to(device)
