"""What changes along an axis: each figure is some variants of a study, and lines drawn through what they come to."""

from mscon.errors import UserError, nearest
from mscon.experiments.figures.axes import (
    batch_size,
    equal_steps,
    gaps,
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
    for each in (noise, gaps, redundancy, temperature, similarities, leave_one_out, heads, batch_size, equal_steps)
}
"""All that train something."""

MEASURES = ("transfer", "retrieval")
"""Those that are read from the table's own results, in the full preset."""

__all__ = ["FIGURES", "MEASURES", "Figure", "Point", "figure"]


def figure(name: str) -> Figure:
    """A figure by its name. **Raises** `UserError` for a name that is none."""
    if name not in FIGURES:
        known = [*FIGURES, *MEASURES]
        raise UserError(f"there is no figure {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    return FIGURES[name]
