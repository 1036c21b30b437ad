"""From words to a query: pictures, items of the collection, or the mean of several."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mscon.data.decode import DecodeError, decode
from mscon.errors import UserError, nearest
from mscon.model import MSConModel
from mscon.run import Run
from mscon.search.blocks import blocks_of_images, unit
from mscon.search.collection import Collection, Query
from mscon.search.space import Space


def query_of(
    run: Run, collection: Collection, words: Sequence[str | Path | bytes], *, model: MSConModel | None = None
) -> Query:
    """A query from ids of items, pictures' files, or their bytes; of several, the mean direction under each similarity.

    A word that is an item's id is that item, though there be a file of that name.

    **Arguments:** `model`: the run's, where it is loaded already.

    **Raises:** `UserError` for a word that is neither, an item whose image could not be read, a file that holds no
    picture, and no words.
    """
    if not words:
        raise UserError("there is nothing to search for: name an item's id or a picture's file")
    places = collection.rows_of([word for word in words if isinstance(word, str)])
    rows: list[int] = []
    pictures: list[UInt8[np.ndarray, "s s 3"]] = []
    images: list[bytes] = []
    for word in words:
        if isinstance(word, str) and word in places:
            rows.append(places[word])
            images += collection.images_of(rows[-1:])
        else:
            images.append(_read(word, collection))
            pictures.append(_decoded(word, images[-1], run))
    found = {name: [block] for name, block in collection.blocks_of(rows).items()}
    if pictures:
        blocks = blocks_of_images(model or run.model(), np.stack(pictures))
        for name, each in found.items():
            each.append(blocks[name])
    means = {name: np.concatenate(each).mean(axis=0, keepdims=True) for name, each in found.items()}
    return Query({name: unit(mean)[0] for name, mean in means.items()}, tuple(rows), tuple(images))


def _read(word: str | Path | bytes, collection: Collection) -> bytes:
    if isinstance(word, bytes):
        return word
    try:
        return Path(word).read_bytes()
    except (OSError, ValueError):  # of a NUL in it
        if isinstance(collection, Space) and (why := collection.unreadable.get(str(word))):
            raise UserError(f"{word}: an item of {collection.source} whose image could not be read: {why}") from None
        ids = collection.ids
        hint = nearest(str(word), ids) or (f" An id there is {ids[0]!r}." if ids else "")
        raise UserError(f"{word}: neither an id of {collection.source} nor a file that can be read.{hint}") from None


def _decoded(word: str | Path | bytes, data: bytes, run: Run) -> UInt8[np.ndarray, "s s 3"]:
    try:
        return decode(data, size=run.recipe.image.size, fit=run.recipe.image.fit)
    except DecodeError as error:
        raise UserError(f"{'the picture' if isinstance(word, bytes) else word}: {error}") from None
