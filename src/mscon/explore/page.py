"""The page: what is asked for and how much each similarity counts on the left, what is found on the right, and tabs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from time import perf_counter
from typing import Any

import gradio as gr
import numpy as np

from mscon.data.labels import learned_kinds
from mscon.errors import UserError
from mscon.explore.conditions import choices, condition
from mscon.explore.maps import Maps
from mscon.explore.pictures import MOST_BYTES, TOO_LARGE, Uploads, as_address
from mscon.explore.points import CLASSES
from mscon.explore.results import called, item_html, query_html, results_html, told_html
from mscon.explore.state import Asked, ask_item, ask_picture, find
from mscon.explore.tabs import TABS
from mscon.model import MSConModel
from mscon.report import text
from mscon.run import Run
from mscon.search import SHARED, Collection
from mscon.search.show import label_columns

ASSETS = Path(__file__).parent / "assets"

REACH, STEP = 2.0, 0.1
"""Of a slider: weights from −2 to 2."""

FIRST, MOST = 12, 60
"""Items that are shown at first, and at most."""

FILTERS = 8
"""Labels that can be chosen from beside the condition, which reaches every column."""


WEIGHTS = """<h2>How much each similarity counts</h2>
<p class="hint">0: not at all. Below 0: what is <em>not</em> alike in this way.</p>"""


@dataclass(frozen=True, eq=False)
class Explored:
    """What the page is of: a run and the items it looks at.

    - `names`: the similarities that can be weighed, the shared embedding last.
    - `ids`: of all items. `pictures`: the address under which the items' pictures are, another one for every start.
    """

    run: Run
    collection: Collection
    ids: list[str]
    names: list[str]
    maps: Maps
    pictures: str
    uploads: Uploads = field(default_factory=Uploads)

    @cached_property
    def model(self) -> MSConModel:
        """The run's, loaded for the first picture."""
        return self.run.model()

    @property
    def default(self) -> list[float]:
        """The weights at first: every similarity alike, without the shared embedding."""
        return [0.0 if name == SHARED else 1.0 for name in self.names]

    @cached_property
    def labels(self) -> list[str]:
        """Columns of the run's labels that the items have."""
        first = list(self.collection.rows_of(self.ids[:1]).values())
        return list(self.collection.values_of(first, label_columns(self.run))[0]["labels"])

    @cached_property
    def choices(self) -> dict[str, list[Any]]:
        """The labels that can be chosen from, with their values."""
        found = choices(self.collection, label_columns(self.run), learned_kinds(self.run.labels))
        return dict(list(found.items())[:FILTERS])


def page_of(explored: Explored) -> gr.Blocks:
    """The page of a run."""
    title = f"mscon explore {explored.run.folder.resolve().name}"
    with gr.Blocks(title=title, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_heading(explored), elem_id="heading")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Search", id="search"), gr.Row(elem_id="searching"):
                search = _search(explored)
            with gr.Tab("Map", id="map"):
                chart = _script("map", value=_map_value(explored, None))
            for name, title in TABS.items():
                with gr.Tab(title, id=name):
                    _script("frame", value={"address": f"tabs/{name}", "title": title})
        _connect(explored, page, search, chart, tabs)
    return page


@dataclass(frozen=True, eq=False)
class _Search:
    """The parts of the search, as they are wired together."""

    asked: gr.State
    picker: gr.HTML
    query: gr.HTML
    mistake: gr.HTML
    any_item: gr.Button
    sliders: list[gr.Slider]
    only: list[gr.Button]
    alike: gr.Button
    none: gr.Button
    count: gr.Slider
    where: gr.Textbox
    wrong: gr.HTML
    chosen: dict[str, gr.Dropdown]
    told: gr.HTML
    results: gr.HTML


def _search(explored: Explored) -> _Search:
    asked = gr.State(None)
    with gr.Column(scale=1, min_width=320, elem_id="asking"):
        picker = _script("picker", value={"most_bytes": MOST_BYTES, "too_large": TOO_LARGE})
        any_item = gr.Button("A random item", size="sm")
        mistake = gr.HTML("", elem_classes="say")
        query = gr.HTML("")
        gr.HTML(WEIGHTS)
        sliders, only = [], []
        for name, weight in zip(explored.names, explored.default, strict=True):
            with gr.Row(elem_classes="weight"):
                look: dict[str, Any] = {"scale": 5, "min_width": 160, "buttons": []}
                sliders.append(gr.Slider(-REACH, REACH, weight, step=STEP, label=called(name), **look))
                only.append(gr.Button("only", size="sm", scale=0, min_width=56, elem_classes="only"))
        with gr.Row():
            alike = gr.Button("All alike", size="sm", min_width=80)
            none = gr.Button("All to 0", size="sm", min_width=80)
        with gr.Accordion("Filters", open=False):
            chosen = {
                name: gr.Dropdown(values, value=[], multiselect=True, label=name)
                for name, values in explored.choices.items()
            }
            where = gr.Textbox(
                label="Condition in SQL, on any column of the catalog",
                placeholder="gender = 'Women' AND year > 2012",
                max_lines=3,
                elem_id="where",
            )
            wrong = gr.HTML("", elem_classes="say")
        count = gr.Slider(1, MOST, FIRST, step=1, label="Items shown", buttons=[])
    with gr.Column(scale=3, min_width=320):
        told = gr.HTML("", elem_id="told")
        results = _script("results", value="", html_template="${value}")
    return _Search(
        asked, picker, query, mistake, any_item, sliders, only, alike, none, count, where, wrong, chosen, told, results
    )


def _connect(explored: Explored, page: gr.Blocks, search: _Search, chart: gr.HTML, tabs: gr.Tabs) -> None:
    settings = [*search.sliders, search.count, search.where, *search.chosen.values()]
    parts = [search.results, search.told, search.wrong]
    picked = [search.asked, search.query, search.mistake, chart, *parts]
    rng = np.random.default_rng()

    def show(asked: Any, *values: Any) -> list[Any]:
        return shown(explored, asked, values)

    def pick_row(row: int, values: Sequence[Any]) -> list[Any]:
        asked = ask_item(explored.collection, row)
        query = item_html(explored.run, explored.collection, row, pictures=explored.pictures)
        return [asked, query, "", _map_value(explored, row), *shown(explored, asked, values)]

    def pick_any(*values: Any) -> list[Any]:
        name = explored.ids[int(rng.integers(len(explored.ids)))]
        return pick_row(explored.collection.rows_of([name])[name], values)

    def refused(error: UserError) -> list[Any]:
        return [told_html(str(error), error=True) if each is search.mistake else gr.skip() for each in picked]

    def pick(event: gr.EventData, *values: Any) -> list[Any]:
        try:
            return pick_row(_row(explored, event), values)
        except UserError as error:
            return refused(error)

    def upload(event: gr.EventData, *values: Any) -> list[Any]:
        try:
            data = explored.uploads.get(str(event.key))
            asked = ask_picture(explored.run, explored.collection, data, model=explored.model)
        except UserError as error:
            return refused(error)
        query = query_html(as_address(data), "your picture", {})
        return [asked, query, "", _map_value(explored, None), *shown(explored, asked, values)]

    def from_map(event: gr.EventData, *values: Any) -> list[Any]:
        return [gr.Tabs(selected="search"), *pick(event, *values)]

    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    last: dict[str, Any] = quiet | {"trigger_mode": "always_last"}
    moved = [each.input for each in (*search.sliders, search.count, *search.chosen.values())]
    gr.on([*moved, search.where.submit, search.where.blur], show, [search.asked, *settings], parts, **last)
    gr.on([page.load, search.any_item.click], pick_any, settings, picked, **quiet)
    search.picker.pick(pick, settings, picked, **quiet)
    search.results.pick(pick, settings, picked, **quiet)
    search.picker.clear(lambda: "", None, search.mistake, **quiet)
    search.picker.upload(upload, settings, picked, **quiet)
    chart.pick(from_map, settings, [tabs, *picked], **quiet)

    def moves_sliders(button: gr.Button, weights: Sequence[float]) -> None:
        def mixed(asked: Any, *values: Any) -> list[Any]:
            return [*weights, *shown(explored, asked, [*weights, *values[len(weights) :]])]

        button.click(mixed, [search.asked, *settings], [*search.sliders, *parts], **quiet)

    moves_sliders(search.alike, explored.default)
    moves_sliders(search.none, [0.0] * len(explored.names))
    for place, button in enumerate(search.only):
        moves_sliders(button, [float(other == place) for other in range(len(explored.names))])


def shown(explored: Explored, asked: Asked | None, values: Sequence[Any]) -> list[Any]:
    """What moving a slider shows: results, a line on them, and what is wrong with the condition. Of a mistake the
    results stay as they were.

    **Arguments:** `values`: of the sliders, the count, the condition and the choices.
    """
    weights = [float(value or 0) for value in values[: len(explored.names)]]  # None while a number is being typed
    count, where, *chosen = values[len(explored.names) :]
    if asked is None:
        return ["", told_html("Pick an item, or upload a picture."), ""]
    if not any(weights):
        return ["", told_html("Nothing counts: move a slider away from 0."), ""]
    start = perf_counter()
    passing = condition(dict(zip(explored.choices, chosen, strict=True)), where)
    try:
        weighed = dict(zip(explored.names, weights, strict=True))
        hits = find(explored.collection, asked, weighed, k=int(count or FIRST), where=passing)
    except UserError as error:
        return [gr.skip(), gr.skip(), told_html(str(error).removeprefix("--where "), error=True)]
    results = results_html(explored.run, explored.collection, hits, pictures=explored.pictures)
    milliseconds = 1000 * (perf_counter() - start)
    told = f"{len(hits.rows):,} of {len(explored.ids):,} items, found in {milliseconds:,.0f} ms"
    return [results, told_html(told), ""]


def _row(explored: Explored, event: gr.EventData) -> int:
    """The item that a click or a name picks. **Raises** `UserError` for none."""
    data: Mapping[str, Any] = event._data or {}
    row = data.get("row")
    if row is None:
        name = str(data.get("id", ""))
        found = explored.collection.rows_of([name])
        if name not in found:
            raise UserError(f"There is no item called {text.brief(name)!r}: choose one of those suggested")
        return found[name]
    if not str(row).isdecimal():
        raise UserError("There is no such item")
    return int(row)


def _map_value(explored: Explored, row: int | None) -> dict[str, Any]:
    """What the map's script is told: what can be chosen, and which item is asked for."""
    few = [name for name, values in explored.choices.items() if len(values) <= CLASSES]
    return {
        "spaces": [[name, called(name)] for name in reversed(explored.names)],
        "labels": explored.labels,
        "label": (few or explored.labels or [""])[0],
        "pictures": explored.pictures,
        "asked": None if row is None else str(row),
    }


def _heading(explored: Explored) -> str:
    source = text.catalog_name(explored.collection.source)
    run = escape(explored.run.folder.resolve().name)
    return f"<h1>{escape(source)}</h1><p class='hint'>{len(explored.ids):,} items as the run {run} sees them</p>"


def _script(name: str, *, value: Any, html_template: str | None = None) -> gr.HTML:
    """A part of the page that is drawn by a script of ours; what users wrote reaches it as `value` alone, for Gradio
    runs templates.
    """
    template = (ASSETS / f"{name}.html").read_text(encoding="utf-8") if html_template is None else html_template
    script = (ASSETS / f"{name}.js").read_text(encoding="utf-8")
    return gr.HTML(value, html_template=template, js_on_load=script, elem_id=f"mscon-{name}", apply_default_css=False)
