"""What was asked for and what was found, as HTML in which whatever a user wrote stands escaped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mscon.report import text
from mscon.run import Run
from mscon.search import SHARED, Collection, Hits
from mscon.search.show import label_columns, number, records
from mscon.templates import templates

_templates = templates("explore/assets")
_templates.filters |= {"brief": text.brief, "number": number}


@dataclass(frozen=True)
class Bar:
    """How near an item is under one similarity: a bar from the middle to the right, or, below 0, to the left.

    - `weight`: how much it counts; 0 for what does not.
    """

    name: str
    cosine: float
    weight: float

    @property
    def left(self) -> float:
        """Where the bar begins, in percent."""
        return 50 + 50 * min(0.0, max(-1.0, self.cosine))

    @property
    def width(self) -> float:
        """In percent."""
        return 50 * min(1.0, abs(self.cosine))


def results_html(run: Run, collection: Collection, hits: Hits, *, pictures: str) -> str:
    """The items found: picture, id, labels, score and a bar for each similarity. `pictures`: their folder's address."""
    names = [*collection.similarities, *([SHARED] if SHARED in hits.cosines else [])]
    found = [
        {
            "row": int(row),
            "id": each["id"],
            "score": each["score"],
            "labels": _told(each["labels"]),
            "bars": [Bar(name, each["cosines"][name], hits.weights.get(name, 0.0)) for name in names],
        }
        for row, each in zip(hits.rows, records(run, collection, hits), strict=True)
    ]
    return _templates.get_template("results.html").render(found=found, pictures=pictures)


def item_html(run: Run, collection: Collection, row: int, *, pictures: str) -> str:
    """What was asked for, where it is an item."""
    values = collection.values_of([row], label_columns(run))[0]
    return query_html(f"{pictures}/{row}", values["id"], _told(values["labels"]))


def query_html(picture: str, name: str, labels: Mapping[str, str]) -> str:
    """What was asked for: the address of its picture, what it is called, and its labels."""
    return _templates.get_template("query.html").render(picture=picture, name=name, labels=labels)


def told_html(words: str, *, error: bool = False) -> str:
    """A sentence to the user, of a mistake one that is read out at once; no words take no room."""
    return _templates.get_template("told.html").render(words=words, error=error)


def _told(labels: Mapping[str, Any]) -> dict[str, str]:
    """Labels as words; missing ones are left out."""
    return {name: as_words(value) for name, value in labels.items() if value is not None}


def as_words(value: Any) -> str:
    """A cell as the page writes it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def called(name: str) -> str:
    """A similarity, or the shared embedding, as the page names it."""
    return "shared embedding" if name == SHARED else name
