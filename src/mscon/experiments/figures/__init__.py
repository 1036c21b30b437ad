"""What changes along an axis: each figure is some variants of a study, trained in the quick preset, and lines drawn."""

from mscon.errors import UserError, nearest
from mscon.experiments.figures.axes import (
    batch_size,
    equal_steps,
    heads,
    leave_one_out,
    noise,
    redundancy,
    similarities,
    temperature,
)
from mscon.experiments.figures.figure import Figure, Point

FIGURES = {
    each.name: each
    for each in (noise, redundancy, temperature, similarities, leave_one_out, heads, batch_size, equal_steps)
}
"""All that train something; `transfer` and `retrieval` are read from the table's own results."""

__all__ = ["FIGURES", "Figure", "Point", "figure"]


def figure(name: str) -> Figure:
    """A figure by its name. **Raises** `UserError` for a name that is none."""
    if name not in FIGURES:
        raise UserError(f"there is no figure {name!r}.{nearest(name, FIGURES)} Known: {', '.join(FIGURES)}")
    return FIGURES[name]
