"""The pages in a real browser: nothing of the labels runs, nothing is loaded, and they fit every screen and paper."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mscon.report.compare import compare_runs, write_comparison

PHONE, DESK = 360, 1280

Runs = tuple[Path, Path]


@pytest.fixture(scope="module", params=["report", "compare"])
def file(request: pytest.FixtureRequest, two_runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "report":
        return two_runs[0] / "report.html"
    return write_comparison(compare_runs(two_runs), tmp_path_factory.mktemp("compared") / "page.html")


def opened(browser: Any, file: Path, *, width: int = DESK, **look: Any) -> Any:
    page = browser.new_context(viewport={"width": width, "height": 800}, **look).new_page()
    page.goto(file.as_uri())
    return page


def test_no_word_of_a_label_runs_and_nothing_is_loaded(browser: Any, file: Path) -> None:
    assert "onerror=alert(1)" in file.read_text() or "compared" in str(file)  # a hostile class is on the report
    context = browser.new_context()
    page, heard = context.new_page(), []
    page.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_load_state("networkidle")
    assert [each for each in heard if each != file.as_uri() and not each.startswith("data:image/")] == []
    assert page.evaluate("document.querySelectorAll('script, img, [onload], [onerror]').length") == 0
    broken = "[...document.querySelectorAll('image')].filter(each => !each.href.baseVal.startsWith('data:')).length"
    assert page.evaluate(broken) == 0


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_screen_has_to_be_scrolled_sideways(browser: Any, file: Path, width: int) -> None:
    page = opened(browser, file, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_first_key_skips_to_the_scores_and_every_scrolled_table_can_be_reached(browser: Any, file: Path) -> None:
    page = opened(browser, file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0  # seen once it has the focus
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "scores"
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every(each => each.tabIndex === 0 && each.ariaLabel)"
    )


def test_headings_are_in_order_and_tables_and_figures_tell_what_they_are(browser: Any, file: Path) -> None:
    page = opened(browser, file)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(each => +each.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('th')].every(each => each.scope)")
    nameless = "[...document.querySelectorAll('svg')].filter(each => !each.ariaHidden && !each.ariaLabel).length"
    assert page.evaluate(nameless) == 0
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(each => document.querySelector(each.hash))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_ground_they_are_on(browser: Any, file: Path, scheme: str) -> None:
    """WCAG's contrast of 4.5 to 1 for every colour that words have."""
    page = opened(browser, file, color_scheme=scheme)
    colours = page.evaluate(
        "['--paper', '--ink', '--faint', '--model', '--above', '--below'].map("
        "each => getComputedStyle(document.documentElement).getPropertyValue(each))"
    )
    paper, *words = map(luminance, colours)
    assert (paper > 0.5) == (scheme == "light")
    for each in words:
        lighter, darker = max(each, paper), min(each, paper)
        assert (lighter + 0.05) / (darker + 0.05) > 4.5


def luminance(colour: str) -> float:
    """Of a colour such as #1f5fa6, as WCAG 2 defines it."""
    parts = [int(colour.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_paper_is_light_and_shows_what_is_folded_away_on_a_screen(browser: Any, file: Path) -> None:
    page = opened(browser, file, color_scheme="dark", width=700)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    folded = page.evaluate(
        "[...document.querySelectorAll('details > :not(summary)')].filter(each => each.offsetHeight === 0).length"
    )
    assert folded == 0
    assert page.pdf(format="A4").startswith(b"%PDF")
