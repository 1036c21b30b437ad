"""The sets by their names."""

from collections.abc import Callable
from pathlib import Path

from mscon.data.originals import birds, disasters, products, shoes
from mscon.data.originals.original import About, Original
from mscon.errors import UserError, nearest

ABOUTS = {each.name: each for each in (shoes.ABOUT, disasters.ABOUT, birds.ABOUT, products.ABOUT)}


def about(name: str) -> About:
    """What is known of a set. **Raises** `UserError` for a name that is none."""
    if name not in ABOUTS:
        raise UserError(f"there is no set {name!r}.{nearest(name, ABOUTS)} Known: {', '.join(ABOUTS)}")
    return ABOUTS[name]


def read(
    name: str, root: Path, *, only: str | None = None, progress: Callable[[int, int], None] | None = None
) -> Original:
    """A set as it lies below a folder. **Raises** `UserError` as its own function does.

    **Arguments:** `only`: a masterCategory of fashion, which the others have not; `progress`: called with images read
    and in all, where images are read.
    """
    if name == products.ABOUT.name:
        return products.fashion(root, only=only, progress=progress)
    if only is not None:
        raise UserError(f"--only chooses a masterCategory of fashion; {name} has none: leave it out")
    readers = {shoes.ABOUT.name: shoes.zappos50k, disasters.ABOUT.name: disasters.medic, birds.ABOUT.name: birds.cub200}
    return readers[about(name).name](root)


def catalog_path(name: str, root: Path, only: str | None = None) -> Path:
    """Where a set's catalog is written unless told otherwise: NAME.parquet in its root, or that of the part."""
    return root / f"{'-'.join((only or name).lower().split())}.parquet"
