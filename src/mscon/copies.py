"""Similarities that say the very same as another one, of which one alone should lead the encoder."""

from collections.abc import Iterator
from itertools import takewhile

import numpy as np

from mscon.data.information import class_counts, labelled
from mscon.prepare import Prepared
from mscon.recipe import Recipe

WHERE_IT_STANDS = {"kind", "column", "joint", "levels", "separator"}
"""Settings that say where a label is found, and not what is made of it."""


def silent_copies(recipe: Recipe, data: Prepared) -> dict[str, str]:
    """name → the similarity named before it that it repeats; empty unless weights are those of `excess` and heads
    are separate.

    Such a similarity has the other's settings and, on all training items, its labels: the same numbers, sets or paths,
    or classes that correspond one to one. Its head learns as any other, but from the embedding as it is: it has no say
    in the encoder, which would otherwise be led by several heads for what is one notion.
    """
    if recipe.objective.weighting != "excess" or recipe.model.heads != "separate":
        return {}
    return {name: same for name in recipe.similarities if (same := next(_repeated(name, recipe, data), None))}


def _repeated(name: str, recipe: Recipe, data: Prepared) -> Iterator[str]:
    for other in takewhile(lambda each: each != name, recipe.similarities):
        if {name, other} <= set(recipe.labelled) and _alike(name, other, recipe) and _say_the_same(name, other, data):
            yield other


def _alike(name: str, other: str, recipe: Recipe) -> bool:
    ours, theirs = (recipe.similarities[each].model_dump(exclude=WHERE_IT_STANDS) for each in (name, other))
    numbers = [recipe.kind(each) == "rank_n_contrast" for each in (name, other)]
    return ours == theirs and numbers[0] == numbers[1]


def _say_the_same(name: str, other: str, data: Prepared) -> bool:
    """Whether two labels of the same kind stand for the same items, and are the same there."""
    one, two = data.labels[name], data.labels[other]
    a, b = (data.values[each][data.split.train] for each in (name, other))
    if one.kind != two.kind or not np.array_equal(labelled(a), labelled(b)):
        return False
    a, b = a[labelled(a)], b[labelled(b)]
    if one.kind != "categorical":
        return (one.classes, one.members) == (two.classes, two.members) and np.array_equal(a, b)
    pairs = a * (int(b.max(initial=0)) + 1) + b
    return len({len(class_counts(codes)) for codes in (a, b, pairs)}) == 1
