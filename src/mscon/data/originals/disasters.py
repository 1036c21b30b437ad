"""MEDIC: photographs of disasters from social media, with four tasks that share images."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mscon.data.originals.collect import whole, with_images
from mscon.data.originals.original import About, Check, Original, Wanted
from mscon.data.originals.parts import grouped_split, joined, with_grouped_split
from mscon.data.originals.rows import Rows, read_rows

FILES = {"train": "MEDIC_train.tsv", "val": "MEDIC_dev.tsv", "test": "MEDIC_test.tsv"}
ROWS = {"train": 49_353, "val": 6_157, "test": 15_688}
ABOUT = About(
    name="medic",
    title="MEDIC (Alam et al., Neural Computing and Applications 2022)",
    page="https://crisisnlp.qcri.org/medic/",
    licence="CC BY-NC-SA 4.0, with terms of use of their own",
    archives=("MEDIC.tar.gz",),
    unpack="MEDIC_train.tsv, MEDIC_dev.tsv and MEDIC_test.tsv with the folder data/ beside them",
    wanted=(
        *(
            Wanted(name, tuple(f"{folder}{name}" for folder in ("", "data/", "MEDIC/", "MEDIC/data/")), "MEDIC.tar.gz")
            for name in FILES.values()
        ),
        Wanted("the folder of images", ("data/", "MEDIC/data/", "crisismmd/"), "MEDIC.tar.gz"),
    ),
    similarities=("damage_severity", "disaster_types", "humanitarian", "informative"),
    ood=(),
)
TASKS = {
    "damage_severity": ("little_or_none", "mild", "severe"),
    "informative": ("informative", "not_informative"),
    "humanitarian": (
        "affected_injured_or_dead_people",
        "infrastructure_and_utility_damage",
        "not_humanitarian",
        "rescue_volunteering_or_donation_effort",
    ),
    "disaster_types": ("earthquake", "fire", "flood", "hurricane", "landslide", "not_disaster", "other_disaster"),
}
POST = r"^(\d{10,})_\d+$"
"""An image's id in a post of several: the post's number and the image's place in it."""


def medic(root: Path) -> Original:
    """MEDIC as its archive unpacks below `root`, in its own split.

    Columns:

    - `image`, `id` (image_id, which is not unique by itself), `event` (event_name);
    - `damage_severity` (3 classes), `informative` (2), `humanitarian` (4), `disaster_types` (7): null where the file
      leaves one empty;
    - `group_id`: images of one post (`917791044158185473_0`, `…_1`), and rows of one file; near-duplicates beyond
      that are not marked;
    - `split`: the three files; `split_by_group`: in the same shares, stratified by disaster_types, so that no event
      straddles. An event is far more than a group of near-duplicates: what is asked there is how well a model does on
      a disaster that it has not seen. Rows without an event go by their post.

    Paths in the files start from the folder of the files or from one above or below it: wherever the first of them
    are.

    **Raises:** `UserError`: a file is missing; a row is malformed, has no image_path or an unknown class; or more than
    1% of the rows have no image.
    """
    *paths, folder = whole(ABOUT, root)
    files = [read_rows(path, ("image_id", "event_name", "image_path", *TASKS), separator="\t") for path in paths]
    for rows in files:
        _check(rows)
    table = pl.concat([rows.table.with_columns(split=pl.lit(part)) for part, rows in zip(FILES, files, strict=True)])
    places = table["image_path"].to_list()
    start = _start(paths[0], folder, places)
    images = [start / each for each in places]
    again = table.height - table["image_path"].n_unique()
    table = table.select(
        pl.col("image_id").alias("id"),
        *TASKS,
        pl.col("event_name").alias("event"),
        "split",
        group_id=joined(table["image_path"], table["image_id"].str.extract(POST)),
    )
    counts = Counter(table["split"])
    checks = (
        *(Check(f"rows of {name}", ROWS[part], counts[part]) for part, name in FILES.items()),
        Check("rows in all", sum(ROWS.values()), table.height),
        *(
            Check(f"classes of {task}", len(names), table[task].drop_nulls().n_unique())
            for task, names in TASKS.items()
        ),
    )
    table, left = with_images(table, [each if each.is_file() else None for each in images], ABOUT, start)
    train, val, test = (counts[part] / counts.total() for part in FILES)
    fractions = (train, val, test) if min(train, val, test) > 0 else (0.7, 0.1, 0.2)
    parts = grouped_split(
        table, joined(table["event"], table["group_id"]), stratify=("disaster_types",), fractions=fractions
    )
    table, ungrouped = with_grouped_split(table, parts)
    notes = ["near-duplicates are not marked in MEDIC: `split_by_group` keeps whole events together, which is coarse"]
    if again:
        notes.append(f"{again:,} rows name an image that an earlier row names, too; all rows are kept, as published")
    return Original(ABOUT, table, checks, (*left, *notes, *ungrouped))


def _check(rows: Rows) -> None:
    for column in ("image_id", "image_path"):
        if (empty := rows.table[column].is_null()).any():
            rows.refuse(empty.arg_true()[0], column, "is empty: name the image, or remove the row")
    for task, classes in TASKS.items():
        rows.check_known(task, classes)


def _start(path: Path, folder: Path, places: Sequence[str]) -> Path:
    """The folder that the paths start from: the one of a few in question below which most of the first 100 are."""
    above = [each for base in (path.parent, folder) for each in (base, base.parent)]
    counts = {base: sum((base / each).is_file() for each in places[:100]) for base in dict.fromkeys(above)}
    return Path(os.path.normpath(max(counts, key=lambda base: counts[base])))
