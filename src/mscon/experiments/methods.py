"""Methods: what is compared, each a recipe laid over the study's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mscon.errors import UserError, nearest
from mscon.experiments.studies import Study
from mscon.experiments.tables import names, read_table

Trains = Literal["all", "each", "joint", "none"]
"""Which of a study's similarities a method trains under: all of them, each alone (a training for each), the one label
that all make together, or none. `beside` it are those that need no label: `instance`, `appearance`.
"""

ORDER = (
    "mscon-equal",
    "mscon-excess",
    "cross-entropy-equal",
    "mscon-paper",
    "mscon-appearance",
    "mscon-instance-appearance",
    "cross-entropy-appearance",
    "mscon-excess-instance",
    "supcon-joint",
    "simclr",
    "supcon",
    "cross-entropy",
    "cross-entropy-uncertainty",
    "mscon-uncertainty",
    "mscon-exact",
    "mscon-excess-items",
    "csn",
)
"""In which methods are trained: those that most is asked of first. Others follow by name."""


@dataclass(frozen=True)
class Method:
    """One way to train on a study's labels.

    - `name`: its folder among the results, such as `supcon-category`; `family`: that of its recipe, `supcon`.
    - `title`: as tables show it.
    - `similarities`: of the recipe.
    - `recipe`: nested tables laid over the study's.
    """

    name: str
    family: str
    title: str
    similarities: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any]

    def trained_of(self, study: Study) -> tuple[str, ...]:
        """The study's labels that it trains each by itself; all of them, where it trains none so."""
        return tuple(name for name in study.similarities if name in self.similarities) or study.similarities


def methods(study: Study, similarities: Mapping[str, Mapping[str, Any]] | None = None) -> list[Method]:
    """All methods, in the order of `ORDER`; what trains under each label alone is one method for each, and of one label
    there is no joint one.

    **Arguments:** `similarities`: in place of the study's own.
    """
    known = names("methods")
    order = [name for name in ORDER if name in known] + [name for name in known if name not in ORDER]
    given = {name: {} for name in study.similarities} if similarities is None else similarities
    return [each for name in order for each in _expanded(name, given)]


def chosen(all_methods: list[Method], wanted: list[str] | None) -> list[Method]:
    """The methods of these names, a name without its label meaning all of its labels. **Raises** `UserError` for a name
    that is none.
    """
    if not wanted:
        return all_methods
    for name in wanted:
        if not any(name in (each.name, each.family) for each in all_methods):
            known = [each.name for each in all_methods]
            raise UserError(f"there is no method {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    return [each for each in all_methods if {each.name, each.family} & set(wanted)]


def _expanded(name: str, similarities: Mapping[str, Mapping[str, Any]]) -> Iterator[Method]:
    table = read_table("methods", name)
    trains, title, recipe = table["trains"], table["title"], table["recipe"]
    beside: dict[str, Mapping[str, Any]] = {kind: {} for kind in table.get("beside", ())}
    match trains:
        case "each":
            for each, settings in similarities.items():
                own = {each: settings, **beside}
                yield Method(f"{name}-{each}", name, title.format(similarity=each), own, recipe)
        case "all":
            yield Method(name, name, title, {**similarities, **beside}, recipe)
        case "joint":
            columns = [settings.get("column", each) for each, settings in similarities.items()]
            if len(columns) > 1:
                yield Method(name, name, title, {"joint": {"joint": columns}, **beside}, recipe)
        case "none":
            yield Method(name, name, title, beside, recipe)
        case _:
            raise ValueError(f"{name}.toml: trains is {trains!r}, not one of {get_args(Trains)}")
