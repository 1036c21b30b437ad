"""What the page shows: nothing of it runs, bars tell how near an item is, and pictures come within limits."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mscon.errors import UserError
from mscon.explore.pictures import KEPT, MOST_BYTES, SIDE, Uploads, as_address, item_picture
from mscon.explore.results import Bar, item_html, results_html, told_html
from mscon.explore.state import ask_item, find
from mscon.explore.tabs import TABS, tab_page
from mscon.run import Run
from mscon.search import SHARED, Space


def test_every_result_has_its_picture_labels_and_bars(run: Run, space: Space) -> None:
    hits = find(space, ask_item(space, 0), {"character": 1.0, SHARED: -0.5}, k=6)
    page = results_html(run, space, hits, pictures="pictures/x")
    assert re.findall(r'data-row="(\d+)"', page) == [str(row) for row in hits.rows]
    assert re.findall(r'src="([^"]*)"', page) == [f"pictures/x/{row}" for row in hits.rows]
    assert all(space.ids[row] in page for row in hits.rows)
    shown = re.findall(r'class="cosine">(.*?)<', page)
    names = [*space.similarities, SHARED]
    assert shown == [f"{hits.cosines[name][place]:z.3f}".replace("-", "−") for place in range(6) for name in names]
    assert page.count('<li class="counts">') == 12
    assert page.count("(not counted)") == 6 * (len(names) - 2)


def test_no_word_of_a_label_is_markup(run: Run, space: Space) -> None:
    styles = space.catalog.table["style"]
    hostile = styles.drop_nulls().unique().to_list()
    rows = [styles.to_list().index(each) for each in hostile]
    hits = find(space, ask_item(space, 0), {"character": 1.0}, k=len(space))
    pages = [results_html(run, space, hits, pictures="p"), told_html(hostile[0], error=True)]
    pages += [item_html(run, space, row, pictures="p") for row in rows]
    for page in pages:
        assert "alert(" in page
        found = tags(page)
        assert not {"script", "svg", "iframe"} & {tag for tag, _ in found}
        assert not any(name.startswith("on") for _, attributes in found for name in attributes)
        assert all(str(attributes["src"]).startswith("p/") for tag, attributes in found if tag == "img")
    for name in TABS:
        assert "<script" not in tab_page(run, space, name)


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements of a page, as a browser finds them, with their attributes."""
    found: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(page)
    return found


@pytest.mark.parametrize(("cosine", "left", "width"), [(1.0, 50, 50), (0.5, 50, 25), (-0.5, 25, 25), (-1.0, 0, 50)])
def test_a_bar_goes_right_of_the_middle_for_alike_and_left_for_unlike(cosine: float, left: int, width: int) -> None:
    bar = Bar("x", cosine, 1.0)
    assert (bar.left, bar.width) == (left, width)


def test_finding_nothing_is_said(run: Run, space: Space) -> None:
    hits = find(space, ask_item(space, 0), {"character": 1.0}, k=3, where="character = 'none'")
    assert "no other item passes the filters" in results_html(run, space, hits, pictures="p")


def png(side: int = 30) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(written, "PNG")
    return written.getvalue()


def test_an_items_picture_is_a_small_jpeg(space: Space) -> None:
    picture = Image.open(io.BytesIO(item_picture(space, 3)))
    assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))
    for row in (len(space), -1, 10**30):
        with pytest.raises(KeyError):
            item_picture(space, row)
    assert as_address(png()).startswith("data:image/")


def test_uploads_are_limited_and_the_last_are_remembered() -> None:
    uploads = Uploads()
    with pytest.raises(UserError, match="too large: pictures of up to 20 MB"):
        uploads.add(bytes(MOST_BYTES + 1))
    with pytest.raises(UserError, match="no JPEG, PNG, WebP or GIF file: it begins with b'hello'"):
        uploads.add(b"hello")
    keys = [uploads.add(png()) for _ in range(KEPT + 1)]
    assert len(set(keys)) == KEPT + 1
    assert uploads.get(keys[-1]) == png()
    with pytest.raises(UserError, match="upload it again"):
        uploads.get(keys[0])


def test_tabs_show_what_was_done_and_name_the_command_for_what_was_not(
    run: Run, space: Space, two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    assert "How training went" in tab_page(run, space, "training")
    assert "own head" in tab_page(run, space, "probes")
    assert "Figures of the embedding" in tab_page(run, space, "diagnostics")
    assert "mscon audit " in tab_page(run, space, "audit")
    for name in ("recipe.toml", "labels.json"):
        (tmp_path / name).write_bytes((run.folder / name).read_bytes())
    fresh = Run.open(tmp_path)
    for name in ("probes", "diagnostics"):
        page = tab_page(fresh, space, name)
        assert "The run has not been evaluated yet." in page
        assert f"mscon evaluate {tmp_path}" in page
    assert "no curves to show" in tab_page(fresh, space, "training")
    (tmp_path / "evaluation.json").write_text("[]")
    assert "not an evaluation" in tab_page(fresh, space, "probes")
    with pytest.raises(KeyError):
        tab_page(run, space, "../recipe.toml")
