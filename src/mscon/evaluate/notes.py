"""What a reader of a run's scores should know of the items that they are of."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mscon.evaluate.columns import lacking_part
from mscon.prepare import Prepared


def data_notes(data: Prepared) -> list[str]:
    """What has changed in a catalog since the training, and which labels cannot be scored."""
    lacking = {name: lacking_part(values, data.split) for name, values in data.values.items()}
    unscored = [f"{name}: no {part} row has it, so it is not scored." for name, part in lacking.items() if part]
    return [*data.notes, *unscored]


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Print them, a line each."""
    for note in notes:
        console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
