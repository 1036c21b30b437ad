"""A catalog as a training would see it, before anything is trained."""

from dataclasses import dataclass

from mscon.data.splits import PARTS
from mscon.inspection.batches import BatchFacts, batch_facts
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy, column_facts, link_facts, redundancies
from mscon.inspection.views import harmful_views
from mscon.inspection.warnings import batch_warnings, label_warnings, link_warnings, part_warnings, redundancy_warnings
from mscon.prepare import Prepared
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
    """Look at a catalog as a training under `recipe` would see it."""
    columns = [column_facts(name, recipe, data) for name in data.labels]
    links = [link_facts(name, data) for name in data.pairs]
    batches = list(batch_facts(recipe, data))
    redundancy = redundancies(data)
    return Inspection(
        rows=len(data.catalog),
        split={name: len(getattr(data.split, name)) for name in PARTS},
        skipped=len(data.pixels.skipped),
        columns=columns,
        links=links,
        batches=batches,
        redundancy=redundancy,
        warnings=[
            *part_warnings(columns),
            *label_warnings(columns),
            *link_warnings(links),
            *batch_warnings(batches, recipe.training.batch_size),
            *redundancy_warnings(redundancy),
            *harmful_views(recipe.run_views, data),
        ],
    )
