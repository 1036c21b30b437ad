"""A matplotlib figure as SVG that belongs to the page: in the page's colours and font, light or dark."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, LINE, MODEL, PAPER = "#010000", "#020000", "#030000", "#040000", "#050000"
"""Stand-ins for the page's colours, which CSS alone knows: matplotlib draws with these, the page paints with those."""

RUNS = tuple(f"#{number:02x}0000" for number in range(16, 22))
"""Those of the colours that tell runs apart, `--run-1` and so on; as many as a reader keeps apart."""

_ON_PAGE = {
    **{stand_in: f"var(--run-{number})" for number, stand_in in enumerate(RUNS, start=1)},
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    LINE: "var(--line)",
    MODEL: "var(--model)",
    PAPER: "var(--paper)",
}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": FAINT,
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.5,
}
_POINTS_PER_INCH = 72


@dataclass(frozen=True)
class Margins:
    """Room around the axes, in CSS pixels."""

    left: int
    bottom: int
    right: int
    top: int


def inline_svg(
    draw: Callable[[Axes], None], *, name: str, alt: str, width: int, height: int, margins: Margins
) -> Markup:
    """One panel as an `<svg>` element for the middle of an HTML page.

    Texts of the user's belong in the page, not in the panel: matplotlib has no glyphs for many scripts and reads `$`
    as mathematics.

    **Arguments:**

    - `draw`: draws on the axes, in the colours of this module.
    - `name`: another one for each figure of a page: the ids inside are made from it.
    - `alt`: what the picture says, for those who cannot see it; escaped here.
    - `width`, `height`: in CSS pixels, before the page scales it.
    - `margins`: what is left around the axes for their labels; the same in panels that stand below each other, so
      that their scales do too.
    """
    buffer = io.StringIO()
    # The SVG writer takes its font type and its ids' salt from matplotlib's settings alone, so they are lent for the
    # length of a drawing; the defaults come first so that a user's own matplotlibrc changes no report.
    with style.context(_SETTINGS | {"svg.hashsalt": name}, after_reset=True):
        figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
        inner = (width - margins.left - margins.right) / width, (height - margins.top - margins.bottom) / height
        draw(figure.add_axes((margins.left / width, margins.bottom / height, *inner)))
        figure.savefig(buffer, format="svg", transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    _fit_to_page(root)
    for size in ("width", "height", "version"):
        del root.attrib[size]
    root.attrib |= {"role": "img", "aria-label": alt}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # ElementTree escapes what it writes


def _fit_to_page(element: ElementTree.Element) -> None:
    """Bare tag names and links as HTML has them, CSS colours, no fonts, nothing that reaches outside the picture."""
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    if element.tag != "text":
        element.text = None
    for child in list(element):
        # A style sheet inside an inline SVG would hold for the whole page.
        if child.tag.endswith(("}metadata", "}style")):
            element.remove(child)
        else:
            _fit_to_page(child)
    if element.tag == "g":  # named figure_1, axes_1, …: the same in every figure
        element.attrib.pop("id", None)
    for key in [key for key in element.attrib if key.startswith("{")]:
        element.set(key.rpartition("}")[2], element.attrib.pop(key))
    if "style" in element.attrib:
        element.set("style", _style(element.attrib["style"]))


def _style(text: str) -> str:
    rules = [rule.strip() for rule in text.split(";")]
    kept = "; ".join(rule for rule in rules if not rule.startswith("font-family"))
    for stand_in, colour in _ON_PAGE.items():
        kept = kept.replace(stand_in, colour)
    return kept
