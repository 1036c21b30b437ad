"""Caltech-UCSD Birds-200-2011: species, and 28 groups of attributes that people saw in each image."""

from collections import Counter
from pathlib import Path

import polars as pl

from mscon.data.catalog import Catalog
from mscon.data.originals.bird_attributes import read_attributes
from mscon.data.originals.collect import whole, with_images
from mscon.data.originals.original import About, Check, Original, Wanted
from mscon.data.originals.rows import Rows, read_numbered
from mscon.data.splits import read_split
from mscon.errors import UserError

ARCHIVE = "CUB_200_2011.tgz"


def _wanted(name: str, *more: str) -> Wanted:
    return Wanted(name, (f"CUB_200_2011/{name}", name, *more), ARCHIVE)


ABOUT = About(
    name="cub200",
    title="Caltech-UCSD Birds-200-2011 (Wah et al., technical report CNS-TR-2011-001)",
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    licence="for non-commercial research and education only; the photographs are their takers'",
    archives=(ARCHIVE,),
    unpack="the folder CUB_200_2011, and beside it or in it attributes.txt, as the archive has them",
    wanted=(
        _wanted("images.txt"),
        _wanted("image_class_labels.txt"),
        _wanted("classes.txt"),
        _wanted("train_test_split.txt"),
        _wanted("attributes/image_attribute_labels.txt"),
        Wanted(
            "attributes.txt",
            (
                *("attributes.txt", "CUB_200_2011/attributes.txt", "CUB_200_2011/attributes/attributes.txt"),
                *("attributes/attributes.txt", "../attributes.txt"),
            ),
            ARCHIVE,
        ),
        Wanted("images/", ("CUB_200_2011/images/", "images/"), ARCHIVE),
    ),
    similarities=("primary_color", "size", "shape", "bill_shape", "wing_pattern"),
    ood=("species",),
)


def cub200(root: Path) -> Original:
    """CUB-200-2011 as its archive unpacks below `root`, in its own split.

    Columns:

    - `image`, `id` (the number in images.txt), `species` (200 classes: the folder without its number);
    - one per group of attributes, 28 in all, such as `bill_shape` or `wing_color`: a class or a list of tags, see
      `read_attributes`;
    - `split`: train and test as train_test_split.txt has them, val a tenth of train, stratified by species, drawn
      with seed 0;
    - `split_by_group`: the set has no near-duplicate groups, so this is the species-disjoint split of metric
      learning. The second half of the classes (101–200) is test, the first is train without every tenth (10, 20, …,
      100), which is val.

    There is no `group_id`: a species is a label here, not a group of near-duplicates.

    **Raises:** `UserError`: a file is missing; a line is malformed, a number twice in a file or not in another; a flag
    of the split is neither 0 nor 1; or more than 1% of the rows have no image.
    """
    names, labels, classes, flags, marks, attributes, folder = whole(ABOUT, root)
    images, species = read_numbered(names), read_numbered(classes)
    table = images.table.select(id="number", place="text")
    table = _with(table, read_numbered(labels), "class")
    table = _with(table, _flags(read_numbered(flags)), "train")
    known = species.table.select(pl.col("number").alias("class"), species="text")
    table = table.join(known, on="class", how="left", maintain_order="left")
    if (unknown := table["species"].is_null()).any():
        raise UserError(
            f"{labels}: image {table['id'][unknown.arg_true()[0]]} is of class {table['class'][unknown.arg_true()[0]]},"
            f" which {classes} does not name. Are both files whole?"
        )
    columns, seen = read_attributes(attributes, marks, table["id"])
    order = {number: place for place, number in enumerate(sorted(species.table["number"].to_list(), key=int))}
    table = table.with_columns(
        pl.col("species").str.replace(r"^\d+\.", "").str.replace_all("_", " "),
        *columns,
        split=pl.when(pl.col("train") == "1").then(pl.lit("train")).otherwise(pl.lit("test")),
        split_by_group=pl.Series([_by_species(order[number], len(order)) for number in table["class"]]),
    )
    counts = Counter(table["split"])
    checks = (
        Check("images in images.txt", 11_788, table.height),
        Check("species", 200, table["species"].n_unique()),
        Check("train rows, val among them", 5_994, counts["train"]),
        Check("test rows", 5_794, counts["test"]),
        Check("attributes", 312, seen.attributes),
        Check("groups of attributes", 28, len(columns)),
        Check("lines of image_attribute_labels.txt", 3_677_856, seen.lines),
    )
    found = [path if (path := folder / place).is_file() else None for place in table["place"]]
    table, left = with_images(table.drop("place", "class", "train"), found, ABOUT, folder)
    catalog = Catalog(table=table, image="image", root="/", source=ABOUT.name)
    # Of train and val a tenth is val; the third share is of no use where there are test rows.
    split = read_split(catalog, column="split", stratify="species", fractions=(0.81, 0.09, 0.1))
    table = table.with_columns(split.names)
    notes = ["there are no near-duplicate groups: `split_by_group` has other species in each part"]
    return Original(ABOUT, table, checks, (*left, *seen.notes, *notes))


def _with(table: pl.DataFrame, rows: Rows, name: str) -> pl.DataFrame:
    """The table with a file's text for each image. **Raises** `UserError` where the two disagree on the images."""
    odd = ~rows.table["number"].is_in(table["id"].implode())
    if odd.any():
        rows.refuse(odd.arg_true()[0], "number", "is no image of images.txt: are both files whole?")
    table = table.join(rows.table.select(id="number", **{name: "text"}), on="id", how="left", maintain_order="left")
    if (lacking := table[name].is_null()).any():
        raise UserError(f"{rows.path}: there is no line for image {table['id'][lacking.arg_true()[0]]}. Is it whole?")
    return table


def _flags(rows: Rows) -> Rows:
    odd = ~rows.table["text"].is_in(["0", "1"])
    if odd.any():
        rows.refuse(odd.arg_true()[0], "text", "is no flag of the split: write 1 for train, 0 for test")
    return rows


def _by_species(place: int, count: int) -> str:
    """The part of the species at this place from 0, of so many."""
    half = count // 2
    if place >= half:
        return "test"
    return "val" if place % 10 == 9 or (half < 10 and place == half - 1) else "train"
