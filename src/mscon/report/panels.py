"""Panels of curves over training steps: several for each similarity, a few for the training as a whole."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from mscon.report.course import Course
from mscon.report.curves import Curve, LossCurves, SimilarityCurves, points_each
from mscon.report.svg import INK, LINE, MODEL, Margins, inline_svg

WIDTH, HEIGHT = 300, 150
_MARGINS = Margins(left=38, bottom=16, right=5, top=8)

ALIKE = 0.03
"""Of the way from floor to chance: bounds that are nearer to each other look like one."""

COARSER = 4
"""Times: so much fewer points has a curve in the back of another similarity's panel. A hint of it is enough."""


@dataclass(frozen=True)
class _Panel:
    """One panel to be: what it shows, the curve that is told to those who cannot see it and beside it the held-out
    one, and what draws it.
    """

    title: str
    curve: Curve
    held_out: Curve | None
    draw: Callable[[Axes], None]

    def alt(self, of: str) -> str:
        """What it says in words; `of` comes before."""
        spoken = f"{of}{self.title.removesuffix(', nats')}: {_course(self.curve)}"
        if self.held_out is not None and len(self.held_out.known):
            spoken += f"; held out {_course(self.held_out)}"
        return spoken

    @property
    def empty(self) -> bool:
        """Whether it has no value to show."""
        return not any(len(each.known) for each in (self.curve, self.held_out) if each is not None)

    def svg(self, name: str, *, of: str, last: float) -> Markup:
        """In the frame that all panels have: steps from 0 to `last`."""

        def draw_framed(axes: Axes) -> None:
            self.draw(axes)
            axes.set_xlim(0, last)
            axes.locator_params(axis="x", nbins=4, integer=True)
            axes.locator_params(axis="y", nbins=4)
            if self.empty:
                axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", va="center")

        return inline_svg(draw_framed, name=name, alt=self.alt(of), width=WIDTH, height=HEIGHT, margins=_MARGINS)


def curve_panels(curves: Mapping[str, SimilarityCurves], course: Course) -> dict[str, dict[str, Markup]]:
    """Per similarity its panels by title; everything but the loss is on one scale for all similarities."""
    losses = [kind for each in curves.values() for kind in (each.train, each.held_out)]
    last = _top(kind.loss.steps for kind in losses)
    most = _top((kind.excess.known for kind in losses), least=0.0), _top(kind.relative_excess.known for kind in losses)
    among = {
        "weight": {name: each.weight for name, each in curves.items()},
        "noise share": course.noise_share,
        "temperature τ": course.temperature,
        "labels in doubt": course.doubted,
    }
    return {
        name: {
            panel.title: panel.svg(f"panel-{number}-{place}", of=f"{name}, ", last=last)
            for place, panel in enumerate(_panels(name, each, *most, among))
        }
        for number, (name, each) in enumerate(curves.items())
    }


def course_panels(course: Course) -> dict[str, Markup]:
    """What holds for all similarities together, by title; nothing where nothing was logged."""
    drawn = {
        "learning rate": course.rate,
        "images per second": course.pace,
        "mean relative excess, held out": course.held_out,
    }
    last = _top(curve.steps for curve in drawn.values())
    return {
        title: _among(title, curve, [curve]).svg(f"course-{number}", of="", last=last)
        for number, (title, curve) in enumerate(drawn.items())
        if len(curve.known)
    }


def _panels(
    name: str,
    each: SimilarityCurves,
    most_excess: float,
    most_relative: float,
    among: Mapping[str, Mapping[str, Curve]],
) -> Iterator[_Panel]:
    train, held_out = each.train, each.held_out
    yield _Panel("loss, nats", train.loss, held_out.loss, partial(_draw_loss, each))
    excess, relative = (train.excess, held_out.excess), (train.relative_excess, held_out.relative_excess)
    yield _Panel("excess, nats", *excess, partial(_draw_bounded, *excess, top=most_excess, bounds=(0.0,)))
    yield _Panel("relative excess", *relative, partial(_draw_bounded, *relative, top=most_relative, bounds=(0.0, 1.0)))
    for title, curves in among.items():
        if name in curves and (title == "weight" or len(curves[name].known)):  # numbers, say, are never in doubt
            yield _among(title, curves[name], list(curves.values()))


def _among(title: str, curve: Curve, curves: Sequence[Curve]) -> _Panel:
    return _Panel(title, curve, None, partial(_draw_among, curve, curves))


def _draw_loss(each: SimilarityCurves, axes: Axes) -> None:
    _draw_bounds(axes, each.train, colour=MODEL)
    if not _bounded_alike(each.train, each.held_out):
        _draw_bounds(axes, each.held_out, colour=INK)
    _draw_lines(axes, each.train.loss, each.held_out.loss)
    axes.margins(y=0.15)


def _draw_bounded(train: Curve, held_out: Curve, axes: Axes, *, top: float, bounds: Sequence[float]) -> None:
    for bound in bounds:
        axes.axhline(bound, color=LINE, linewidth=0.8)
    _draw_lines(axes, train, held_out)
    axes.set_ylim(-0.05 * top, 1.05 * top)


def _draw_among(curve: Curve, curves: Sequence[Curve], axes: Axes) -> None:
    """One similarity's curve before those of all, on their scale from 0 up."""
    points = max(2, points_each(len(curves)) // COARSER)
    for other in curves:
        if other is not curve:
            _draw_line(axes, other.averaged(points), color=LINE, linewidth=1.2)
    _draw_line(axes, curve, color=MODEL, linewidth=1.8)
    highest = max((float(each.known.max()) for each in curves if len(each.known)), default=0.0)
    axes.set_ylim(0, 1.1 * highest if highest > 0 else 1.0)


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


def _top(curves: Iterable[np.ndarray], least: float = 1.0) -> float:
    """The largest value of all, and `least` at least: none of the axes that it ends is shorter."""
    return max([least, *(float(curve.max()) for curve in curves if len(curve))]) or 1.0


def _course(curve: Curve) -> str:
    known = [f"{value:.3g}" for value in curve.known]
    return "no value" if not known else known[0] if len(known) == 1 else f"from {known[0]} to {known[-1]}"
