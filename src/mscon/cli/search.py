"""Commands that use a run: search."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from mscon.cli.shared import Image, progress_bar, say
from mscon.errors import UserError


def search(
    run: Path,
    query: Annotated[list[str], Parameter(negative="")],
    *,
    weight: Annotated[list[str] | None, Parameter(name=["--weight", "-w"], negative="")] = None,
    where: str | None = None,
    k: Annotated[int, Parameter(name=["--count", "-k"])] = 10,
    catalog: str | None = None,
    image: Image = None,
    id: str | None = None,
    format: Literal["table", "json"] = "table",
    sheet: Path | None = None,
) -> None:
    """Find what is alike under any mix of the run's similarities.

        mscon search runs/shoes photo.jpg --weight closure=1 --weight colour=0.2

        mscon search runs/shoes 10042 -w closure=1 -w colour=-0.5 --where "gender = 'Women' AND year > 2012"

    The score of an item is the sum of its cosines to the query, each times its weight. A negative weight looks for
    what is not alike in this way: the same closure, another colour. Without weights every similarity counts 1; the
    shared embedding counts as `shared`. The catalog is embedded once; its vectors are kept in the run's folder.

    Parameters
    ----------
    run
        The run's folder.
    query
        A picture's file or an item's id; of several, what lies between them.
    weight
        NAME=NUMBER: how much a similarity counts. Repeat it.
    where
        A condition on the catalog's columns, in SQL.
    k
        How many items.
    catalog
        Where to search; the run's own catalog when left out.
    id
        The column that names an item, where it cannot be found by name.
    format
        How to print what is found.
    sheet
        A PNG to draw it in, too: the pictures, and how near each is under each similarity.
    """
    from mscon.files import write_whole
    from mscon.run import Run
    from mscon.search import Space, query_of
    from mscon.search import search as find
    from mscon.search.mix import mix, read_weights
    from mscon.search.sheet import sheet as drawn
    from mscon.search.show import as_json, as_table, records

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UserError(f"--sheet {sheet}: a sheet is drawn as PNG; name a file that ends in .png")
    of_run = Run.open(run)
    weights = mix(read_weights(weight or ()), list(of_run.recipe.similarities))
    with progress_bar("embedding images") as progress:
        space = Space.of(of_run, catalog, image=image, id=id, progress=progress)
    asked = query_of(of_run, space, query)
    hits = find(space, asked, weights, k=k, where=where)
    found, console = records(of_run, space, hits), Console()
    if format == "json":
        print(as_json(found, hits))
    elif found:
        console.print(as_table(found, hits))
    else:
        say(console, "nothing found: no other item passes --where")
    if sheet is not None:
        write_whole(sheet, lambda aside: drawn(space, asked, hits, found).save(aside, "PNG"))
        say(Console(stderr=True), f"written: {sheet}")
