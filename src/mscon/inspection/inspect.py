"""A catalog as a training would see it, before anything is trained."""

from dataclasses import dataclass

from mscon.copies import silent_copies
from mscon.data.splits import PARTS
from mscon.errors import UserError
from mscon.inspection.batches import BatchFacts, batch_facts
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy, column_facts, link_facts, redundancies
from mscon.inspection.views import harmful_views
from mscon.inspection.warnings import (
    batch_warnings,
    label_warnings,
    link_warnings,
    part_warnings,
    reading_warnings,
    redundancy_warnings,
)
from mscon.prepare import Prepared, largest_batch, training_batches
from mscon.recipe import Recipe


@dataclass(frozen=True)
class Inspection:
    """All of it, with warnings in plain words."""

    rows: int
    split: dict[str, int]
    skipped: int
    columns: list[ColumnFacts]
    links: list[LinkFacts]
    batches: list[BatchFacts]
    redundancy: list[Redundancy]
    warnings: list[str]


def inspect(recipe: Recipe, data: Prepared) -> Inspection:
    """Look at a catalog as a training under `recipe` would see it; in the largest batches that there can be, where
    those of the recipe are too large.
    """
    recipe, too_large = _with_possible_batches(recipe, data)
    columns = [column_facts(name, recipe, data) for name in data.labels]
    links = [link_facts(name, data) for name in data.pairs]
    batches = list(batch_facts(recipe, data))
    redundancy = redundancies(data)
    views = list(harmful_views(recipe.run_views, data))  # looks at images, some of which may be unreadable
    return Inspection(
        rows=len(data.catalog),
        split={name: len(getattr(data.split, name)) for name in PARTS},
        skipped=len(data.pixels.skipped) + len(data.unreadable),
        columns=columns,
        links=links,
        batches=batches,
        redundancy=redundancy,
        warnings=[
            *too_large,
            *part_warnings(columns),
            *reading_warnings(columns),
            *label_warnings(columns),
            *link_warnings(links),
            *batch_warnings(batches, recipe.training.batch_size),
            *redundancy_warnings(
                redundancy,
                recipe.catalog.ood,
                weighting=recipe.objective.weighting,
                copies=silent_copies(recipe, data),
            ),
            *views,
        ],
    )


def _with_possible_batches(recipe: Recipe, data: Prepared) -> tuple[Recipe, list[str]]:
    """The recipe, its batches no larger than can be drawn, and what a training would say of the larger ones."""
    most = largest_batch(recipe, data)
    if recipe.training.batch_size <= most or most < 2:
        return recipe, []
    try:
        training_batches(recipe, data)
    except UserError as error:
        training = recipe.training.model_copy(update={"batch_size": most})
        return recipe.model_copy(update={"training": training}), [
            f"{error} What is said of batches is of {most} items."
        ]
    return recipe, []
