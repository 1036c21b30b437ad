"""What a set needs, what of it is there, and what was found in it, on a console."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mscon.data.originals.collect import checklist
from mscon.data.originals.original import About, Original


def show_checklist(about: About, root: Path, console: Console) -> None:
    """Where a set is got, and which of its files lie below the root."""
    for line in (
        *(about.title, about.page, f"licence: {about.licence}", f"archives: {', '.join(about.archives)}"),
        f"unpack: {about.unpack}",
    ):
        _say(console, line)
    for piece in checklist(about, root):
        hint = f" ({piece.wanted.archive} is there: unpack it)" if piece.packed else ""
        state = f"✓ {piece.path}" if piece.path else f"missing: {root / piece.wanted.places[0]}{hint}"
        _say(console, f"  {piece.wanted.what}: {state}")


def show(original: Original, console: Console) -> None:
    """The counts beside those of the whole set, loud where they differ, and the notes."""
    table = Table(title="check counts", title_justify="left", box=None, pad_edge=False)
    table.add_column("count")
    for head in ("whole set", "here"):
        table.add_column(head, justify="right")
    table.add_column("")
    for check in original.checks:
        state = "✓" if check.same else "[bold red]DIFFERS[/bold red]"
        table.add_row(check.what, f"{check.expected:,}", f"{check.found:,}", state)
    console.print(table)
    if differing := sum(not check.same for check in original.checks):
        console.print(
            f"[bold red]{differing} of {len(original.checks)} counts differ from those of the whole set:[/bold red]"
            " this is a part of it or another version, and its results are not to be set beside others'.",
            soft_wrap=True,
        )
    for note in original.notes:
        _say(console, f"note: {note}")


def show_written(original: Original, path: Path, console: Console) -> None:
    """What was written, and the command to go on with."""
    about = original.about
    words = [f"--similarity {each}" for each in about.similarities] + [f"--ood {each}" for each in about.ood]
    _say(console, f"{original.table.height:,} rows × {original.table.width} columns: {path}")
    _say(console, f"now: mscon train {shlex.quote(str(path))} {' '.join(words)}")


def _say(console: Console, text: str) -> None:
    """Print text that may hold a user's words: as it is, whatever brackets it has, and in one piece."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
