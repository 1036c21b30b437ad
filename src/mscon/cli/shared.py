"""What the commands share: options that several have, and how they speak."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from mscon.console import terminal
from mscon.errors import UserError

if TYPE_CHECKING:
    from mscon.data.cache import Skipped
    from mscon.run import Run
    from mscon.search import Collection

LISTED = 20
"""Of rows that were left out: how many are shown."""

Similarities = Annotated[
    list[str] | None,
    Parameter(
        name="--similarity",
        negative="",
        help="A label column to learn from; NAME or NAME:KIND, the kind being categorical, continuous, tags, hierarchy,"
        " rank_n_contrast, pairs, instance or appearance. Repeat it.",
    ),
]
Ood = Annotated[
    list[str] | None,
    Parameter(name="--ood", negative="", help="A label column that is never trained on, only probed. Repeat it."),
]
Settings = Annotated[
    list[str] | None,
    Parameter(
        name=["--set", "-s"],
        negative="",
        help="Any recipe value, such as training.epochs=5 or image.size=32. Repeat it.",
    ),
]
Image = Annotated[str | None, Parameter(help="The image column, where it cannot be found by name.")]


def torchrun(name: str, alone: int) -> int:
    """What torchrun tells each process that it starts; `alone` without it."""
    return int(os.environ.get(name, alone))


def say(console: Console, text: str) -> None:
    """Print text that may hold a user's words: as it is, whatever brackets it has, and in one piece."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say_skipped(console: Console, skipped: Sequence["Skipped"], *, listed_in: Path | None = None) -> None:
    """Name the first of the rows that were left out, and where all of them are listed."""
    for each in skipped[:LISTED]:
        say(console, f"left out: row {each.row} ({each.id}): {each.reason}")
    if len(skipped) > LISTED:
        say(
            console,
            f"left out: {len(skipped) - LISTED:,} more" + (f", all of them in {listed_in}" if listed_in else ""),
        )


def collection(
    run: "Run", catalog: str | None, *, image: str | None, id: str | None, index: str | None
) -> "Collection":
    """What is to be searched: an index, or a catalog that is embedded first. **Raises** `UserError` where both are
    named, and as these do.
    """
    from mscon.search import Space

    if index is None:
        with progress_bar("embedding images") as progress:
            return Space.of(run, catalog, image=image, id=id, progress=progress)
    if catalog or image or id:
        raise UserError("--index stands in place of a catalog: leave out --catalog, --image and --id")
    from mscon.search.index import Index

    return Index.open(index, run)


@contextmanager
def goes_on() -> Iterator[None]:
    """Around several trainings: one that is stopped is gone on with by the command that began it."""
    from mscon.interrupt import InterruptedRun, InterruptedRunsError

    try:
        yield
    except InterruptedRun as stop:
        raise InterruptedRunsError(str(stop), stop.number) from None


@contextmanager
def progress_bar(title: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the error output, gone when the work is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = terminal(stderr=True)  # in a log file the bar would leave nothing but an empty line
    with Progress(*columns, console=errors, transient=True, disable=not (shown and errors.is_terminal)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
