"""UT Zappos50K: catalogue photographs of shoes, with category, closure, gender, brand and height of the heel."""

import html
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mscon.data.originals.collect import by_stem, stem_key, whole, with_images
from mscon.data.originals.original import About, Check, Original, Wanted
from mscon.data.originals.parts import grouped_split, with_grouped_split
from mscon.data.originals.rows import Rows, read_rows

ABOUT = About(
    name="zappos50k",
    title="UT Zappos50K (Yu and Grauman, CVPR 2014 and ICCV 2017)",
    page="https://vision.cs.utexas.edu/projects/finegrained/utzap50k/",
    licence="for academic, non-commercial use only; the photographs are Zappos.com's",
    archives=("ut-zap50k-data.zip", "ut-zap50k-images.zip or ut-zap50k-images-square.zip"),
    unpack="both side by side: ut-zap50k-data/meta-data.csv and ut-zap50k-images/Shoes/Oxfords/…/100627.72.jpg",
    wanted=(
        Wanted("meta-data.csv", ("ut-zap50k-data/meta-data.csv", "meta-data.csv"), "ut-zap50k-data.zip"),
        Wanted("the folder of images", ("ut-zap50k-images/", "ut-zap50k-images-square/"), "ut-zap50k-images.zip"),
    ),
    similarities=("category", "closure", "gender"),
    ood=("brand",),
)
CATEGORIES = ("Shoes", "Boots", "Sandals", "Slippers")
CLOSURES = ("Lace up", "Slip-On", "Zipper", "Hook and Loop", "Pull-on")
GENDERS = ("Women", "Men", "Girls", "Boys")
COLUMNS = (
    *("CID", "Category", "SubCategory", "HeelHeight", "Insole", "Closure", "Gender", "Material", "ToeStyle"),
)  # fmt: skip
BRANDS = 20
SEED = 2
"""The one that the precursor of the paper's code split with."""

KNOWN_BRANDS = (
    *("Frye", "Nike", "Nine West", "SKECHERS", "Merrell", "Cole Haan", "Stuart Weitzman", "PUMA", "New Balance"),
    *("UGG", "Primigi Kids", "Sperry Top-Sider", "Naot Footwear", "Sanuk", "ASICS", "Clarks", "Anne Klein"),
    *("Stride Rite", "Born", "Keen"),
)
COUNTS = {"Slip-On": 10_797, "Lace up": 10_728, "Zipper": 3_200, "Hook and Loop": 2_801, "Pull-on": 2_714}
WORDS = re.compile(r"(low|short|mid|medium|high)( heel)?", re.IGNORECASE)
INCHES = r"(\d+)(?: (\d)/(\d))?in"
RANGE = re.compile(rf"(under )?{INCHES}(?: - {INCHES}| & (?:over|up))?", re.IGNORECASE)


def zappos50k(root: Path) -> Original:
    """UT Zappos50K as its archives unpack below `root`, in the rows and the split of the paper's precursor code.

    Rows: those whose Closure is one of five and whose Gender is one of four alone, in the order of meta-data.csv.
    `split`: see `split_parts`; it is per image, so colourways of one shoe straddle it. Columns:

    - `image`, `id` (the CID), `group_id` (the product: the CID before its dash);
    - `category` (4 classes), `closure` (5), `gender` (4), `brand` (the image's folder, the 20 most frequent; else
      null);
    - `heel_height` in inches with gaps, see `heel_inches`; `subcategory`, `insole`, `material`, `toe_style` as text;
    - `split`; `split_by_group`: 80 : 10 : 10 in which no product straddles, stratified by the three similarities.

    The image of a row is found by its CID, whatever folder it is in: folders of brands are written differently in the
    two archives (`W.A.G.`, `W.A.G`, `W.A.G%2E`).

    **Raises:** `UserError`: a file is missing; a row is malformed, has an unknown category or height or an id that
    stands there twice; or more than 1% of the rows have no image.

    **Source:** the rows, the split and the counts: the public precursor code of "Multi-Similarity Contrastive
    Learning" (its defaults, not confirmed as the paper's).
    """
    path, folder = whole(ABOUT, root)
    rows = read_rows(path, COLUMNS)
    rows.check_unique("CID")
    rows.check_known("Category", CATEGORIES)
    kept = rows.filter(pl.col("Closure").is_in(CLOSURES) & pl.col("Gender").is_in(GENDERS))
    found = by_stem(folder)
    images = [found.get(stem_key(cid)) for cid in kept.table["CID"]]
    table = pl.DataFrame(
        {
            "id": kept.table["CID"],
            "category": kept.table["Category"],
            "closure": kept.table["Closure"],
            "gender": kept.table["Gender"],
            "brand": frequent_brands(images),
            "heel_height": heels(kept),
            "subcategory": kept.table["SubCategory"],
            "insole": kept.table["Insole"],
            "material": kept.table["Material"],
            "toe_style": kept.table["ToeStyle"],
            "group_id": kept.table["CID"].str.split("-").list.first(),
            "split": split_parts(len(images)),
        },
        schema_overrides={"brand": pl.String, "heel_height": pl.Float64, "split": pl.String},
    )
    checks = _checks(rows, kept, table)
    table, left = with_images(table, images, ABOUT, folder)
    parts = grouped_split(
        table, table["group_id"], stratify=("category", "closure", "gender"), fractions=(0.8, 0.1, 0.1)
    )
    table, ungrouped = with_grouped_split(table, parts)
    straddling = table.group_by("group_id").agg(pl.col("split").n_unique() > 1)["split"].sum()
    straddle = (
        f"colourways of {straddling:,} shoes straddle `split`, as published; `split_by_group` keeps them together"
    )
    return Original(ABOUT, table, checks, (*left, straddle, *ungrouped))


def split_parts(rows: int) -> list[str]:
    """The part of each row: a fifth drawn with `random.seed(2); idx = random.sample(range(rows), rows // 5)`, its
    first half val and the other test, and the rest train. Of 37,800 rows: 30,240, 3,780 and 3,780.
    """
    drawn = random.Random(SEED).sample(range(rows), rows // 5)
    parts = ["train"] * rows
    for place, row in enumerate(drawn):
        parts[row] = "val" if place < len(drawn) // 2 else "test"
    return parts


def heel_inches(text: str) -> float | None:
    """The height that a text names, in inches.

    `2in - 2 3/4in` is the middle, 2.375; `Flat` 0; `Under 1in` the middle between 0 and 1; `5in & over` 5; of several
    with `;` between them the mean. Words without a length, such as `High heel`, are None.

    **Raises:** `ValueError` for any other text.
    """
    measured: list[float] = []
    for each in filter(None, map(str.strip, text.split(";"))):
        if each.lower() == "flat":
            measured.append(0.0)
        elif match := RANGE.fullmatch(each):
            under, low, high = match[1], _number(*match.group(2, 3, 4)), match.group(5, 6, 7)
            measured.append(low / 2 if under else (low + _number(*high)) / 2 if high[0] else low)
        elif not WORDS.fullmatch(each):
            raise ValueError(each)
    return sum(measured) / len(measured) if measured else None


def heels(rows: Rows) -> list[float | None]:
    """The height of each row's heel. **Raises** `UserError` for a text that `heel_inches` does not know."""
    heights: list[float | None] = []
    for row, text in enumerate(rows.table["HeelHeight"]):
        try:
            heights.append(heel_inches(text) if text else None)
        except ValueError:
            rows.refuse(row, "HeelHeight", "is no height such as 'Flat', '1in - 1 3/4in' or '5in & over': mend it")
    return heights


def frequent_brands(images: Sequence[Path | None]) -> list[str | None]:
    """The brand of each image, by its folder, if it is one of the 20 most frequent, of equals the first to come."""
    brands = [None if path is None else brand_of(path.parent.name) for path in images]
    kept = {name for name, _ in Counter(filter(None, brands)).most_common(BRANDS)}
    return [name if name in kept else None for name in brands]


def brand_of(folder: str) -> str:
    """A folder's name as the brand has it: `Levi's&#174;` is `Levi's®`, and `W.A.G%2E` and `W.A.G.` are `W.A.G`."""
    name = html.unescape(folder).replace("%2E", ".").replace("%2e", ".")
    return unicodedata.normalize("NFC", name).rstrip(". ").strip()


def _number(whole_inches: str, over: str | None, under: str | None) -> float:
    return float(whole_inches) + (int(over) / int(under) if over and under else 0)


def _checks(rows: Rows, kept: Rows, table: pl.DataFrame) -> tuple[Check, ...]:
    parts = Counter(table["split"])
    closures = Counter(table.filter(pl.col("split") == "train")["closure"])
    branded = Counter(table.filter(pl.col("brand").is_not_null())["split"])
    brands = {name.lower() for name in table["brand"].drop_nulls().unique()}
    return (
        Check("rows of meta-data.csv", 50_025, rows.table.height),
        Check("rows kept", 37_800, table.height),
        Check("train rows", 30_240, parts["train"]),
        Check("val rows", 3_780, parts["val"]),
        Check("test rows", 3_780, parts["test"]),
        *(Check(f"train rows, closure {name}", count, closures[name]) for name, count in COUNTS.items()),
        Check("train rows with a brand", 7_295, branded["train"]),
        Check("val rows with a brand", 907, branded["val"]),
        Check("test rows with a brand", 922, branded["test"]),
        Check("brands that are the known 20", BRANDS, sum(name.lower() in brands for name in KNOWN_BRANDS)),
        Check("rows without HeelHeight", 15_355, kept.table["HeelHeight"].null_count()),
    )
