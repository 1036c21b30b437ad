"""Names and numbers as sentences have them."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

ODD = (
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"),
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
)
"""Characters that no word needs: a terminal obeys them, as ESC begins its commands, or they turn round what follows."""

_ESCAPED = {ord(each): f"\\u{ord(each):04x}" for each in ODD}
_REPLACED = dict.fromkeys(map(ord, ODD), "\N{REPLACEMENT CHARACTER}")


def plain(words: str) -> str:
    """A stranger's words with "�" for each of `ODD`."""
    return words.translate(_REPLACED)


def json_text(value: Any) -> str:
    """JSON that commands no terminal: `ODD` in strings is escaped, so programs read the same; dates and the like are
    text.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, default=str).translate(_ESCAPED)


def listed(words: Sequence[str], last: str) -> str:
    """ "a, b and c", with "and" for `last`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def span(numbers: Collection[float], form: str) -> str:
    """ "0.81 to 0.99", or "0.81" where the least and the greatest are written alike; `form` is how."""
    return " to ".join(dict.fromkeys(format(each, form) for each in (min(numbers), max(numbers))))


def joined_names(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The names that pairs join, directly or by way of others, as groups; names and groups as they first come."""
    groups: list[list[str]] = []
    for pair in pairs:
        met = [group for group in groups if not set(pair).isdisjoint(group)]
        groups = [group for group in groups if group not in met[1:]]
        merged = list(dict.fromkeys([*(name for group in met for name in group), *pair]))
        groups = [merged if met and group is met[0] else group for group in groups] + ([] if met else [merged])
    return [tuple(group) for group in groups]
