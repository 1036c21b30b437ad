"""Draws which room of the package imports from which, for docs/reading.md, from the import statements themselves.

    python docs/pictures/rooms.py [FOLDER]

An arrow that others lead along anyway is left out.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from look import FAINT, PALE, picture
from matplotlib.axes import Axes

SOURCE = Path(__file__).parents[2] / "src" / "mscon"

FLOORS = (
    {"cli": (6.8, "cli demo command_line __main__")},
    {"export": (6.8, "export"), "explore": (9.6, "explore"), "loaded": (12.4, "loaded")},
    {
        "experiments": (1.6, "experiments"),
        "ablation": (4.2, "ablation"),
        "report": (6.8, "report"),
        "search": (10.8, "search"),
    },
    {"train": (2.8, "train step validation display doubts")},
    {"evaluate": (5.6, "evaluate")},
    {
        "inspection": (4.4, "inspection"),
        "log": (7.2, "log checkpoint trained_on unreadable"),
        "embed": (10.4, "embed embed_catalog shards"),
    },
    {"build": (5.6, "build copies fabric processes memory connect heartbeat lightning")},
    {"run": (7.4, "run prepare schemas")},
    {"recipe": (6.6, "recipe settings"), "model": (9.6, "model architecture encoder hub")},
    {"data": (11.6, "data")},
    {"micro_batch": (1.0, "micro_batch"), "baselines": (3.0, "baselines"), "objective": (5.2, "objective")},
    {"weighting": (6.6, "weighting"), "item_uncertainty": (9.0, "item_uncertainty temperature held_out")},
    {"terms": (7.0, "terms"), "similarity": (3.6, "similarity")},
    {"contrast": (5.2, "contrast")},
)
"""From the top down: room → where it is drawn, and the modules in it. A room imports from those below it alone."""

TORCH_ALONE = 4
"""Floors, counted from below, that know nothing of images, files or recipes."""

SHELF = frozenset(("arguments", "console", "errors", "files", "interrupt", "parsing", "run_lock", "templates", "words"))
"""What every room may take from: they import nothing of the package but one another."""

EDGE = 0.3
"""Of a room, from its middle, in floors."""

ROOMS = {module: room for floor in FLOORS for room, (_, modules) in floor.items() for module in modules.split()}
LEVEL = {room: level for level, floor in enumerate(reversed(FLOORS)) for room in floor}


def main(folder: Path) -> None:
    """rooms.svg, into a folder."""
    with picture(folder / "rooms.svg", 6.4) as figure:
        axes = figure.subplots()
        ground = TORCH_ALONE - 0.5
        axes.axhline(ground, color=FAINT, linewidth=0.8, linestyle=":")
        axes.text(13.6, ground - 0.12, "below: torch alone", ha="right", va="top", color=FAINT)
        imports = {(ROOMS[one], ROOMS[other]) for _, one, other in imported() if one in ROOMS and other in ROOMS}
        for one, other in sorted(needed({each for each in imports if each[0] != each[1]})):
            draw_arrow(axes, one, other)
        for floor in FLOORS:
            for room, (x, _) in floor.items():
                box = {"boxstyle": "round,pad=0.4", "facecolor": "#f6f6f4", "edgecolor": PALE}
                axes.text(x, LEVEL[room], room, ha="center", va="center", bbox=box)
        axes.set(xlim=(0, 13.6), ylim=(-0.6, len(FLOORS) - 0.4))
        axes.set_axis_off()


def imported() -> Iterator[tuple[Path, str, str]]:
    """Every import of the package's own modules, where and from which into which, but for those of types alone."""
    for path in sorted(SOURCE.rglob("*.py")):
        one = path.relative_to(SOURCE).with_suffix("").parts[0]
        for node in running(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mscon."):
                other = str(node.module).split(".")[1]
                if one != other:
                    yield path, one, other


def running(node: ast.AST) -> Iterator[ast.AST]:
    """What runs: all but what stands under `if TYPE_CHECKING`."""
    for each in ast.iter_child_nodes(node):
        if not (isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"):
            yield each
            yield from running(each)


def needed(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those without which some room could no longer be reached."""
    below: dict[str, set[str]] = {}  # all that a room reaches
    for room in sorted(LEVEL, key=lambda room: LEVEL[room]):
        ends = {end for start, end in arrows if start == room}
        below[room] = ends.union(*(below[end] for end in ends))
    return {
        (start, end)
        for start, end in arrows
        if not any(end in below[other] for one, other in arrows if one == start and other != end)
    }


def draw_arrow(axes: Axes, one: str, other: str) -> None:
    """From the lower edge of a room to the upper one of another."""
    place = {room: (x, LEVEL[room]) for floor in FLOORS for room, (x, _) in floor.items()}
    (x, y), (to_x, to_y) = place[one], place[other]
    style = {"arrowstyle": "->", "color": FAINT, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (to_x, to_y + EDGE), (x, y - EDGE), arrowprops=style, zorder=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
