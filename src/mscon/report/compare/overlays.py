"""Curves of several runs over one another: a colour and a kind of stroke for each."""

from collections.abc import Sequence
from functools import partial

from markupsafe import Markup
from matplotlib.axes import Axes

from mscon.report.compare.comparison import Overlay
from mscon.report.curves import Curve
from mscon.report.svg import LINE, RUNS, Margins, inline_svg

STROKES: tuple[tuple[str, str], ...] = (
    ("solid", ""),
    ("dashed", "7 3"),
    ("dotted", "2 2"),
    ("dashdot", "7 3 2 3"),
    ("solid", ""),
    ("dashed", "7 3"),
)
"""By run: matplotlib's name and the dashes of the same in a legend. Colours alone would not do on paper."""

_MARGINS = Margins(left=38, bottom=16, right=6, top=8)


def overlay_panels(overlays: Sequence[Overlay], names: Sequence[str]) -> dict[str, dict[str, Markup]]:
    """Per similarity a panel of the held-out relative excess and one of the weight, over epochs, of all runs."""
    every = [(each.relative_excess, each.weight) for each in overlays]
    last = max(
        (float(curve.steps.max()) for kinds in every for kind in kinds for curve in kind if len(curve.steps)),
        default=1.0,
    )
    panels: dict[str, dict[str, Markup]] = {}
    for number, overlay in enumerate(overlays):
        drawn = {"relative excess, held out": overlay.relative_excess, "weight": overlay.weight}
        panels[overlay.name] = {
            title: _panel(f"overlay-{number}-{place}", f"{overlay.name}, {title}", curves, names, last)
            for place, (title, curves) in enumerate(drawn.items())
            if any(len(curve.known) for curve in curves)
        }
    return {name: each for name, each in panels.items() if each}


def _panel(id: str, title: str, curves: Sequence[Curve], names: Sequence[str], last: float) -> Markup:
    ends = [f"{name} {curve.known[-1]:.3g}" for name, curve in zip(names, curves, strict=True) if len(curve.known)]
    alt = f"{title}, at the end: {'; '.join(ends)}"
    return inline_svg(partial(_draw, curves, last), name=id, alt=alt, width=380, height=190, margins=_MARGINS)


def _draw(curves: Sequence[Curve], last: float, axes: Axes) -> None:
    axes.axhline(0, color=LINE, linewidth=0.8)
    for place, curve in enumerate(curves):
        look = {"color": RUNS[place % len(RUNS)], "linestyle": STROKES[place % len(STROKES)][0]}
        mark = {"marker": "o", "markersize": 4} if len(curve.known) == 1 else {}
        axes.plot(curve.steps, curve.values, linewidth=1.6, **look, **mark)
    highest = max((float(curve.known.max()) for curve in curves if len(curve.known)), default=1.0)
    axes.set(xlim=(0, last), ylim=(0, 1.08 * highest if highest > 0 else 1))
    axes.locator_params(axis="both", nbins=5)
