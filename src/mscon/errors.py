"""The one exception for mistakes that a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


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
