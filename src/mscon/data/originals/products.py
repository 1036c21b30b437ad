"""Fashion Product Images (Small): catalogue photographs of clothes, shoes and more, with labels and names."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

import polars as pl

from mscon.data.originals.brands import brands
from mscon.data.originals.collect import by_stem, stem_key, whole, with_images
from mscon.data.originals.lightness import lightness_and_fill, read_pixels
from mscon.data.originals.original import About, Check, Original, Wanted
from mscon.data.originals.parts import grouped_split, joined
from mscon.data.originals.rows import Rows, read_rows
from mscon.errors import UserError, nearest

ARCHIVE = "archive.zip"
ABOUT = About(
    name="fashion",
    title="Fashion Product Images (Small), by Param Aggarwal",
    page="https://www.kaggle.com/datasets/paramaggarwal/fashion-product-images-small",
    licence="as that page states it; the photographs are Myntra's and the brands': treat them as for research only",
    archives=(ARCHIVE,),
    unpack="styles.csv and the folder images/ side by side",
    wanted=(
        Wanted("styles.csv", ("styles.csv", "myntradataset/styles.csv"), ARCHIVE),
        Wanted("images/", ("images/", "myntradataset/images/"), ARCHIVE),
    ),
    similarities=("category", "gender", "colour", "usage"),
    ood=("brand",),
)
LABELS = {
    "category": "articleType",
    "subcategory": "subCategory",
    "master_category": "masterCategory",
    "gender": "gender",
    "colour": "baseColour",
    "season": "season",
    "usage": "usage",
}
NAME = "productDisplayName"
MISSING = ("NA", "NULL")
"""Words of the file for an empty cell."""

FEWEST = 20
"""A class of fewer rows than this is `other`: too few to have some in each part."""

FRACTIONS = (0.7, 0.1, 0.2)
FOOTWEAR = {"Casual Shoes": 2_846, "Sports Shoes": 2_036, "Heels": 1_322, "Flip Flops": 916, "Sandals": 896}


def fashion(root: Path, *, only: str | None = None, progress: Callable[[int, int], None] | None = None) -> Original:
    """Fashion Product Images (Small) as its archive unpacks below `root`, all of it or one masterCategory.

    Columns:

    - `image`, `id`, `name` (productDisplayName);
    - `category` (articleType), `subcategory`, `master_category`, `gender`, `colour` (baseColour), `season`, `usage`:
      a class of fewer than 20 rows is `other`, and an empty cell or `NA` null; `brand`: see `brands`;
    - `year` of the catalogue; `lightness` and `fill`: see `lightness_and_fill`, null where the image is damaged. They
      are measured from the image, not annotated;
    - `group_id`: rows whose files are the same byte by byte, or whose names are;
    - `split`, for the set has none of its own: 70 : 10 : 20, seed 0, stratified by category and gender, so that no
      group straddles; `split_by_group` is the same.

    **Arguments:**

    - `only`: a masterCategory, such as `Footwear`; capitals do not count.
    - `progress`: called with images read and images in all.

    **Raises:** `UserError`: a file is missing; a row has too few cells, a year that is none or an id that stands there
    twice; there is no masterCategory `only`; or more than 1% of the rows have no image.
    """
    path, folder = whole(ABOUT, root)
    rows = read_rows(path, ("id", *LABELS.values(), "year", NAME), rest=NAME)
    rows.check_unique("id")
    checks = [Check("rows of styles.csv", 44_446, rows.table.height)]
    if only is not None:
        rows = _only(rows, only)
    found = by_stem(folder)
    images = [found.get(stem_key(each)) for each in rows.table["id"]]
    text = rows.table.with_columns(pl.col(*LABELS.values(), NAME).replace(dict.fromkeys(MISSING)))
    table = text.select("id", name=NAME, **{name: pl.col(column) for name, column in LABELS.items()})
    table = table.with_columns(year=pl.Series(_years(rows), dtype=pl.Int64))
    table, left = with_images(table, images, ABOUT, folder)
    named = pl.Series("brand", brands(table["name"].to_list(), fewest=FEWEST), dtype=pl.String)
    table = table.with_columns(_pooled(column) for column in (*table.select(*LABELS), named))
    digests, measured, damaged = _measured(table["image"].to_list(), progress)
    same_name = table["name"].str.to_lowercase()
    table = table.with_columns(measured).with_columns(joined(digests, same_name))
    checks += _checks(table, only)
    parts = grouped_split(table, table["group_id"], stratify=("category", "gender"), fractions=FRACTIONS)
    if parts is None:
        raise UserError(f"{path}: its rows are fewer than three products, which cannot be divided into three parts.")
    table = table.with_columns(split=parts, split_by_group=parts)
    notes = ["the set has no split of its own: `split` is made so that no group straddles, as is `split_by_group`"]
    if damaged:
        notes.append(f"{damaged:,} images are damaged: lightness and fill are empty there")
    return Original(ABOUT, table, tuple(checks), (*left, *notes))


def _only(rows: Rows, only: str) -> Rows:
    chosen = rows.filter(pl.col("masterCategory").str.to_lowercase() == only.strip().lower())
    if chosen.table.height == 0:
        known = rows.table["masterCategory"].drop_nulls().unique().sort().to_list()
        raise UserError(
            f"{rows.path}: there is no masterCategory {only!r}.{nearest(only, known)} There are: {', '.join(known)}."
        )
    return chosen


def _years(rows: Rows) -> list[int | None]:
    years: list[int | None] = []
    for row, text in enumerate(rows.table["year"]):
        if text is None or text in MISSING:
            years.append(None)
        elif text.removesuffix(".0").isdecimal():
            years.append(int(text.removesuffix(".0")))
        else:
            rows.refuse(row, "year", "is no year: mend it, or empty the cell if unknown")
    return years


def _pooled(column: pl.Series) -> pl.Series:
    """The classes with those of fewer than 20 rows as `other`."""
    counts = Counter(column.drop_nulls())
    rare = [name for name, count in counts.items() if count < FEWEST]
    return column.replace(dict.fromkeys(rare, "other")) if rare else column


def _measured(
    images: Sequence[str], progress: Callable[[int, int], None] | None
) -> tuple[pl.Series, list[pl.Series], int]:
    """Digests of the files, the columns `lightness` and `fill`, and how many files are damaged."""
    digests: list[bytes] = []
    light: list[float | None] = []
    fill: list[float | None] = []
    for done, image in enumerate(images, start=1):
        try:
            data = Path(image).read_bytes()
        except OSError as error:
            raise UserError(f"{image}: cannot be read: {error.strerror}") from None
        digests.append(blake2b(data, digest_size=16).digest())
        try:
            lightness, share = lightness_and_fill(read_pixels(data))
        # Pillow's decoders raise errors of many kinds on damaged bytes, and not all of them are documented.
        except Exception:
            lightness, share = None, None
        light.append(lightness)
        fill.append(share)
        if progress:
            progress(done, len(images))
    columns = [pl.Series("lightness", light, dtype=pl.Float64), pl.Series("fill", fill, dtype=pl.Float64)]
    return pl.Series(digests, dtype=pl.Binary), columns, columns[1].null_count()


def _checks(table: pl.DataFrame, only: str | None) -> list[Check]:
    if only is None:
        return [
            Check("rows with an image", 44_441, table.height),
            Check("Footwear with an image", 9_220, Counter(table["master_category"])["Footwear"]),
        ]
    if only.strip().lower() != "footwear":
        return []
    categories = Counter(table["category"])
    return [
        Check("rows with an image", 9_220, table.height),
        *(Check(f"category {name}", count, categories[name]) for name, count in FOOTWEAR.items()),
    ]
