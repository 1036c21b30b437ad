"""The command line: every command a thin call into one function of the package.

The package's own modules are imported inside the commands, so that help answers at once.
"""

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnusedCliTokensError
from rich.text import Text

from mscon import __version__
from mscon.cli.compare import compare
from mscon.cli.explore import explore
from mscon.cli.runs import ablate, audit, demo, embed, evaluate, inspect, train
from mscon.cli.search import export_index, index, search
from mscon.cli.share import export
from mscon.cli.shared import say, torchrun
from mscon.cli.studies import data, reproduce
from mscon.console import terminal
from mscon.errors import ToldElsewhere, UserError, first_line

USER_ERROR, SIGNALLED = 2, 128
"""Exit statuses: of the user's mistake; to the number of a signal, of what a signal ended, as shells have it."""

NO_MEMORY = (
    "memory has run out. A training takes less with training.micro_batch, which leaves the objective as it is, or with"
    " a smaller training.batch_size, image.size or model.backbone, in a new run; what is written to disk is intact"
)


def _told(error: CycloptsError) -> Text:
    """A mistake in the words of the command line, as it is printed."""
    text = str(error)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        text = (
            f"there is no place for {error.unused_tokens[0]!r}: an option takes one value, so repeat it for each, as in"
            " --similarity category --similarity closure"
        )
    return Text.assemble(("error:", "bold red"), f" {text}")


app = App(
    name="mscon",
    version=f"mscon {__version__}",
    help="""Learn one embedding from several notions of similarity, and see what it is worth.

    A catalog is any table with an image column and label columns: CSV, Parquet, a folder with metadata.csv, a saved
    Hugging Face dataset, or `glyphs`, which is built in. Start with

        mscon demo
        mscon inspect shoes.parquet --similarity category --similarity closure
        mscon train shoes.parquet --similarity category --ood brand
        mscon evaluate runs/shoes
    """,
    help_format="markdown",
    default_parameter=Parameter(negative=""),
    error_formatter=_told,
)

for each in (
    *(inspect, train, evaluate, compare, ablate, audit, embed, search, index, export_index, explore, export),
    *(data, reproduce, demo),
):
    app.command(each)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or the words given in its place: exit with 0, with 2 for the user's mistake, with 128 and
    the signal's number when interrupted (Ctrl-C 130, SIGTERM 143), with 1 for ours.
    """
    from mscon.interrupt import InterruptedRun, InterruptedRunsError
    from mscon.memory import out_of_memory

    errors = terminal(stderr=True)
    rank, processes = torchrun("RANK", 0), torchrun("WORLD_SIZE", 1)

    def mistaken(text: str) -> NoReturn:
        errors.print("[bold red]error:[/bold red] " + (f"process {rank}: " if rank else ""), end="")
        say(errors, text)
        sys.exit(USER_ERROR)

    try:
        app(
            sys.argv[1:] if words is None else words,
            exit_on_error=False,
            print_error=True,
            result_action="return_value",
        )
    except CycloptsError:
        sys.exit(USER_ERROR)
    except ToldElsewhere:
        sys.exit(USER_ERROR)
    except UserError as error:
        mistaken(str(error))
    except InterruptedRun as stop:
        again = "mscon train" if processes == 1 else f"torchrun, {processes} processes again, -m mscon train"
        if isinstance(stop, InterruptedRunsError):
            say(errors, f"stopped in {stop}, with a checkpoint: the same command goes on")
        elif rank == 0:
            say(errors, f"stopped, with a checkpoint. Go on with: {again} {stop} --resume")
        sys.exit(SIGNALLED + stop.number)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        mistaken(f"{NO_MEMORY} ({first_line(error)})")
    except KeyboardInterrupt:
        sys.exit(SIGNALLED + signal.SIGINT)
