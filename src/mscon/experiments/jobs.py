"""Jobs: one training each, told apart by study, variant, method, learning rate and seed."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mscon.experiments.methods import Method
from mscon.experiments.studies import Preset, Study
from mscon.experiments.tables import laid_over
from mscon.experiments.variants import PLAIN, Variant
from mscon.recipe import Recipe

LOCAL = {"catalog": {"source"}, "training": {"device", "precision"}}
"""Values of a recipe that belong to the machine and not to what is asked."""


@dataclass(frozen=True)
class Job:
    """One training.

    - `learning_rate`: one of the search, on the first seed; None for the one that the search has chosen.
    """

    study: Study
    quick: bool
    method: Method
    seed: int
    learning_rate: float | None = None
    variant: Variant = PLAIN

    @property
    def key(self) -> str:
        """What tells it apart within its study and preset, such as `mscon-excess/1` or `noise-20/mscon-equal/0`."""
        number = f"search/{self.learning_rate:g}" if self.learning_rate is not None else str(self.seed)
        return "/".join(each for each in (self.variant.name, self.method.name, number) if each)

    @property
    def folder(self) -> str:
        """The folder of its study and preset."""
        return f"{self.study.name}-quick" if self.quick else self.study.name

    @property
    def preset(self) -> Preset:
        """Its study's quick or full one."""
        return self.study.preset(self.quick)

    def result(self, results: Path) -> Path:
        """Where its result stands."""
        return results / self.folder / f"{self.key}.json"

    def recipe(self, source: str, learning_rate: float) -> Recipe:
        """What it trains by, from a catalog at this place."""
        tables = laid_over(self.preset.tables, self.method.recipe, {"catalog": {"source": source}})
        tables["similarities"] = {name: dict(each) for name, each in self.method.similarities.items()}
        values = {"training.lr": learning_rate * self.variant.rate, "training.seed": self.seed}
        return Recipe.of(tables, {**values, **self.variant.recipe}, name=self.key)


def recipe_hash(recipe: Recipe) -> str:
    """Twelve digits of the SHA-256 of all values that belong to what is asked, not to the machine."""
    values = recipe.model_dump(mode="json", exclude=LOCAL)  # pyright: ignore[reportArgumentType]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def search(study: Study, methods: Sequence[Method], *, quick: bool) -> Iterator[Job]:
    """Every learning rate on the first seed, the middle one of every method first: one row each of the table."""
    rates = study.preset(quick).learning_rates
    middle = len(rates) // 2
    for rate in (rates[middle], *rates[:middle], *rates[middle + 1 :]):
        for method in methods:
            yield Job(study, quick, method, 0, rate)


def seeds(study: Study, methods: Sequence[Method], *, quick: bool, count: int) -> Iterator[Job]:
    """Every seed at the chosen rate, one seed of all methods after the other."""
    for seed in range(count):
        for method in methods:
            yield Job(study, quick, method, seed)


def tables_of(recipe: Recipe) -> dict[str, Any]:
    """What a result keeps of its recipe: all but what belongs to the machine."""
    return recipe.model_dump(mode="json", exclude=LOCAL, exclude_none=True)  # pyright: ignore[reportArgumentType]
