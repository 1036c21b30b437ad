"""A page in the browser to look at a run."""

from importlib.util import find_spec
from pathlib import Path

from mscon.cli.shared import Image, collection, say
from mscon.console import terminal
from mscon.errors import UserError


def explore(
    run: Path,
    *,
    catalog: str | None = None,
    image: Image = None,
    id: str | None = None,
    index: str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    open: bool = False,
) -> None:
    """Look at a run in the browser: search by sliders, maps of the items, and what is known of the run.

    Prints the page's address, and shows it until Ctrl-C. Nothing but this machine can reach it, and it asks nothing of
    the network. With another --host others can: then the address carries a token, without which nobody is answered.
    Needs the extra `explore`.

        mscon explore runs/shoes
        mscon explore runs/shoes --catalog new_arrivals.csv --open
        mscon explore runs/shoes --index shop.lance --host 0.0.0.0

    Parameters
    ----------
    run
        The run's folder.
    catalog
        The catalog to look at; the run's own when left out.
    id
        The column that names an item, where it cannot be found by name.
    index
        Look at what `mscon index` has made there, in place of a catalog.
    host
        The address to listen at.
    port
        The port to listen at; the first free one from 7860 on when left out.
    open
        Open the page in the browser.
    """
    from mscon.run import Run

    if any(find_spec(each) is None for each in ("gradio", "umap")):
        raise UserError('the page needs Gradio and UMAP: pip install "mscon[explore]"')
    from mscon.explore.serve import serve

    of_run = Run.open(run)
    items = collection(of_run, catalog, image=image, id=id, index=index)
    console = terminal()
    serve(of_run, items, host=host, port=port, open_browser=open, say=lambda text: say(console, text))
    say(console, "stopped")
