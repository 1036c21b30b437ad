"""A comparison as one HTML page that needs nothing but itself."""

from pathlib import Path

from mscon import __version__
from mscon.errors import UserError
from mscon.files import write_text
from mscon.report.compare.comparison import Comparison
from mscon.report.compare.overlays import STROKES, overlay_panels
from mscon.report.svg import RUNS
from mscon.report.templates import template


def check_page(path: Path) -> None:
    """**Raises** `UserError` for a path that no page can be written to."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"-o {path}: the comparison is written as a page; name a file that ends in .html")
    if not path.absolute().parent.is_dir():
        raise UserError(f"-o {path}: there is no folder {path.parent}; make it, or name another")


def write_comparison(found: Comparison, path: Path) -> Path:
    """Write the page, whole or not at all, and give its path. **Raises** `UserError` as `check_page` does, or when the
    disk refuses.
    """
    check_page(path)
    names = [column.name for column in found.columns]
    page = template("compare/page.html").render(
        found=found,
        panels=overlay_panels(found.overlays, names),
        strokes=[(1 + place % len(RUNS), STROKES[place % len(STROKES)][1]) for place in range(len(names))],
        version=__version__,
    )
    write_text(path, page)
    return path
