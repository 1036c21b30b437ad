"""A strip for each probe: the model's score and interval beside those of the floors."""

from markupsafe import Markup
from matplotlib.axes import Axes

from mscon.report.probes import Probe, Score
from mscon.report.svg import FAINT, INK, LINE, MODEL, PAPER, Margins, inline_svg

FLOOR_MARKS = {"s": "□", "D": "◇", "x": "✕", "*": "☆", "h": "⬡"}
"""The floors' marks in the order of the table's columns: matplotlib's marker, and the same as a sign in text."""

_STRIP_MARGINS = Margins(left=2, bottom=13, right=2, top=1)
_LANE = 11  # pixels: high enough that two marks with the same score do not touch


def probe_strip(probe: Probe, *, name: str) -> Markup:
    """The model's score and interval in the top lane, each floor's in one below, the majority as a line across.

    The scale is 0 to 1 for every probe; what lies below 0, as an R² can, stands as an arrow head at the left edge.
    """
    lanes = [probe.score, *(floor.score if floor else None for floor in probe.floors.values())]
    marks = list(FLOOR_MARKS)

    def draw(axes: Axes) -> None:
        axes.set(xlim=(-0.02, 1.02), ylim=(len(lanes) - 0.5, -0.5), yticks=[])
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", ".5", "", "1"])
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=2)
        if probe.majority is not None:
            axes.axvline(probe.majority, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
        for lane, score in enumerate(lanes):
            if score is not None and score.value is not None:
                _draw_score(axes, lane, score.value, score, mark="o" if lane == 0 else marks[(lane - 1) % len(marks)])

    spoken = [f"model {_spoken(probe.score)}"]
    spoken += [f"{floor} {_spoken(scores.score)}" for floor, scores in probe.floors.items() if scores]
    alt = f"{probe.name}, {probe.metric}: {'; '.join(spoken)}"
    height = _LANE * len(lanes) + _STRIP_MARGINS.bottom + _STRIP_MARGINS.top
    return inline_svg(draw, name=name, alt=alt, width=230, height=height, margins=_STRIP_MARGINS)


def _draw_score(axes: Axes, lane: int, value: float, score: Score, *, mark: str) -> None:
    colour, face, width, size = (MODEL, MODEL, 2.2, 5.5) if lane == 0 else (INK, PAPER, 1.0, 4.5)
    if score.low is not None and score.high is not None:
        axes.plot([max(score.low, 0), max(score.high, 0)], [lane, lane], color=colour, linewidth=width)
    axes.plot(
        [max(value, 0)],
        [lane],
        marker=mark if value >= 0 else "<",
        markersize=size,
        markeredgewidth=1.1 if mark == "x" else 0.9,
        color=colour,
        markerfacecolor=face,
        clip_on=False,
    )


def _spoken(score: Score) -> str:
    if score.value is None:
        return "not defined"
    interval = "" if score.low is None or score.high is None else f" ({score.low:z.3f} to {score.high:z.3f})"
    return f"{score.value:z.3f}{interval}"
