"""Draws the picture of README.md: one letter, and what is nearest to it under three similarities and under a mix.

    python docs/pictures/query.py [RUN]

RUN is the folder of `mscon demo`, made when it is not there: about two minutes. What is drawn are pictures of the test
part, which the training never saw.
"""

import sys
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp

import matplotlib as mpl
from look import FAINT, INK, SETTINGS, WIDTH
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from mscon.demo import demo
from mscon.run import Run
from mscon.search import Space, query_of

ITEM = "DejaVuSerif-Bold/R/0"
SHOWN = 10
ROWS = (
    ("character", "the same letter", {"character": 1.0}),
    ("style", "serifs, too", {"style": 1.0}),
    ("weight", "bold, too", {"weight": 1.0}),
    ("character − style", "the letter, without serifs", {"character": 1.0, "style": -1.0}),
)
"""What a row is called, what it should show, and the weights that it is searched by."""

DPI, COLOURS = 192, 64
"""Few colours make a small file."""


def main(folder: Path) -> None:
    """The picture, of a run in a folder."""
    if not (folder / "model.safetensors").exists():
        demo(folder, Console())
    run = Run.open(folder)
    space = Space.of(run)
    query = query_of(run, space, [ITEM])
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.55))
        whole = figure.add_gridspec(
            len(ROWS), 2 + SHOWN, width_ratios=(1.4, 2.4, *[1.0] * SHOWN), left=0.01, right=0.99, top=0.98, bottom=0.02
        )
        asked = figure.add_subplot(whole[1:3, 0])
        show(asked, query.images[0])
        asked.set_title("asked for", color=FAINT)
        for row, (name, meaning, weights) in enumerate(ROWS):
            told = figure.add_subplot(whole[row, 1])
            told.set_axis_off()
            told.text(0.95, 0.55, name, ha="right", va="bottom", color=INK)
            told.text(0.95, 0.45, meaning, ha="right", va="top", color=FAINT)
            hits = space.search(query, weights, k=SHOWN, where="split = 'test'")
            for place, image in enumerate(space.images_of(hits.rows.tolist())):
                show(figure.add_subplot(whole[row, 2 + place]), image)
        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=DPI)
    picture = Image.open(drawn).convert("RGB").quantize(COLOURS)
    picture.save(Path(__file__).with_suffix(".png"), optimize=True)


def show(axes: Axes, image: bytes) -> None:
    """A picture without ticks."""
    axes.imshow(Image.open(BytesIO(image)).convert("RGB"), interpolation="lanczos")
    axes.set_axis_off()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp()) / "glyphs")
