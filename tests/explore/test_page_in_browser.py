"""The page in a real browser: sliders, uploads, keys, a phone, the map, and labels that are an attack."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mscon.explore.maps import Map, Maps
from mscon.run import Run
from mscon.search import SHARED, Collection, Space, query_of
from mscon.search.index import Index
from shown_page import shown

PHONE, DESK = 360, 1280
WAIT = 60_000
"""Milliseconds for whatever happens at once on a machine that has nothing else to do."""


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with watched(browser, address) as page:
        yield page


class watched:  # noqa: N801 - a context, read as a word
    """A page that has shown its first results; at its end it has run no word of a label and asked nobody else."""

    def __init__(self, browser: Any, address: str, *, width: int = DESK, **look: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **look)
        self.page, self.address, self.heard = self.context.new_page(), address, []
        self.page.set_default_timeout(WAIT)
        self.page.on("dialog", lambda dialog: (self.heard.append(dialog.message), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        self.page.on("request", lambda request: self.heard.append(request.url))

    def __enter__(self) -> Any:
        self.page.goto(self.address)
        self.page.wait_for_selector(".results li")
        return self.page

    def __exit__(self, *_: object) -> None:
        own = (self.address, "data:image/", "blob:")
        self.context.close()
        assert [each for each in self.heard if not each.startswith(own)] == []


def found(page: Any) -> list[str]:
    return page.locator(".results .name strong").all_text_contents()


def ask(page: Any, name: str) -> None:
    page.locator("#pick-id").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.query strong')?.textContent === name", arg=name)


def changed(page: Any, before: list[str]) -> list[str]:
    page.wait_for_function(
        "before => { const now = [...document.querySelectorAll('.results .name strong')].map(each => each.textContent);"
        " return now.length && JSON.stringify(now) !== JSON.stringify(before) }",
        arg=before,
    )
    return found(page)


@pytest.mark.parametrize("of", ["catalog", "index"])
def test_an_id_a_slider_and_a_condition_find_what_a_search_finds(
    of: str, browser: Any, run: Run, request: pytest.FixtureRequest
) -> None:
    items: Collection
    with ExitStack() as held:
        if of == "catalog":
            items, address = request.getfixturevalue("space"), request.getfixturevalue("address")
        else:
            index = request.getfixturevalue("index")
            items, address = Index.open(index, run), held.enter_context(shown(run, "--index", index)).address
        page = held.enter_context(watched(browser, address))
        first = items.ids[40]
        query = query_of(run, items, [first])

        def expected(weights: dict[str, float], where: str | None = None) -> list[str]:
            rows = items.search(query, weights, k=12, where=where).rows.tolist()
            return [each["id"] for each in items.values_of(rows, [])]

        ask(page, first)
        weights = dict.fromkeys(items.similarities, 1.0)
        page.wait_for_function(
            "first => document.querySelector('.results strong').textContent === first", arg=expected(weights)[0]
        )
        assert found(page) == expected(weights)
        before = found(page)
        page.get_by_role("slider", name="marks").focus()
        for _ in range(25):
            page.keyboard.press("ArrowLeft")
        weights["marks"] = -1.5
        changed(page, before)
        page.wait_for_timeout(1000)  # the last of the steps
        assert found(page) == expected(weights)
        page.get_by_role("button", name="Filters").click()
        box = page.locator("#where textarea, #where input")
        box.fill("character = 'g'")
        before = found(page)
        box.press("Enter")
        assert changed(page, before) == expected(weights, "character = 'g'")
        box.fill("charcter = 'g'")
        box.press("Enter")
        page.wait_for_selector("#asking .mistake >> text=charcter")
        assert found(page) == expected(weights, "character = 'g'")  # what was there stays


def test_by_keyboard_a_result_becomes_the_query_and_nothing_counts_is_said(page: Any) -> None:
    first = found(page)[0]
    page.locator(".results .pick").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.query strong').textContent === name", arg=first)
    page.get_by_role("button", name="All to 0").press("Enter")
    page.wait_for_selector("text=Nothing counts: move a slider away from 0.")
    page.get_by_role("button", name="only", exact=True).first.press("Enter")
    page.wait_for_selector(".results .counts")
    assert page.locator(".results li:first-child .counts").count() == 1


def test_pictures_are_searched_for_and_others_are_refused(page: Any, space: Space, tmp_path: Path) -> None:
    file = page.locator("input[type=file]")
    picture = space.images_of([9])[0]
    file.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": picture})
    page.wait_for_selector(".query >> text=your picture")
    assert found(page)[0] == space.ids[9]
    file.set_input_files({"name": "words.jpg", "mimeType": "image/jpeg", "buffer": b"only words"})
    page.wait_for_selector("text=This file cannot be searched for: no JPEG, PNG, WebP or GIF file")
    large = tmp_path / "large.jpg"
    with large.open("wb") as written:
        written.truncate(50_000_000)
    file.set_input_files(large)
    page.wait_for_selector("text=This file is too large: pictures of up to 20 MB can be searched for.")
    page.locator("#pick-id").fill("no such item")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=There is no item called 'no such item'")


def test_the_map_is_drawn_by_umap_kept_and_asks_for_items(page: Any, run: Run, space: Space) -> None:
    page.get_by_role("tab", name="Map").click()
    page.wait_for_selector("text=252 items, by UMAP.", timeout=4 * WAIT)
    kept = Maps(space, run.folder / "maps", space.ids).get(SHARED)
    assert isinstance(kept, Map)  # at once, from the run's folder
    assert kept.places.min() == 0
    assert kept.places.max() == 1
    page.locator(".map .label").select_option("style")
    page.wait_for_selector(".legend >> text=<img src=x onerror=alert(1)>")
    page.wait_for_selector(".legend >> text=missing")
    canvas = page.locator(".plane canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    name = page.locator(".tip p").text_content().partition(" · ")[0]
    assert name in space.ids
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.query strong').textContent === name", arg=name)
    assert page.get_by_role("tab", name="Search").get_attribute("aria-selected") == "true"


def test_tabs_show_the_runs_files_and_run_none_of_them(page: Any) -> None:
    for title, words in (("Training and weights", "How training went"), ("Probes", "What the embedding knows")):
        page.get_by_role("tab", name=title).click()
        frame = page.frame_locator("iframe[title='" + title + "']")
        frame.get_by_text(words, exact=True).wait_for()
        assert page.locator("iframe[title='" + title + "']").get_attribute("sandbox") == "allow-same-origin"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_need_not_be_scrolled_sideways(browser: Any, address: str, scheme: str) -> None:
    with watched(browser, address, width=PHONE, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 60) == (scheme == "dark")
        box = page.locator(".results .similarity").first.bounding_box()
        assert box["width"] > 40  # bars leave room for names
