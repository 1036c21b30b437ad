"""What `--where` may say: comparisons of columns, and nothing that reads, writes, or takes memory without end.

Both databases have hundreds of functions, one of which repeats a text a billion times; those of a condition are listed
here. What stands in quotes is no concern of ours, so texts that another reader might end elsewhere are refused.
"""

import re
from collections.abc import Iterable

from mscon.errors import UserError, nearest

LONGEST = 20_000
"""Characters: a choice of some hundred values has fewer."""

DEEPEST = 40
"""Brackets within one another."""

MOST_SUMS, MOST_TERMS = 50, 200
"""Of `+`, which puts texts together, too; and of terms: two thousand keep polars busy for more than 25 s."""

QUOTED = 200
"""Characters of a condition that a message repeats."""

FUNCTIONS = frozenset(
    (
        *("abs", "array_contains", "array_has", "array_has_all", "array_has_any", "array_length", "cardinality"),
        *("cast", "ceil", "char_length", "character_length", "coalesce", "contains", "date", "date_part", "date_trunc"),
        *("ends_with", "exp", "extract", "floor", "greatest", "ifnull", "isnan", "least", "length", "list_contains"),
        *("ln", "log", "lower", "mod", "nullif", "power", "regexp_like", "round", "sign", "sqrt", "starts_with"),
        *("strpos", "substr", "substring", "timestamp", "trim", "try_cast", "upper"),
    )
)
"""Their values are no longer than what they are given."""

_WORDS = frozenset(("all", "and", "any", "between", "case", "else", "in", "like", "not", "or", "some", "then", "when"))
_TYPES = frozenset(("char", "decimal", "numeric", "time", "varchar"))
_CHAINED = frozenset(("and", "or", "not", "is", "between", "case", "like"))
_FORBIDDEN = frozenset(("exists", "select", "table", "union", "values", "with"))

_PARTS = re.compile(
    r"""(?P<odd>[\w$&]'|--|/\*|;|\$|\|\|)|(?P<text>'(?:[^']|'')*+')|(?P<column>"(?:[^"]|"")*+"|`[^`]*+`)(?P<of>\s*+\()?"""
    r"""|(?P<name>[^\W\d]\w*+)(?P<call>\s*+\()?|(?P<open>[(\[])|(?P<close>[)\]])|(?P<rest>.)""",
    re.DOTALL,
)
_NOTHING = re.compile(r"\s*\)")


def check_condition(where: str) -> None:
    """**Raises** `UserError` for a condition that does more than compare: subqueries, statements, comments, functions
    that are not among `FUNCTIONS`; and for one that is longer or deeper than any that somebody writes.
    """
    if len(where) > LONGEST:
        raise UserError(f"--where has {len(where):,} characters: more than {LONGEST:,} are not read")
    depth = sums = terms = 0
    for part in _PARTS.finditer(where):
        name, called = (part["name"] or "").lower(), part["call"] is not None
        sums += part["rest"] == "+"
        terms += name in _CHAINED or (part["rest"] or " ") in "=<>!+-*/%"
        depth += bool(called or part["open"]) - bool(part["close"])
        if depth < 0:
            raise _refused(where, "a bracket is closed that none opens")
        if depth > DEEPEST:
            raise UserError(f"--where: more than {DEEPEST} brackets within one another are not read")
        if sums > MOST_SUMS:
            raise UserError(f"--where: more than {MOST_SUMS} sums are not read")
        if terms > MOST_TERMS:
            raise UserError(f"--where: more than {MOST_TERMS} terms are not read; for many values write NAME IN (…)")
        if part["odd"]:
            raise _refused(where, f"{part['odd']!r} outside of quotes is no part of that")
        if part["of"]:
            raise _refused(where, f"{part['column']} in quotes is a column, no function")
        if name in _FORBIDDEN:
            raise _refused(where, f"{part['name']!r} asks for more; a column of that name stands in double quotes")
        if called and _NOTHING.match(where, part.end()):
            raise _refused(where, f"{part['name']!r} is given nothing")
        if called and name not in FUNCTIONS | _WORDS | _TYPES:
            raise _refused(
                where, f"{part['name']!r} is none of its functions.{nearest(name, FUNCTIONS)} Known: {_known()}"
            )
    if depth:
        raise _refused(where, "a bracket is left open")


def whole(where: str | None) -> str | None:
    """In brackets: LanceDB reads as far as it can, and drops the rest without a word."""
    return None if where is None else f"({where})"


def no_condition(where: str) -> UserError:
    """What to say of a `where` that is neither true nor false of an item."""
    return UserError(f"--where {shown(where)} is no condition; write one such as \"gender = 'Women' AND year > 2012\"")


def not_read(where: str, why: str, columns: Iterable[str]) -> UserError:
    """What to say of a `where` that the table's own reader refuses."""
    return UserError(
        f"--where {shown(where)}: {why.rstrip('.')}. Columns: {', '.join(columns)}. Text stands in single quotes:"
        " gender = 'Women'; a date, too, behind DATE: day >= DATE '2024-01-31'"
    )


def shown(where: str) -> str:
    """A condition as messages quote it, its beginning where it is long."""
    return repr(where if len(where) <= QUOTED else f"{where[:QUOTED]} …")


def _refused(where: str, why: str) -> UserError:
    return UserError(f"--where {shown(where)}: a condition compares columns; {why}")


def _known() -> str:
    return ", ".join(sorted(FUNCTIONS))
