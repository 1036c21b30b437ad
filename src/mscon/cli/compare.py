"""Commands that look at several runs: compare."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mscon.cli.shared import say
from mscon.console import terminal


def compare(
    runs: Annotated[list[Path], Parameter(negative="")],
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    format: Literal["table", "json"] = "table",
) -> None:
    """Put runs side by side: what differs between their recipes, and what came of it.

    Scores of the labels that all of them have, with intervals; differences from the first run on the test items that
    both were scored on, by a paired bootstrap; retrieval, weights and minutes. It reads what `mscon train` and
    `mscon evaluate` wrote, so it takes a moment.

        mscon compare runs/shoes runs/shoes-2
        mscon compare runs/shoes runs/shoes-2 runs/shoes-3 -o compared.html
        mscon compare runs/shoes runs/shoes-2 --format json

    Parameters
    ----------
    runs
        The runs' folders, two or more; differences are beside the first.
    out
        A page to write it to, too: one HTML file, with the runs' curves over one another.
    format
        How to print it.
    """
    from mscon.report.compare import compare_runs, write_comparison
    from mscon.report.compare.page import check_page
    from mscon.report.compare.show import as_json, show

    if out is not None:
        check_page(out)
    found = compare_runs(runs)
    if format == "json":
        print(as_json(found))
    else:
        show(found, terminal())
    if out is not None:
        say(terminal(stderr=True), f"written: {write_comparison(found, out)}")
