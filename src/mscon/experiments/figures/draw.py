"""A figure as a picture and as a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from mscon.experiments.figures.figure import Figure, Line
from mscon.experiments.statistics import Spread, mean, pooled
from mscon.experiments.studies import Study
from mscon.files import write_whole

COLOURS = ("#1f5fa6", "#a83c00", "#3f7d4e", "#7a4fa3", "#8a6d00", "#5c6067", "#b0417a", "#2b8a99")
INK, FAINT, EDGE = "#1d1f22", "#5c6067", "#d6d8db"
MARKS = "osD^vPX*"
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mscon",
    "font.size": 8.5,
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "text.color": INK,
    "axes.titlesize": 8.5,
    "axes.edgecolor": EDGE,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eeeeec",
    "xtick.color": EDGE,
    "ytick.color": EDGE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
}
WIDTH, HEIGHT = 7.5, 2.3
LONG = 5
"""Letters of a place's name, beyond which it is no number: no lines lead from one to the next."""
FEWEST = 3
"""Seeds from which on a point's interval is by their own spread."""
LEAST = 4.0
"""Percentage points that a panel spans, so that chance does not look like a slope."""


@dataclass(frozen=True)
class Chart:
    """What is drawn and written: along an axis, in panels, a line for each method.

    - `places`: along the axis. `panels`: title → method → place → a percentage for each seed; what is not there yet is
      left out.
    """

    axis: str
    places: tuple[str, ...]
    panels: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]

    @property
    def methods(self) -> list[str]:
        """Those that any panel has, in order."""
        return list(dict.fromkeys(method for panel in self.panels.values() for method in panel))


def chart(figure: Figure, study: Study, lines: Sequence[Line], *, quick: bool) -> Chart:
    """Of a figure's lines; in the full preset with what was published."""
    places = tuple(point.at for point in figure.points(study, study.preset(quick)))
    panels = {
        panel.title: {
            line.method.title: {at: list(panel.values(there).values()) for at, there in line.results.items()}
            for line in lines
        }
        for panel in figure.panels(study)
    }
    for method, labels in ({} if quick else study.published_left_out).items():
        for label, value in labels.items():
            if f"without {label}" in places and label in panels:
                panels[label][f"{method}: in print"] = {f"without {label}": [value]}
    return Chart(figure.axis, places, panels)


def draw(chart: Chart, path: Path) -> None:
    """A line through the means over seeds, a dot for every seed; as SVG."""
    columns = 2 if len(chart.panels) in (2, 4) else min(3, len(chart.panels))
    rows = -(-len(chart.panels) // columns)
    with mpl.rc_context(SETTINGS):
        canvas = Canvas(figsize=(WIDTH, HEIGHT * rows + 0.5), layout="constrained")
        grid = canvas.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for axes, (title, panel) in zip(grid, chart.panels.items(), strict=False):
            axes.set_title(title, loc="left")
            _panel(axes, chart, panel)
        for axes in grid[len(chart.panels) :]:
            axes.set_visible(False)
        grid[0].set_ylabel("%")
        canvas.supxlabel(chart.axis, fontsize=8.5, color=FAINT)
        handles, titles = grid[0].get_legend_handles_labels()
        canvas.legend(handles, titles, loc="outside upper left", ncols=min(3, max(1, len(titles))))
        save: Any = {"format": "svg", "metadata": {"Date": None, "Creator": None}}
        write_whole(path, lambda aside: canvas.savefig(aside, **save))


def markdown(chart: Chart) -> Iterator[str]:
    """A row for each place and method: the panels' means with 95% intervals; see `_spread`."""
    spreads = {
        (title, method): _spread(line) for title, panel in chart.panels.items() for method, line in panel.items()
    }
    yield f"| {' | '.join([chart.axis, 'method', *chart.panels, 'seeds'])} |"
    yield f"|{' --- |' * (len(chart.panels) + 3)}"
    for place in chart.places:
        for method in chart.methods:
            values = {title: panel.get(method, {}).get(place, []) for title, panel in chart.panels.items()}
            if any(values.values()):
                cells = [mean(each, spreads[title, method]).text() if each else "" for title, each in values.items()]
                yield f"| {' | '.join([place, method, *cells, str(max(map(len, values.values())))])} |"


def _spread(line: Mapping[str, Sequence[float]]) -> Spread | None:
    """One for all points of a line if any of them has two seeds or fewer, else None: each point has its own."""
    return pooled(line.values()) if min(map(len, line.values()), default=0) < FEWEST else None


def _panel(axes: Axes, chart: Chart, panel: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    methods = chart.methods
    named = max(map(len, chart.places)) > LONG
    for number, method in enumerate(methods):
        there = {place: values for place in chart.places if (values := panel.get(method, {}).get(place))}
        x = np.array([chart.places.index(place) for place in there]) + 0.06 * (number - (len(methods) - 1) / 2)
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKS[number % len(MARKS)]}
        means = [np.mean(each) for each in there.values()]
        axes.plot(x, means, label=method, markersize=4, linestyle="" if named else "-", **style)
        for place, each in zip(x, there.values(), strict=True):
            axes.plot([place] * len(each), each, linestyle="", markersize=2.5, alpha=0.45, **style)
    low, high = axes.get_ylim()
    if (missing := LEAST - (high - low)) > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)
    slanted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if named else {}
    axes.set_xticks(range(len(chart.places)), chart.places, **slanted)
