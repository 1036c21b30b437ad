"""What the page draws: a strip of dots and intervals for each probe, and panels of curves for each similarity."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from mscon.report.curves import Curve, LossCurves, SimilarityCurves
from mscon.report.probes import Probe, Score
from mscon.report.svg import FAINT, INK, LINE, MODEL, PAPER, Margins, inline_svg

FLOOR_MARKS = {"s": "□", "D": "◇", "x": "✕", "*": "☆", "h": "⬡"}
"""The floors' marks in the order of the table's columns: matplotlib's marker, and the same as a sign in text."""

_STRIP_MARGINS = Margins(left=2, bottom=13, right=2, top=1)
_PANEL_MARGINS = Margins(left=32, bottom=16, right=5, top=8)
_LANE = 11  # pixels: high enough that two marks with the same score do not touch

ALIKE = 0.03
"""Of the way from floor to chance: bounds that are nearer to each other look like one."""


@dataclass(frozen=True)
class Panels:
    """The curves of one similarity."""

    loss: Markup
    relative_excess: Markup
    weight: Markup


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


def curve_panels(curves: Mapping[str, SimilarityCurves]) -> dict[str, Panels]:
    """Three panels per similarity; steps, relative excess and weight are on one scale for all of them."""
    every = list(curves.values())
    weights = [each.weight for each in every]
    last = _top(kind.loss.steps for each in every for kind in (each.train, each.held_out))
    highest = _top(kind.relative_excess.known for each in every for kind in (each.train, each.held_out))
    heaviest = _top(weight.known for weight in weights)

    def panel(number: int, what: str, curve: Curve, held_out: Curve | None, draw: Callable[[Axes], None]) -> Markup:
        known = len(curve.known) + (0 if held_out is None else len(held_out.known))

        def draw_framed(axes: Axes) -> None:
            draw(axes)
            axes.set_xlim(0, last)
            axes.locator_params(axis="x", nbins=4, integer=True)
            axes.locator_params(axis="y", nbins=4)
            if known == 0:
                axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", va="center")

        name, alt = f"{what.replace(' ', '-')}-{number}", f"{list(curves)[number]}, {what}: {_course(curve)}"
        if held_out is not None and len(held_out.known):
            alt += f"; held out {_course(held_out)}"
        return inline_svg(draw_framed, name=name, alt=alt, width=300, height=150, margins=_PANEL_MARGINS)

    return {
        name: Panels(
            loss=panel(number, "loss", each.train.loss, each.held_out.loss, partial(_draw_loss, each)),
            relative_excess=panel(
                number,
                "relative excess",
                each.train.relative_excess,
                each.held_out.relative_excess,
                partial(_draw_relative_excess, each, highest),
            ),
            weight=panel(number, "weight", each.weight, None, partial(_draw_weight, each, weights, heaviest)),
        )
        for number, (name, each) in enumerate(curves.items())
    }


def _draw_loss(each: SimilarityCurves, axes: Axes) -> None:
    _draw_bounds(axes, each.train, colour=MODEL)
    if not _bounded_alike(each.train, each.held_out):
        _draw_bounds(axes, each.held_out, colour=INK)
    _draw_lines(axes, each.train.loss, each.held_out.loss)
    axes.margins(y=0.15)


def _draw_relative_excess(each: SimilarityCurves, highest: float, axes: Axes) -> None:
    for bound in (0, 1):
        axes.axhline(bound, color=LINE, linewidth=0.8)
    _draw_lines(axes, each.train.relative_excess, each.held_out.relative_excess)
    axes.set_ylim(-0.05, 1.05 * highest)


def _draw_weight(each: SimilarityCurves, weights: Sequence[Curve], heaviest: float, axes: Axes) -> None:
    for other in weights:
        _draw_line(axes, other, color=LINE, linewidth=1.2)
    _draw_line(axes, each.weight, color=MODEL, linewidth=1.8)
    axes.set_ylim(0, 1.1 * heaviest)


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


def _draw_bounds(axes: Axes, kind: LossCurves, *, colour: str) -> None:
    """Chance dotted and floor dashed; across the panel where they are known at a single step."""
    for bound, linestyle in ((kind.chance, "dotted"), (kind.floor, "dashed")):
        if len(bound.known) == 1:
            axes.axhline(bound.known[0], color=colour, linewidth=0.9, linestyle=linestyle)
        else:
            axes.plot(bound.steps, bound.values, color=colour, linewidth=0.9, linestyle=linestyle)


def _bounded_alike(one: LossCurves, other: LossCurves) -> bool:
    """Whether two losses have the same floor and chance as far as a panel shows; those of batches of one size have."""
    pairs = ((one.floor.known, other.floor.known), (one.chance.known, other.chance.known))
    if min(len(known) for pair in pairs for known in pair) == 0:
        return False
    floors, chances = ([float(known.mean()) for known in pair] for pair in pairs)
    return max(abs(floors[0] - floors[1]), abs(chances[0] - chances[1])) < ALIKE * (max(chances) - min(floors))


def _draw_lines(axes: Axes, train: Curve, held_out: Curve) -> None:
    _draw_line(axes, train, color=MODEL)
    size = 4.5 if len(held_out.steps) <= 40 else 2.5
    axes.plot(held_out.steps, held_out.values, color=INK, linewidth=0.7, marker="o", markersize=size, clip_on=False)


def _draw_line(axes: Axes, curve: Curve, **look: Any) -> None:
    """A line, or a mark where it has a single point, which no line goes through."""
    mark = {"marker": "D", "markersize": 5, "clip_on": False} if len(curve.known) == 1 else {}
    axes.plot(curve.steps, curve.values, **look, **mark)


def _top(curves: Iterable[np.ndarray]) -> float:
    """The largest value of all, and at least 1: none of the axes that it ends is shorter."""
    return max([1.0, *(float(curve.max()) for curve in curves if len(curve))])


def _course(curve: Curve) -> str:
    known = [f"{value:.3g}" for value in curve.known]
    return "no value" if not known else known[0] if len(known) == 1 else f"from {known[0]} to {known[-1]}"


def _spoken(score: Score) -> str:
    if score.value is None:
        return "not defined"
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    return f"{score.value:.3f}{interval}"
