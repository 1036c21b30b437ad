"""The one exception for mistakes that a user can mend, and what its messages have in common."""

from collections.abc import Iterable
from difflib import get_close_matches

TOLD = 200
"""Characters of another library's error that a message repeats."""


class UserError(Exception):
    """What is wrong, where (file, row, column), and what to do; the command line prints it without a traceback and
    exits with 2.
    """


class DivergedError(UserError):
    """A training whose loss or gradient is not finite any more."""


class ToldElsewhere(UserError):  # noqa: N818 - nobody is told of it
    """A `UserError` of another process, which tells it; this one only stops."""


def nearest(name: str, options: Iterable[str]) -> str:
    """A sentence naming the option most like `name`, such as " Did you mean 'colour'?"; empty if none is near.

    Capitals do not count.
    """
    small = {each.lower(): each for each in options}
    match = get_close_matches(name.lower(), small, n=1, cutoff=0.6)
    return f" Did you mean {small[match[0]]!r}?" if match else ""


def first_line(error: BaseException) -> str:
    """What an error of another library says first, or its kind where it says nothing: some are pages long."""
    told = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return told if len(told) <= TOLD else f"{told[:TOLD]} …"
