"""For Qdrant: the bodies of the requests that make a collection and fill it."""

import json
import math
import re
import shlex
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from mscon.files import whole_folder
from mscon.search.index.dump.rows import Rows, as_texts, in_turn, readme, widths
from mscon.search.index.table import Index

NAMESPACE = uuid.NAMESPACE_OID
"""Of the UUIDs that stand for ids, which in Qdrant are UUIDs or numbers."""

BYTES = 16_000_000
"""Of a file of points, about: Qdrant takes requests of up to 32 MB."""

FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
"""In the name of a vector, of which Qdrant makes a folder."""

NAME_BYTES = 200
"""Of such a name."""


def dump_qdrant(index: Index, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Write an index as a folder of requests' bodies, whole or not at all.

        README.md  collection.json  points-000001.json  points-000002.json …

    A point has a vector for each similarity, `z_NAME`, all of them side by side as `mix`, and `shared`; its payload is
    the item's `id` and columns. Its own id is `point_id` of the item's, so that loading twice changes nothing.

    **Arguments:** `folder`: must be empty or not there. `progress`: called with items done and items in all.

    **Raises:** `UserError` for a folder that holds something, or a disk that refuses.
    """
    with whole_folder(folder) as aside:
        (aside / "collection.json").write_text(json.dumps(collection(index), indent=2) + "\n", encoding="utf-8")
        names = vector_names(index)
        files, points, size = 0, list[str](), 0
        for rows in in_turn(index, progress):
            for point in _points(rows, names):
                length = len(point.encode())
                if points and size + length > BYTES:
                    files += 1
                    _write(aside, files, points)
                    points, size = [], 0
                points.append(point)
                size += length
        if points:
            files += 1
            _write(aside, files, points)
        first = names[next(iter(names))]
        asked = json.dumps({"query": "UUID", "using": first, "limit": 10, "with_payload": True}, ensure_ascii=False)
        text = readme("qdrant", index, files=files, names=names, asked=shlex.quote(asked))
        (aside / "README.md").write_text(text, encoding="utf-8")


def collection(index: Index) -> dict[str, Any]:
    """The body of `PUT /collections/NAME`. Vectors are of unit length, or such side by side: dot products are sums of
    cosines.
    """
    kept = {"distance": "Dot", "datatype": "float16" if index.about.half else "float32"}
    names = vector_names(index)
    return {"vectors": {names[name]: {"size": width} | kept for name, width in widths(index).items()}}


def vector_names(index: Index) -> dict[str, str]:
    """`z_NAME`, `mix` and `shared` → their names in Qdrant, which has not every character in them."""
    names: dict[str, str] = {}
    for vector in widths(index):
        name = FORBIDDEN.sub("_", vector).encode()[: NAME_BYTES - 10].decode(errors="ignore")
        while name in names.values():
            name += "_"
        names[vector] = name
    return names


def point_id(id: str) -> str:
    """An item's id → its point's."""
    return str(uuid.uuid5(NAMESPACE, id))


def _points(rows: Rows, names: dict[str, str]) -> list[str]:
    texts = {json.dumps(names[name]): as_texts(vectors) for name, vectors in rows.vectors.items()}
    return [
        f'{{"id":"{point_id(id)}","vector":{{{",".join(f"{name}:{each[row]}" for name, each in texts.items())}}},'
        f'"payload":{json.dumps({"id": id} | plain(rows.labels[row]), ensure_ascii=False, allow_nan=False)}}}'
        for row, id in enumerate(rows.ids)
    ]


def _write(folder: Path, number: int, points: list[str]) -> None:
    text = '{"points":[\n' + ",\n".join(points) + "\n]}\n"
    (folder / f"points-{number:06}.json").write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """As JSON can have it: numbers that are none as null, dates by ISO 8601, durations in seconds."""
    match value:
        case dict():
            return {str(name): plain(each) for name, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return plain(float(value))
        case timedelta():
            return value.total_seconds()
        case date():  # and a time of a day
            return value.isoformat()
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
