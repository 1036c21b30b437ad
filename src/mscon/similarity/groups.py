"""What tags and paths have in common: kinds of items, each of which is in several groups."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from mscon.contrast import LabelTargets, LinearTargets, TypeTargets
from mscon.contrast.sparse import distinct


class Groups:
    """What `Tags` and `Hierarchy` share: a table of kinds of items, each with the groups it is in."""

    def __init__(self, groups: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]):
        lengths = torch.tensor([len(each) for each in groups], dtype=torch.int64)
        self.starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        self.groups = torch.tensor([group for each in groups for group in each], dtype=torch.int64)
        self.weights = torch.tensor([weight for each in weights for weight in each], dtype=torch.float64)

    def targets(self, values: Int[Tensor, " n"]) -> LinearTargets:
        """Targets from numbers of kinds; a negative number, or a kind without a group, is a missing label."""
        starts, groups, weights = (each.to(values.device) for each in (self.starts, self.groups, self.weights))
        lengths = starts.diff()
        if len(lengths) == 0:
            return LabelTargets.of(values.clamp(max=-1))
        rows = ((values >= 0) & (lengths[values.clamp(min=0)] > 0)).nonzero().squeeze(1)
        kinds, types, _ = distinct(values[rows])
        members = torch.arange(len(kinds), device=values.device).repeat_interleave(lengths[kinds])
        within = torch.arange(len(members), device=values.device) - (lengths[kinds].cumsum(0) - lengths[kinds])[members]
        places = starts[kinds][members] + within
        return TypeTargets.of_groups(rows, types, members, groups[places], weights[places], batch=len(values))
