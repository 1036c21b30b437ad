"""The site that `make docs` builds: it is whole, every public name is in it, and it asks nothing of the network."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import griffe
import pytest

pytest.importorskip("zensical", reason="zensical, which builds the site, is not installed")

ROOT = Path(__file__).parents[1]
PUBLIC = (
    *("mscon", "mscon.contrast", "mscon.similarity", "mscon.weighting", "mscon.baselines", "mscon.data"),
    *("mscon.data.originals", "mscon.inspection", "mscon.evaluate", "mscon.report", "mscon.report.compare"),
    *("mscon.export", "mscon.search", "mscon.search.index", "mscon.search.index.dump"),
)
"""What users may import from: every package with an `__all__`, but for the figures of `mscon reproduce`."""

LOADS = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
"""What a browser fetches by itself, tag → attribute; a link in the text is not among it."""


class Page(HTMLParser):
    """The ids, links and loaded addresses of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {str(value) for name, value in attrs if name in ("id", "name") and value}
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        if tag in LOADS and (address := given.get(LOADS[tag])):
            self.loaded.append(address)


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the command of `make docs` says of a folder's documents, where no network can be reached."""
    shutil.copy(ROOT / "mkdocs.yml", folder)
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    words = re.search(r"^docs:.*\n\t\$\(BIN\)/zensical (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert words
    command = [sys.executable, "-m", "zensical", *words[1].split()]
    return subprocess.run(
        command, cwd=folder, env=os.environ | nowhere, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_a_broken_link_or_anchor_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "assets", tmp_path / "docs" / "assets")
    text = "# Broken\n\n[a link](nowhere.md), [an anchor](index.md#nothing-is-called-so)\n"
    (tmp_path / "docs" / "index.md").write_text(text, encoding="utf-8")
    done = built(tmp_path)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "page does not exist" in said
    assert "anchor does not exist" in said


def test_every_link_and_anchor_of_the_built_pages_leads_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for page in pages.values():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data"):
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            known = pages.get(target)
            if not target.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                broken.append(f"{page.path.name}: {link}")
    assert broken == []


def test_every_document_is_a_page_with_a_place_in_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    wanted = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in pages} == wanted
    listed = {os.path.normpath(link.partition("#")[0]) for link in pages[site / "index.html"].links}
    assert {str(each) for each in wanted} <= listed


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {address for page in pages.values() for address in page.loaded}
    for style in site.rglob("*.css"):
        loaded |= set(re.findall(r"(?:@import\s+|url\()[\"']?([^\"')]+)", style.read_text(encoding="utf-8")))
    assert [each for each in loaded if re.match(r"(https?:)?//", each)] == []


def test_every_public_name_is_on_a_page(pages: dict[Path, Page]) -> None:
    anchors = {anchor for page in pages.values() if page.path.parent.name == "api" for anchor in page.ids}
    missing = []
    for module in PUBLIC:
        for name in import_module(module).__all__:
            thing = getattr(import_module(module), name)
            homes = {f"{each}.{name}" for each in PUBLIC if getattr(import_module(each), name, None) is thing}
            homes.add(f"{getattr(thing, '__module__', module)}.{name}")  # where a module has its function's name
            if not anchors & homes:
                missing.append(f"{module}.{name}")
    assert missing == []


def test_every_package_that_says_what_is_public_is_listed_here() -> None:
    package = griffe.load("mscon", search_paths=[str(ROOT / "src")])
    packages = {each.path for each in modules(package) if each.is_init_module and each.exports is not None}
    assert packages - {"mscon.experiments.figures"} == set(PUBLIC)


def test_every_public_name_has_a_docstring() -> None:
    package = griffe.load("mscon", search_paths=[str(ROOT / "src")])
    bare = [
        thing.path
        for module in modules(package)
        if module.path in PUBLIC
        for name in module.exports or ()
        for thing in told(module.members[str(name)])
        if not thing.has_docstring
    ]
    assert bare == []


def modules(package: Any) -> Iterator[Any]:
    yield package
    for each in package.members.values():
        if not each.is_alias and each.is_module:  # modules import one another, in circles
            yield from modules(each)


def told(thing: Any) -> Iterator[Any]:
    """What a page shows of a public name: itself and, of a class, its public methods and properties."""
    thing = thing.final_target if thing.is_alias else thing
    yield thing
    if thing.is_class:
        yield from (each for each in thing.members.values() if each.is_function and not each.name.startswith("_"))


def test_the_search_works_from_a_disk_and_asks_nothing_of_the_network(site: Path, browser: Any) -> None:
    page, asked, wrong = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((site / "api" / "objective.html").as_uri())
    page.keyboard.press("Control+k")
    page.keyboard.type("micro_batched")
    page.get_by_text("The gradient of a loss over a whole batch").last.wait_for(timeout=60_000)
    assert wrong == []
    assert [each for each in asked if not each.startswith(("file:", "data:", "about:", "blob:"))] == []


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["index", "concepts", "results", "api/objective"])
def test_no_page_has_to_be_scrolled_sideways(site: Path, browser: Any, name: str, width: int) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
