"""Variants of a study: what a figure changes, in the catalog or in the recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

Alter = Callable[[pl.DataFrame, int], pl.DataFrame]
"""From a catalog and a seed to the catalog with columns changed or added."""


@dataclass(frozen=True)
class Variant:
    """One point of a figure's axis; without a name, the study as it is.

    - `name`: its folder among the results, such as `noise-20`.
    - `recipe`: values by dotted keys, set last.
    - `similarities`: in place of the study's.
    - `alter`: changes the catalog; what it does depends on the catalog and the seed alone.
    - `rate`: what the learning rate is multiplied by.
    """

    name: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    similarities: Mapping[str, Mapping[str, Any]] | None = None
    alter: Alter | None = None
    rate: float = 1.0


PLAIN = Variant()
