"""The embedded catalog: letters and digits drawn from the fonts that matplotlib ships, so nothing is downloaded."""

import hashlib
import io
import os
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import PIL
import polars as pl
from PIL import Image, ImageDraw, ImageFont, features

from mscon.errors import UserError
from mscon.files import cache_folder, write_whole

CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
SIZE = 32
RENDERINGS = 4


@dataclass(frozen=True)
class Face:
    """One font file and what its design is labelled with."""

    file: str
    typeface: str
    style: str
    weight: str = "regular"
    slant: str = "upright"


# Text faces alone: the other files in matplotlib's folder hold symbols, or mathematical letters that repeat these
# designs. The labels stand here because Computer Modern's files carry none. An oblique and a true italic are both
# "italic".
FACES = (
    Face("DejaVuSans", "DejaVu Sans", "sans"),
    Face("DejaVuSans-Oblique", "DejaVu Sans", "sans", slant="italic"),
    Face("DejaVuSans-Bold", "DejaVu Sans", "sans", "bold"),
    Face("DejaVuSans-BoldOblique", "DejaVu Sans", "sans", "bold", "italic"),
    Face("DejaVuSerif", "DejaVu Serif", "serif"),
    Face("DejaVuSerif-Italic", "DejaVu Serif", "serif", slant="italic"),
    Face("DejaVuSerif-Bold", "DejaVu Serif", "serif", "bold"),
    Face("DejaVuSerif-BoldItalic", "DejaVu Serif", "serif", "bold", "italic"),
    Face("DejaVuSansMono", "DejaVu Sans Mono", "mono"),
    Face("DejaVuSansMono-Oblique", "DejaVu Sans Mono", "mono", slant="italic"),
    Face("DejaVuSansMono-Bold", "DejaVu Sans Mono", "mono", "bold"),
    Face("DejaVuSansMono-BoldOblique", "DejaVu Sans Mono", "mono", "bold", "italic"),
    Face("STIXGeneral", "STIX", "serif"),
    Face("STIXGeneralItalic", "STIX", "serif", slant="italic"),
    Face("STIXGeneralBol", "STIX", "serif", "bold"),
    Face("STIXGeneralBolIta", "STIX", "serif", "bold", "italic"),
    Face("cmr10", "Computer Modern", "serif"),
    Face("cmti10", "Computer Modern", "serif", slant="italic"),
    Face("cmb10", "Computer Modern", "serif", "bold"),
    Face("cmss10", "Computer Modern", "sans"),
    Face("cmtt10", "Computer Modern", "mono"),
)


def glyphs_table(folder: str | os.PathLike[str] | None = None) -> pl.DataFrame:
    """Letters and digits as small grey images with six labels: 62 characters × 21 faces × 4 renderings = 5,208 rows.

    The renderings of a glyph differ a little in size, place, rotation and in the greys of ink and paper. The catalog
    is drawn at first use (seconds) and kept as one Parquet file; the same versions of matplotlib, Pillow and polars
    give the same bytes.

    **Arguments:**

    - `folder`: where the Parquet file is kept; left out, the folder named by the environment variable `MSCON_CACHE`,
      or else the user's cache folder.

    **Returns:**

    One row per rendering:

    | column | what it holds |
    |---|---|
    | `image` | PNG bytes, 32×32, grey |
    | `id` | `DejaVuSans-Bold/A/2`: face, character, rendering |
    | `character` | `A`…`Z`, `a`…`z`, `0`…`9`: 62 classes |
    | `style` | `sans`, `serif`, `mono` |
    | `weight` | `regular`, `bold` |
    | `slant` | `upright`, `italic` |
    | `ink` | share of the image that ink covers, 0 to 1: measured from the drawing, whatever the greys |
    | `typeface` | `DejaVu Sans`, `DejaVu Serif`, `DejaVu Sans Mono`, `STIX`, `Computer Modern` |
    | `group` | `DejaVuSans-Bold/A`: the renderings of one glyph |
    | `split` | `train`, `val`, `test`: of each character's 21 faces 15, 3, 3; a group never straddles |

    **Raises:**

    - `UserError`: a font file is missing from matplotlib's folder, or the cache folder cannot be written.
    """
    path = (Path(folder) if folder is not None else cache_folder()) / f"glyphs-{_version()}.parquet"
    if not path.exists():
        _write(pl.DataFrame(list(_rows())), path)
    return pl.read_parquet(path)


def _rows() -> Iterator[dict[str, Any]]:
    fonts = {face: _font(face) for face in FACES}
    for character in CHARACTERS:
        faces = [face for face in FACES if _has_glyph(fonts[face], character)]
        for face, split in zip(faces, _splits(character, len(faces)), strict=True):
            group = f"{face.file}/{character}"
            glyph = _draw(fonts[face], character)
            for rendering in range(RENDERINGS):
                name = f"{group}/{rendering}"
                # `random` is seeded by the row's own name and promises the same numbers in every version of Python.
                draw = random.Random(name)
                coverage = _render(glyph, draw)
                yield {
                    "image": _png(coverage, draw),
                    "id": name,
                    "character": character,
                    "style": face.style,
                    "weight": face.weight,
                    "slant": face.slant,
                    "ink": float(coverage.mean()),
                    "typeface": face.typeface,
                    "group": group,
                    "split": split,
                }


def _splits(character: str, faces: int) -> list[str]:
    """The split of each of a character's faces: a seventh validation, a seventh test, drawn for each character anew."""
    held_out = faces // 7
    names = ["test"] * held_out + ["val"] * held_out + ["train"] * (faces - 2 * held_out)
    draw = random.Random(f"split/{character}")
    return sorted(names, key=lambda _: draw.random())


# Drawn four times too large, moved there, then averaged down: edges stay smooth at any shift.
_OVERSAMPLING = 4
_CANVAS = SIZE * _OVERSAMPLING
_EM = 24 * _OVERSAMPLING
_BASELINE = round(0.69 * _CANVAS)


def _font(face: Face) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face.file}.ttf"
    if not path.exists():
        raise UserError(
            f"The glyph catalog is drawn from matplotlib's fonts, and {path} is missing. "
            "Reinstall matplotlib from PyPI: pip install --force-reinstall matplotlib"
        )
    # Raqm is not in every build of Pillow; the basic layout is, and single characters need no more.
    return ImageFont.truetype(path, _EM, layout_engine=ImageFont.Layout.BASIC)


def _has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether the font draws neither nothing for this character nor what it draws for the ones it lacks."""
    glyph, lacking = _draw(font, character), _draw(font, "\uffff")  # no font has U+FFFF
    return glyph.getbbox() is not None and glyph.tobytes() != lacking.tobytes()


def _draw(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """The character in white on black: on the common baseline, its ink centred from left to right."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    left, _, right, _ = font.getbbox(character, anchor="ls")
    place = ((_CANVAS - left - right) / 2, _BASELINE)
    ImageDraw.Draw(canvas).text(place, character, fill=255, font=font, anchor="ls")
    return canvas


def _render(glyph: Image.Image, draw: random.Random) -> np.ndarray:
    """How much of each pixel ink covers in one rendering: (SIZE, SIZE) in [0, 1]."""
    scale = draw.uniform(0.82, 0.98)
    angle = radians(draw.uniform(-4.0, 4.0))  # an oblique leans by 11 degrees: the slant stays visible
    right, down = (draw.uniform(-1.5, 1.5) * _OVERSAMPLING for _ in range(2))
    # Pillow wants the way back: source = centre + rotation / scale · (output − centre − shift).
    a, b, centre = cos(angle) / scale, sin(angle) / scale, _CANVAS / 2
    x, y = centre + right, centre + down
    inverse = (a, b, centre - a * x - b * y, -b, a, centre + b * x - a * y)
    moved = glyph.transform(glyph.size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    return np.asarray(moved.reduce(_OVERSAMPLING)) / 255


def _png(coverage: np.ndarray, draw: random.Random) -> bytes:
    ink, paper = draw.uniform(0, 90), draw.uniform(185, 255)
    greys = np.rint(paper + (ink - paper) * coverage).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(greys).save(buffer, "PNG")
    return buffer.getvalue()


def _version() -> str:
    """What the drawing depends on: this file and the versions of the fonts, of what draws and of what writes."""
    parts = matplotlib.__version__, PIL.__version__, str(features.version("freetype2")), pl.__version__
    return hashlib.sha256(Path(__file__).read_bytes() + "/".join(parts).encode()).hexdigest()[:12]


def _write(table: pl.DataFrame, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, table.write_parquet)
    except (OSError, UserError) as error:
        raise UserError(
            f"The glyph catalog cannot be kept in {path.parent}: {error}. "
            "Set MSCON_CACHE to a folder that you can write."
        ) from error
