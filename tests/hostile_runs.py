"""Two trained and evaluated runs on letters, whose labels have gaps and names that no page may run."""

from pathlib import Path

HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "'\"><svg onload=alert(3)>")
"""Classes of the runs: whatever they are, no page may run them."""


def few_letters(folder: Path, cache: Path) -> Path:
    """A small catalog of real glyphs as a Parquet file: five characters in every face, split as the whole is."""
    from mscon.data.glyphs import glyphs_table

    path = folder / "letters.parquet"
    table = glyphs_table(cache)
    table.filter(table["character"].is_in(list("aRgQ5"))).write_parquet(path)
    return path


def train_two(letters: Path, folder: Path) -> tuple[Path, Path]:
    """Two runs of a few steps on the same items, evaluated: `one` of classes, tags, paths and a number and with
    uncertainty of items, `two` of classes and tags, under other weights.
    """
    import polars as pl

    from mscon.evaluate.evaluation import evaluate_run
    from mscon.recipe import Recipe
    from mscon.report import write_report
    from mscon.train import train

    rows, third = pl.int_range(pl.len()), pl.int_range(pl.len()) % 3
    table = pl.read_parquet(letters).filter(pl.col("character").is_in(list("aRg")))
    table.with_columns(
        style=pl.when(rows % 9 > 0).then(third.replace_strict(dict(enumerate(HOSTILE)))),
        marks=pl.when(rows % 11 > 0).then(pl.concat_str("weight", "slant", separator=",")),
        kind=pl.concat_str(pl.lit("letter/"), "character"),
    ).write_parquet(folder / "letters.parquet")
    plain = {
        "catalog": {"source": str(folder / "letters.parquet"), "ood": ["typeface"]},
        "similarities": {"character": {}, "style": {}, "marks": {"kind": "tags"}},
        "image": {"size": 16},
        "model": {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 1}], "head_dim": 8, "head_width": 16},
        "training": {"epochs": 2, "batch_size": 32, "lr": 3e-3, "precision": "32-true", "device": "cpu"},
    }
    more = {"kind": {"kind": "hierarchy"}, "ink": {"kind": "continuous"}}
    recipes = {
        "one": plain | {"similarities": plain["similarities"] | more, "objective": {"item_uncertainty": True}},
        "two": plain
        | {"catalog": plain["catalog"] | {"ood": ["typeface", "ink"]}, "objective": {"weighting": "equal"}},
    }
    for name, recipe in recipes.items():
        run = train(Recipe.of(recipe), folder / name)
        found = evaluate_run(run)
        write_report(run, found.data, found.embeddings, found.evaluation)
    return folder / "one", folder / "two"
