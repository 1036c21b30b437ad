"""What a search has found, drawn: a sheet of pictures."""

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from mscon.data.decode import DecodeError, decode
from mscon.search.collection import Collection, Hits, Query
from mscon.search.show import number

SIDE, GAP, LINE, ACROSS = 160, 12, 15, 6
"""In pixels: a picture's side, what lies between two, a line of text; and how many pictures are side by side."""

INK, FAINT, BLUE, PALE = (26, 26, 26), (120, 120, 120), (31, 95, 168), (226, 232, 240)


def sheet(collection: Collection, query: Query, hits: Hits, found: list[dict[str, Any]]) -> Image.Image:
    """Pictures in rows: what was asked for, then each item found, as `records` has it: with its id, its score, and a
    bar per similarity from −1 to 1, how near it is, blue where that weighs.
    """
    asked: list[tuple[bytes, dict[str, Any] | None]] = [(data, None) for data in query.images]
    images = collection.images_of(hits.rows.tolist())
    tiles = [*asked, *zip(images, found, strict=True)]
    height = SIDE + LINE * (2 + len(hits.cosines)) + GAP
    page = Image.new("RGB", (GAP + ACROSS * (SIDE + GAP), GAP + -(-len(tiles) // ACROSS) * height), "white")
    draw = ImageDraw.Draw(page)
    for place, (data, each) in enumerate(tiles):
        left, top = GAP + place % ACROSS * (SIDE + GAP), GAP + place // ACROSS * height
        page.paste(_picture(data), (left, top))
        draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), outline=BLUE if each is None else PALE)
        _write(draw, left, top + SIDE, "query" if each is None else each["id"])
        if each is not None:
            _write(draw, left, top + SIDE + LINE, f"score {number(each['score'])}", ink=FAINT)
            _bars(draw, left, top + SIDE + 2 * LINE, each["cosines"], hits.weights)
    return page


def _picture(data: bytes) -> Image.Image:
    try:
        return Image.fromarray(decode(data, size=SIDE))
    except DecodeError:
        return Image.new("RGB", (SIDE, SIDE), PALE)


def _bars(
    draw: ImageDraw.ImageDraw, left: int, top: int, cosines: Mapping[str, float], weights: Mapping[str, float]
) -> None:
    middle, half = left + SIDE * 3 // 4, SIDE // 4
    for line, (name, cosine) in enumerate(cosines.items()):
        y = top + LINE * line
        _write(draw, left, y, name, ink=INK if name in weights else FAINT, width=SIDE // 2 - 6)
        draw.rectangle((middle - half, y + 4, middle + half, y + 11), fill=PALE)
        end = middle + round(half * max(-1.0, min(1.0, cosine)))
        draw.rectangle((min(middle, end), y + 4, max(middle, end), y + 11), fill=BLUE if name in weights else FAINT)


def _write(
    draw: ImageDraw.ImageDraw, left: int, top: int, text: str, *, ink: tuple[int, int, int] = INK, width: int = SIDE
) -> None:
    """A line of text; of one that is too long its end, which tells files of one folder apart."""
    font = ImageFont.load_default(size=12)
    rest = shown = " ".join(text.split())
    while draw.textlength(shown, font=font) > width and rest:
        rest = rest[1:]
        shown = f"…{rest}"
    draw.text((left, top + 1), shown, fill=ink, font=font)
