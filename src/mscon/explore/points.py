"""A map as the browser draws it: places, ids, and what colours them, a label's classes or its numbers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mscon.explore.maps import Map
from mscon.explore.results import as_words
from mscon.report import text
from mscon.search import Collection

CLASSES = 8
"""That have a colour and a shape of their own, the most frequent; the others share one."""

MISSING, OTHERS = -1, -2
"""In place of a class's number."""


def points(collection: Collection, drawn: Map, label: str | None, kind: str | None = None) -> dict[str, Any]:
    """As JSON has it: `rows`, `x`, `y`, `ids`, `words` (each item's label, None where missing), and `colours`: of
    classes their `names`, an item's `codes` and how many `others` there are; of numbers their `values` and the ends of
    the scale, `low` and `high`; None without a label. `kind`: as what a run has learned it: many classes that are
    numbers are classes.
    """
    rows = drawn.rows.tolist()
    found = collection.values_of(rows, [label] if label else [])
    values = [each["labels"].get(label) if label else None for each in found]
    x, y = np.round(drawn.places, 4).T.tolist()
    return {
        # as text: LanceDB's numbers are larger than JavaScript's
        "rows": [str(row) for row in rows],
        "x": x,
        "y": y,
        "ids": [text.brief(each["id"]) for each in found],
        "words": [None if value is None else text.brief(as_words(value)) for value in values],
        "colours": _colours(values, kind) if label else None,
    }


def _colours(values: Sequence[Any], kind: str | None) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    many = len(set(map(str, known))) > CLASSES and kind != "categorical"
    if many and all(_is_number(value) for value in known):
        numbers = [float(value) if value is not None and np.isfinite(value) else None for value in values]
        finite = [value for value in numbers if value is not None]
        low, high = np.quantile(finite, (0.02, 0.98)).tolist() if finite else (0.0, 1.0)  # a few far off hide no rest
        return {"kind": "numbers", "values": numbers, "low": low, "high": high}
    words = [None if value is None else as_words(value) for value in values]
    counts = Counter(word for word in words if word is not None).most_common()
    frequent = [name for name, _ in counts[:CLASSES]]
    place = {name: number for number, name in enumerate(sorted(frequent))}
    return {
        "kind": "classes",
        "names": [text.brief(name, 40) for name in place],
        "codes": [MISSING if word is None else place.get(word, OTHERS) for word in words],
        "others": len(counts) - len(frequent),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
