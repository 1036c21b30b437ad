"""What is searched for: pictures, items of the catalog, or the mean of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from mscon.data.decode import DecodeError, decode
from mscon.embed import embed_pixels
from mscon.errors import UserError, nearest
from mscon.run import Run
from mscon.search.mix import SHARED
from mscon.search.space import Space, unit


@dataclass(frozen=True, eq=False)
class Query:
    """A vector of unit length under each similarity.

    - `blocks`: similarity, or `shared`, → the vector.
    - `rows`: items of the space that the query is made of, which are not found again.
    - `images`: what was asked for, as files hold it.
    """

    blocks: dict[str, Float32[np.ndarray, " d"]]
    rows: tuple[int, ...]
    images: tuple[bytes, ...]


def query_of(run: Run, space: Space, words: Sequence[str | Path | bytes]) -> Query:
    """A query from ids of items, pictures' files, or their bytes; of several, the mean direction under each similarity.

    A word that is an item's id is that item, though there be a file of that name.

    **Raises:** `UserError` for a word that is neither, a file that holds no picture, and no words.
    """
    if not words:
        raise UserError("there is nothing to search for: name an item's id or a picture's file")
    places = {name: row for row, name in reversed(list(enumerate(space.ids)))}
    rows: list[int] = []
    pictures: list[UInt8[np.ndarray, "s s 3"]] = []
    images: list[bytes] = []
    for word in words:
        if isinstance(word, str) and word in places:
            rows.append(places[word])
            images.append(space.catalog.image_bytes(rows[-1]))
        else:
            images.append(_read(word, space))
            pictures.append(_decoded(word, images[-1], run))
    found = {name: [block[rows]] for name, block in space.blocks.items()}
    if pictures:
        model = run.model()
        h = embed_pixels(model, np.stack(pictures))
        found[SHARED].append(unit(h.numpy()))
        for name in space.similarities:
            found[name].append(model.project_embedding(h, name).numpy())
    means = {name: np.concatenate(each).mean(axis=0, keepdims=True) for name, each in found.items()}
    return Query({name: unit(mean)[0] for name, mean in means.items()}, tuple(rows), tuple(images))


def _read(word: str | Path | bytes, space: Space) -> bytes:
    if isinstance(word, bytes):
        return word
    try:
        return Path(word).read_bytes()
    except OSError:
        hint = nearest(str(word), space.ids)
        raise UserError(f"{word}: neither an id of {space.catalog.source} nor a file that can be read.{hint}") from None


def _decoded(word: str | Path | bytes, data: bytes, run: Run) -> UInt8[np.ndarray, "s s 3"]:
    try:
        return decode(data, size=run.recipe.image.size, fit=run.recipe.image.fit)
    except DecodeError as error:
        raise UserError(f"{'the picture' if isinstance(word, bytes) else word}: {error}") from None
