"""How these pages' pictures look: one width, one ramp of colour, on white, so that they read in dark pages, too."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mscon.experiments.figures import draw

INK, FAINT, BLUE, ORANGE = draw.INK, draw.FAINT, *draw.COLOURS[:2]
"""Those of a run's report."""

PALE = "#a9c8ea"

LEAST = 0.005
"""Of a share that is drawn: what is less is 0 in whole percents."""

SHARES = LinearSegmentedColormap.from_list("shares", ["#f6f6f4", PALE, BLUE])
WIDTH = 7.5
"""Inches: 540 points, which a page shows 720 pixels wide."""

SETTINGS: Any = {**draw.SETTINGS, "axes.grid": False, "lines.linewidth": 1.6}
"""Those of the comparisons' figures, but for the grid."""


@contextmanager
def picture(path: Path, height: float) -> Iterator[Figure]:
    """An empty figure, saved as the same SVG every time."""
    # matplotlib measures with the first font that it finds, readers see the first that they have: room is left for it.
    with mpl.rc_context(SETTINGS):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.04)
        figure = Figure(figsize=(WIDTH, height), layout=layout)
        yield figure
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def heatmap(
    axes: Axes,
    cells: np.ndarray,
    *,
    title: str,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    percent: bool = True,
    most: float | None = None,
) -> None:
    """Cells from pale (0) to blue (`most`), with whole percents in those that have any; row 0 at the top."""
    height, width = cells.shape
    most = most or float(cells.max())
    axes.set_facecolor(SHARES(0.0))
    some = [(row, column, cells[row, column]) for row, column in np.argwhere(cells >= LEAST)]
    squares = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y, x, _ in some]
    axes.add_collection(PolyCollection(squares, facecolors=[SHARES(value / most) for _, _, value in some]))
    axes.hlines(range(1, height), 0, width, color="white", linewidth=0.8)
    axes.vlines(range(1, width), 0, height, color="white", linewidth=0.8)
    for row, column, value in some if percent else ():
        ink = "white" if value > 0.6 * most else INK
        axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=6.5)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.set_title(title, loc="left")
    axes.set_xticks(np.arange(width) + 0.5, columns or [""] * width, rotation=90)
    axes.set_yticks(np.arange(height) + 0.5, rows or [""] * height)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
