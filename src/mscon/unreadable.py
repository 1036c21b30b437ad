"""Images that a training without a cache finds unreadable on its way: counted, listed, and too many of them an end."""

from collections.abc import Sequence
from dataclasses import asdict

import torch.distributed as dist

from mscon.data.cache import Skipped, check_broken
from mscon.errors import UserError
from mscon.lightning import Fabric
from mscon.parsing import parse_json
from mscon.prepare import Prepared
from mscon.processes import any_process, each_process
from mscon.run import Run
from mscon.schemas import check_unread

FILE = "skipped.json"


class Unreadable:
    """The rows without a usable image, of all processes, as `skipped.json` in the run's folder lists them: by their
    places among the run's items, for rows of the catalog may go and come before a training goes on.

    With a cache they are all known at the start, and nothing is left to do.
    """

    def __init__(self, run: Run, data: Prepared, fabric: Fabric):
        self.run, self.data, self.fabric = run, data, fabric
        self.streamed = not run.recipe.image.cache
        self.seen = 0

    def take_up(self) -> None:
        """Begin the list, or go on with that of a training that is resumed. **Raises** `UserError` for one that cannot
        be read.
        """
        path = self.run.folder / FILE
        if self.streamed and path.exists():
            try:
                listed = check_unread(parse_json(path.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{path}: no list of unreadable images ({error}): remove it to go on; those that are met again are"
                    " listed anew"
                ) from None
            rows = {place: row for row, place in enumerate(self.data.places.tolist())}
            here = ((rows.get(each["row"]), each["reason"]) for each in listed)
            self.data.unreadable.update({row: reason for row, reason in here if row is not None})
        elif self.fabric.is_global_zero:
            self._list(self.data.pixels.skipped)

    def check(self) -> None:
        """After a step, whether new ones have come to more than `image.tolerance` allows.

        **Raises:** `UserError` on every process, the first few rows named; the list is written before.
        """
        if not self.streamed:
            return
        found = len(self.data.unreadable)
        new, self.seen = found > self.seen, found
        if any_process(self.fabric, new):
            catalog, recipe = self.data.catalog, self.run.recipe
            every, tolerance = self._of_all(), recipe.image.tolerance
            if len(every) > tolerance * len(catalog):
                self.write()
            each_process(self.fabric, lambda: check_broken(catalog, every, tolerance=tolerance, id=recipe.catalog.id))

    def write(self) -> None:
        """List those found so far."""
        if not self.streamed:
            return
        every = self._of_all()
        if self.fabric.is_global_zero:
            ids = self.data.catalog.ids(self.run.recipe.catalog.id) if every else []
            places = self.data.places.tolist()
            self._list([Skipped(places[row], ids[row], reason) for row, reason in sorted(every.items())])

    def _list(self, skipped: Sequence[Skipped]) -> None:
        self.run.write_json(FILE, [asdict(each) for each in skipped])

    def _of_all(self) -> dict[int, str]:
        """Those that any process has found."""
        parts: list[dict[int, str]] = [self.data.unreadable] * self.fabric.world_size
        if self.fabric.world_size > 1:
            dist.all_gather_object(parts, self.data.unreadable)
        return {row: reason for part in parts for row, reason in part.items()}
