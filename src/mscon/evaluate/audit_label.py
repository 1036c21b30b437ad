"""One label column of a run's items, audited: what the run's model makes of them, and the audit that suits the kind."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mscon.data.labels import LabelColumn
from mscon.data.streamed import AnyImages
from mscon.embed import BATCH, embed_pixels
from mscon.errors import UserError
from mscon.evaluate.audit import Audited, audit_categorical, audit_continuous
from mscon.evaluate.columns import membership
from mscon.memory import freed_memory_kept
from mscon.model import MSConModel
from mscon.prepare import Prepared


def all_projections(
    model: MSConModel, pixels: AnyImages, *, rows: Int64[np.ndarray, " m"] | None = None
) -> Float[Tensor, "m d"]:
    """Every similarity's projection of each image, or of those in `rows`, side by side, on the CPU.

    They are far fewer numbers than the shared embedding, which is kept of a batch only.
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    with freed_memory_kept():
        embedded = (embed_pixels(model, pixels[each]) for each in batches)
        return torch.cat(
            [torch.cat([model.project_embedding(h, name) for name in model.similarities], dim=1) for h in embedded]
        ).cpu()


def audit_label(
    data: Prepared,
    name: str,
    projections: Float[Tensor, "m d"],
    colours: Float[Tensor, "m e"],
    *,
    rows: Int64[np.ndarray, " m"] | None = None,
) -> Audited:
    """One label column's audit by its kind; a set of tags or a path counts as one class, and the beginning of a right
    path as right.

    **Arguments:** `projections`, `colours`: of all items, or of those in `rows`, which the audit then counts.

    **Raises:** `UserError` for a column with too few labels.
    """
    every = slice(None) if rows is None else rows
    column, values = data.labels[name], data.values[name][every]
    groups = None if data.groups is None else data.groups[every]
    try:
        if column.kind == "continuous":
            return audit_continuous(projections, values, period=column.period, groups=groups)
        implied = beginnings(column) if column.kind == "hierarchy" else None
        return audit_categorical(projections, colours, values, implied=implied, groups=groups)
    except UserError as error:
        raise UserError(f"column {name!r} of {data.catalog.source}: {error}") from None


def beginnings(column: LabelColumn) -> Bool[np.ndarray, "p p"]:
    """`[a, b]`: whether path a is the beginning of path b, or b itself, for the paths of a hierarchy."""
    last = [nodes[-1] for nodes in column.members]  # a node's code tells its whole way from the top
    return membership(column.members, len(column.classes))[:, last].T
