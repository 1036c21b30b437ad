"""What tags and paths have in common: kinds of items, each of which is in several groups."""

from collections.abc import Sequence

import torch
from jaxtyping import Integer
from torch import Tensor

from mscon.contrast import LinearTargets, TypeTargets
from mscon.contrast.sparse import distinct, sparse
from mscon.contrast.targets import whole_numbers


class Groups:
    """What `Tags` and `Hierarchy` share: a table of kinds of items, each with the groups it is in and their weights.

    **Arguments:** `groups`, of each kind, numbers from 0, each once; `weights` > 0, of each in `groups`.
    """

    def __init__(self, groups: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]):
        kinds = torch.tensor([kind for kind, each in enumerate(groups) for _ in each], dtype=torch.int64)
        codes = [group for each in groups for group in each]
        values = torch.tensor([weight for each in weights for weight in each], dtype=torch.float64)
        # One kind more than there are: the last, which is in no group, is that of missing labels.
        places = torch.stack([kinds, torch.tensor(codes, dtype=torch.int64)])
        self.table = sparse(places, values, (len(groups) + 1, max(codes, default=0) + 1))
        self.labelled = torch.tensor([len(each) > 0 for each in groups] + [False])

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from numbers of kinds; a negative number, or a kind without a group, is a missing label."""
        values = whole_numbers(values)
        if self.table.device != values.device:  # it goes where the batches are, and stays there
            self.table, self.labelled = self.table.to(values.device), self.labelled.to(values.device)
        if len(values) and int(values.max()) >= len(self.labelled) - 1:
            raise ValueError(f"a value of {int(values.max())}, where there are {len(self.labelled) - 1} sets or paths")
        rows = self.labelled[values.clamp(min=-1)].nonzero().squeeze(1)
        kinds, types, _ = distinct(values[rows])
        own = self.table.index_select(0, kinds.long()).coalesce()
        members, groups = own.indices()
        return TypeTargets.of_groups(rows, types, members, groups, own.values(), batch=len(values))


def refuse_text(given: Sequence[object]) -> None:
    """**Raises** `ValueError` for text where several names belong, which would be taken letter by letter."""
    for each in given:
        if isinstance(each, str):
            raise ValueError(f"each item has several names, such as [{each!r}], not one text: {each!r}")
