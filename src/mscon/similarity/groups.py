"""What tags and paths have in common: kinds of items, each of which is in several groups."""

from collections.abc import Sequence

import torch
from jaxtyping import Integer
from torch import Tensor

from mscon.contrast import LinearTargets, TypeTargets
from mscon.contrast.sparse import entries, sparse
from mscon.contrast.targets import KnownCodes, whole_numbers


class Groups:
    """What `Tags` and `Hierarchy` share: a table of kinds of items, each with the groups it is in and their weights.

    **Arguments:** `groups`, of each kind, numbers from 0, each once; `weights` > 0, of each in `groups`.
    """

    def __init__(self, groups: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]):
        kinds = torch.tensor([kind for kind, each in enumerate(groups) for _ in each], dtype=torch.int64)
        codes = [group for each in groups for group in each]
        values = torch.tensor([weight for each in weights for weight in each], dtype=torch.float64)
        places = torch.stack([kinds, torch.tensor(codes, dtype=torch.int64)])
        table = sparse(places, values, (len(groups), max(codes, default=0) + 1))
        (kinds, self.codes), self.weights = table.indices(), table.values()
        # A batch looks up where its kinds begin: taking rows of a sparse matrix goes through all of it at every step.
        self.starts = torch.searchsorted(kinds, torch.arange(len(groups)))
        # One kind more than there are: the last, which is in no group, is that of missing labels.
        self.lengths = torch.tensor([len(each) for each in groups] + [0])

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from numbers of kinds; a negative number, or a kind without a group, is a missing label."""
        values = whole_numbers(values)
        self._move_to(values.device)
        if len(values) and int(values.max()) >= len(self.starts):
            raise ValueError(f"a value of {int(values.max())}, where there are {len(self.starts)} sets or paths")
        known = KnownCodes.of(values.where(self.lengths[values.clamp(min=-1)] > 0, -1))
        members, places = entries(self.starts[known.codes], self.lengths[known.codes])
        groups, weights = self.codes[places], self.weights[places]
        return TypeTargets.of_groups(known.rows, known.places, members, groups, weights, batch=known.batch)

    def _move_to(self, device: torch.device) -> None:
        """The table goes where the batches are, and stays there."""
        if self.codes.device != device:
            self.codes, self.weights = self.codes.to(device), self.weights.to(device)
            self.starts, self.lengths = self.starts.to(device), self.lengths.to(device)


def refuse_text(given: Sequence[object]) -> None:
    """**Raises** `ValueError` for text where several names belong, which would be taken letter by letter."""
    for each in given:
        if isinstance(each, str):
            raise ValueError(f"each item has several names, such as [{each!r}], not one text: {each!r}")
