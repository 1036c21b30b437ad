"""Draws the relative excess of the best model against the share of labels that are noise, for docs/weighting.md.

python docs/pictures/noise.py [FOLDER]
"""

import sys
from pathlib import Path

import torch
from look import BLUE, FAINT, INK, ORANGE, PALE, picture

from mscon.weighting.calibration import Classes, relative_excess_of

CLASSES = {2: PALE, 5: BLUE, 20: ORANGE, 200: INK}


def main(folder: Path) -> None:
    """r against η for balanced classes, at two temperatures."""
    noise = torch.linspace(0.0, 1.0, 201, dtype=torch.float64)
    with picture(folder / "noise.svg", 3.0) as figure:
        for axes, temperature in zip(figure.subplots(1, 2, sharey=True), (0.1, 0.5), strict=True):
            for count, colour in CLASSES.items():
                known = Classes(share=torch.tensor([1.0 / count]), mass=torch.ones(1))
                r = relative_excess_of(noise, known, temperature)
                axes.plot(noise, r, color=colour, label=f"{count} classes")
            axes.axvline(0.2, color=FAINT, linewidth=0.8, linestyle=":")
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share η of the labels that are chance")
            axes.set_title(f"τ = {temperature:g}", loc="left")
        figure.axes[0].set_ylabel("relative excess r of the best model")
        figure.axes[0].legend(loc="lower right")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
