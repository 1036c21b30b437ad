"""The doors of the package: every place where a stranger's input comes in, what may be brought, and who answers.

The law of all: it is let in, or a `UserError` says in a sentence what is wrong. Never another exception, a hang, or
memory without end. `tests/hostile/test_doors.py` tries each for a moment, `benchmarks/fuzz.py` for as long as asked.
"""

from doors.catalogs import columns, csv, enter_column, enter_folder, enter_pairs, enter_parquet, pairs, parquet
from doors.house import Door, House, knock
from doors.images import enter_image, images
from doors.recipes import overrides, read_recipe, read_study, recipes, set_value, studies
from doors.runs import (
    checkpoints,
    enter_checkpoint,
    enter_hub,
    enter_run,
    enter_used,
    hub_configs,
    run_files,
    used_files,
)
from doors.searches import abouts, enter_about, queries, search

__all__ = ["DOORS", "Door", "House", "knock"]

DOORS = (
    Door("recipe", recipes, read_recipe),
    Door("--set", overrides, set_value),
    Door("study", studies, read_study),
    Door("folder with metadata.csv", csv, enter_folder),
    Door("Parquet", parquet, enter_parquet),
    Door("label column", columns, enter_column),
    Door("pairs", pairs, enter_pairs),
    Door("image", images, enter_image),
    Door("run folder", run_files, enter_run),
    Door("run in use", used_files, enter_used),
    Door("checkpoint", checkpoints, enter_checkpoint),
    Door("hub folder", hub_configs, enter_hub),
    Door("search in memory", queries, lambda house, given: search(house.space, given)),
    Door("search in an index", queries, lambda house, given: search(house.index, given)),
    Door("index", abouts, enter_about),
)
