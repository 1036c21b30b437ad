"""Inputs as a stranger may hand them in: good ones with a few things changed, and ones that are odd from the start."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

WORDS = (
    *(
        "",
        " ",
        "a/b",
        "..",
        ".",
        "../../etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        "~root",
        "a\0b",
        "a\nb",
        "\t",
        "'",
        '"',
        "`",
        "\\",
    ),
    *(
        "<script>alert(1)</script>",
        "[red]x[/red]",
        "{{ 7 * 7 }}",
        "%s%n",
        "$(reboot)",
        "=1+1",
        "a\u202eb\u200b",
        "héλ日本",
        "😀" * 20,
    ),
    *("nan", "inf", "null", "None", "-0", "1e400", "NaN", "x" * 5000, "split", "shared", "embedding", "__class__"),
)
"""Texts that mean something to some reader: paths, markup, SQL, numbers that are none."""

NUMBERS = (0, -1, 1, 2, 3, 2**31, 2**63, 2**70, -(2**63) - 1, 0.0, -0.0, 0.5, 1e-320, 1e308, -1e308)

texts = st.sampled_from(WORDS) | st.text(max_size=12)
scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers(-3, 300) | st.floats() | texts
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
"""Whatever JSON can hold."""


def changed_bytes(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with a few of them replaced, taken out, repeated, or cut off at the end."""
    place = st.integers(0, max(0, len(data) - 1)) | st.integers(0, min(200, len(data)))
    change = st.tuples(place, st.integers(0, 40), st.binary(max_size=12) | st.sampled_from([b"\xff" * 8, bytes(8)]))
    ending = st.none() | st.integers(0, len(data))
    return st.builds(lambda changes, end: _spliced(data, changes, end), st.lists(change, max_size=6), ending)


@st.composite
def changed_tree(draw: st.DrawFn, tree: Any, values: st.SearchStrategy[Any] = trees) -> Any:
    """Nested tables and lists with one to three of their values replaced, taken out, or added."""
    whole = {"": deepcopy(tree)}
    for _ in range(draw(st.integers(1, 3))):
        inside, key = draw(st.sampled_from(list(_places(whole))))
        change = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if change == "remove" and key != "":
            del inside[key]
        elif change == "add" and isinstance(inside[key], dict):
            inside[key][draw(texts)] = draw(values)
        elif change == "add" and isinstance(inside[key], list):
            inside[key].append(draw(values))
        else:
            inside[key] = draw(values)
    return whole[""]


def changed_json(tree: Any) -> st.SearchStrategy[str]:
    """A JSON file of it: another tree, or changed letter by letter, or nested beyond any reader."""
    text = json.dumps(tree)
    letters = changed_bytes(text.encode()).map(lambda data: data.decode("utf-8", "replace"))
    deep = st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "", "null", "[]", "{}"])
    return changed_tree(tree).map(json.dumps) | changed_tree(tree).map(json.dumps) | letters | deep


def _spliced(data: bytes, changes: list[tuple[int, int, bytes]], end: int | None) -> bytes:
    for place, length, new in changes:
        data = data[:place] + new + data[place + length :]
    return data[:end]


def _places(inside: Any) -> Iterator[tuple[Any, Any]]:
    """Each table or list, with a key of it."""
    items = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for key, value in list(items):
        yield inside, key
        if isinstance(value, dict | list) and value:
            yield from _places(value)
