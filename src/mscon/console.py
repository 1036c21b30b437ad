"""The terminal, to which commands write what strangers have called things."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.segment import Segment

from mscon.words import plain


def terminal(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console on the output, or on the error output. Whatever is printed there is `plain` first: a class name or an
    id commands no terminal.
    """
    console = Console(stderr=stderr, quiet=quiet)
    console.push_render_hook(_Plain())
    return console


class _Plain(RenderHook):
    """Stands before all that is rendered."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """As rich has it."""
        return [_Words(each) for each in renderables]


@dataclass(frozen=True)
class _Words:
    """What is printed, with the commands of rich and none of others."""

    printed: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for each in console.render(self.printed, options):
            yield each if each.control else Segment(plain(each.text), each.style)
