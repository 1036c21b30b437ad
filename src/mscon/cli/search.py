"""Search: a run's catalog in memory, or an index in a database, which is made and kept up to date here."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mscon.cli.shared import Image, collection, progress_bar, say, say_skipped
from mscon.console import terminal
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
    index: str | None = None,
    format: Literal["table", "json"] = "table",
    sheet: Path | None = None,
) -> None:
    """Find what is alike under any mix of the run's similarities.

    The score of an item is the sum of its cosines to the query, each times its weight. A negative weight looks for
    what is not alike in this way: the same closure, another colour. Without weights every similarity counts 1; the
    shared embedding counts as `shared`. The catalog is embedded once; its vectors are kept in the run's folder. For
    more items than fit into memory see `mscon index`.

        mscon search runs/shoes photo.jpg --weight closure=1 --weight colour=0.2
        mscon search runs/shoes 10042 -w closure=1 -w colour=-0.5
        mscon search runs/shoes 10042 --where "gender = 'Women' AND year > 2012"
        mscon search runs/shoes photo.jpg --index shop.lance

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
        The catalog to search; the run's own when left out.
    id
        The column that names an item, where it cannot be found by name.
    index
        Search what `mscon index` has made there, in place of a catalog.
    format
        How to print what is found.
    sheet
        A PNG to draw it in, too: the pictures, and how near each is under each similarity. Terminals that can show
        pictures show it.
    """
    from mscon.files import write_whole
    from mscon.run import Run
    from mscon.search import query_of
    from mscon.search.mix import mix, read_weights
    from mscon.search.sheet import sheet as drawn
    from mscon.search.show import as_json, as_table, records
    from mscon.search.terminal import inline

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UserError(f"--sheet {sheet}: a sheet is drawn as PNG; name a file that ends in .png")
    of_run = Run.open(run)
    weights = mix(read_weights(weight or ()), list(of_run.recipe.similarities))
    items = collection(of_run, catalog, image=image, id=id, index=index)
    asked = query_of(of_run, items, query)
    hits = items.search(asked, weights, k=k, where=where)
    found, console = records(of_run, items, hits), terminal()
    if format == "json":
        print(as_json(found, hits))
    elif found:
        table = as_table(found, hits)
        if not console.is_terminal:  # a file is as wide as what is written to it
            unbounded = console.options.update_width(sys.maxsize)
            console.width = max(console.width, console.measure(table, options=unbounded).maximum)
        console.print(table)
    else:
        say(console, f"nothing found: {'no other item passes --where' if where else 'there is no other item'}")
    if sheet is not None:
        write_whole(sheet, lambda aside: drawn(items, asked, hits, found).save(aside, "PNG"))
        shown = inline(sheet.read_bytes(), os.environ) if sys.stdout.isatty() else None
        sys.stdout.write(shown or "")
        say(terminal(stderr=True), f"written: {sheet}")


def index(
    run: Path,
    catalog: str | None = None,
    *,
    to: str,
    image: Image = None,
    id: str | None = None,
    half: bool = False,
    heads_only: bool = False,
    replace: bool = False,
    delete: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> None:
    """Write a catalog into a LanceDB table that `mscon search` reads: vectors, columns, and pictures of 128 pixels.

    Items that are there as they are in the catalog are left alone, changed ones are replaced, new ones added, others
    kept: whatever is stopped goes on when the same command is given again. Of 50,000 items or more approximate indexes
    are built and measured against exact search, and used for those kinds of weights under which they find at least
    95% of the ten best items. Needs the extra `search`.

        mscon index runs/shoes shop.parquet --to shop.lance
        mscon index runs/shoes new_arrivals.csv --to shop.lance
        mscon index runs/shoes --to shop.lance --delete 10042 --delete 10043
        mscon index runs/shoes shop.parquet --to s3://bucket/shop.lance

    Parameters
    ----------
    run
        The run's folder.
    catalog
        Any catalog with an image column; it needs no labels. Left out with --delete.
    to
        A folder, or an address such as s3://bucket/shop.lance, whose access keys are read from the environment.
    id
        The column that names an item, where it cannot be found by name.
    half
        Keep vectors as float16: half the size.
    heads_only
        Leave the shared embedding out, which is wider than all projections together.
    replace
        Make the index anew, whatever is there.
    delete
        An id of an item to take out. Repeat it.
    """
    from mscon.data import Catalog
    from mscon.run import Run
    from mscon.search.index import delete_items, index_catalog
    from mscon.search.index.show import as_table

    console = terminal()
    if delete:
        if catalog or image or id or half or heads_only or replace:
            raise UserError("--delete takes items out of an index: leave out the catalog and every option but --to")
        left = delete_items(to, delete, Run.open(run))
        say(console, f"{len(set(delete)):,} deleted, {left:,} left: {to}")
        return
    if catalog is None:
        raise UserError("name the catalog to be indexed, or with --delete the items to be taken out")
    of_run = Run.open(run)
    with progress_bar("indexing") as progress:
        found = index_catalog(
            of_run,
            Catalog.read(catalog, image=image),
            to,
            id=id,
            half=half,
            heads_only=heads_only,
            replace=replace,
            progress=progress,
            say=lambda text: say(console, text),
        )
    say(
        console,
        f"{found.added:,} added, {found.changed:,} changed, {found.same:,} as they were: {found.rows:,} items in {to}",
    )
    if found.left_out:
        say(console, f"columns that this index has no place for: {', '.join(found.left_out)}")
    say_skipped(console, found.skipped)
    if found.recall:
        console.print(as_table(found.recall))
    say(console, f"now: mscon search {run} PHOTO --index {to}")


def export_index(
    source: Annotated[str, Parameter(name="DIR")],
    *,
    to: Literal["qdrant", "pgvector"],
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
) -> None:
    """Write an index that `mscon index` made as plain files for another database, which need nothing of mscon.

    Of each item: its id, its columns, a vector for each similarity, all of these side by side, so that any mix is one
    query, and the shared embedding. The folder's README.md says how to load them and how to search. Pictures stay in
    the index.

        mscon export-index shop.lance --to qdrant -o shop-qdrant
        mscon export-index shop.lance --to pgvector -o shop-pgvector

    Parameters
    ----------
    source
        The index: a folder, or an address of an object store.
    to
        qdrant: bodies of requests, as JSON. pgvector: SQL and rows for PostgreSQL's COPY.
    out
        The folder to write, empty or not there.
    """
    from mscon.search.index import Index
    from mscon.search.index.dump import dump_pgvector, dump_qdrant

    index = Index.open(source)
    with progress_bar("exporting items") as progress:
        (dump_qdrant if to == "qdrant" else dump_pgvector)(index, out, progress=progress)
    say(terminal(), f"{len(index):,} items written: {out}\nhow to load and search them: {out / 'README.md'}")
