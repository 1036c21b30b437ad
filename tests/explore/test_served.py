"""The page as it is served: what a process of its own answers, and how it ends."""

import io
import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from mscon.run import Run
from mscon.search import Space
from shown_page import shown


def asked(url: str, data: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def told(url: str, data: bytes | None = None) -> Any:
    return json.loads(asked(url, data)[1])


def test_it_answers_what_its_scripts_ask(address: str, space: Space, run: Run) -> None:
    assert told(f"{address}ids?like=dejavusans/R") == [each for each in space.ids if each.startswith("DejaVuSans/R")]
    assert asked(f"{address}pictures/x/3")[1].startswith(b"\xff\xd8\xff")
    assert asked(f"{address}pictures/x/{len(space)}")[0] == 404
    assert asked(f"{address}pictures/x/-1")[0] == 404
    assert asked(f"{address}maps?space=absent")[0] == 404
    assert b"How training went" in asked(f"{address}tabs/training")[1]
    assert asked(f"{address}tabs/absent")[0] == 404
    assert asked(f"{address}tabs/audit.html")[0] == 404
    for path in ("../recipe.toml", "..%2Frecipe.toml", "%2Fetc%2Fpasswd"):
        assert asked(f"{address}tabs/{path}")[0] == 404
    key = told(f"{address}uploads", space.images_of([0])[0])["key"]
    assert len(key) > 20
    assert "it begins with b'hello'" in told(f"{address}uploads", b"hello")["error"]
    assert asked(f"{address}gradio_api/file={quote(str(run.folder))}/recipe.toml")[0] == 404


def test_connections_that_ask_for_nothing_are_closed(address: str) -> None:
    port = int(address.rstrip("/").rpartition(":")[2])
    with ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(300)]
        for each in silent[::2]:
            each.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert [each.recv(1) for each in silent] == [b""] * 300
    assert asked(f"{address}ids")[0] == 200


def test_while_a_large_picture_is_looked_at_the_page_answers(address: str) -> None:
    side = 9_000
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG", progressive=True)
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(told, f"{address}uploads", file.getvalue())
        answered = 0
        while not large.done():
            assert asked(f"{address}ids")[0] == 200
            answered += 1
    assert "key" in large.result()
    assert answered > 3


def test_a_question_for_nobodys_events_prints_nothing(run: Run, space: Space) -> None:
    pytest.importorskip("gradio", reason="the extra `explore` is not installed")
    with shown(run) as page, suppress(IncompleteRead):  # the answer breaks off, which is all that they learn
        asked(f"{page.address}gradio_api/queue/data?session_hash=nobody")
    assert page.last == ["Ctrl-C ends it", "stopped"]


def test_opened_wider_it_asks_for_its_token_and_ctrl_c_ends_it(run: Run, space: Space) -> None:
    pytest.importorskip("gradio", reason="the extra `explore` is not installed")
    with shown(run, "--host", "0.0.0.0") as page:
        port, _, token = page.address.partition("?token=")
        local = f"http://127.0.0.1:{port.rstrip('/').rpartition(':')[2]}/"
        assert asked(local)[0] == 401
        assert asked(f"{local}pictures/x/0")[0] == 401
        assert len(token) >= 32
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(f"{local}?token={token}") as answer:
            assert b"gradio" in answer.read()
    assert page.code == 0
    assert page.last[-1] == "stopped"


def test_mistakes_are_told(mscon, run: Run, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = mscon("explore", run.folder, "--index", "x.lance", "--catalog", "glyphs")
    assert code == 2
    assert "leave out --catalog" in err
    code, _, err = mscon("explore", Path("nowhere"))
    assert code == 2
    assert "nowhere is not a run" in err
    monkeypatch.setattr(sys.modules["mscon.cli.explore"], "find_spec", lambda name: None)
    code, _, err = mscon("explore", run.folder)
    assert code == 2
    assert 'pip install "mscon[explore]"' in err


def test_a_port_that_is_taken_is_told(space: Space, address: str) -> None:
    from mscon.errors import UserError
    from mscon.explore.serve import _listen

    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(UserError, match=rf"127\.0\.0\.1, port {port}: cannot be listened at .* --port"):
        _listen("127.0.0.1", port)
    with _listen("127.0.0.1", None) as first, _listen("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]


SECRET = b"a word that the page has no business to show"


@pytest.fixture
def linked(run: Run, tmp_path: Path) -> Iterator[Path]:
    """A file beside everything, to which the run's folder has links in the places of its own files and folders."""
    secret = tmp_path / "secret.html"
    secret.write_bytes(SECRET)
    links = {"audit.html": secret, "outside": tmp_path, "inside.html": secret}
    for name, target in links.items():
        (run.folder / name).symlink_to(target)
    yield secret
    for name in links:
        (run.folder / name).unlink()


def ways(to: Path) -> list[str]:
    """How one might ask for a file by way of an address that is answered."""
    path = str(to)
    steps = ("..", "%2e%2e", "%252e%252e", "..%2f..", "..%5c..", "..\\..", "..;", "....//", "%c0%ae%c0%ae", "..%00")
    folders = (
        "",
        "tabs/",
        "assets/",
        "static/",
        "static/img/",
        "pictures/x/",
        "ids/",
        "maps/",
    )
    tails = (path, path[1:], quote(path, safe=""), quote(quote(path, safe=""), safe=""), path.replace("/", "\\"))
    found = [f"/{folder}{tail}" for folder in folders for tail in tails]
    found += [f"/{folder}{'/'.join([step] * 9)}{path}" for folder in folders for step in steps]
    found += [f"/gradio_api/{way}{tail}" for way in ("file=", "file/", "proxy=file://", "stream/") for tail in tails]
    found += [f"/{way}={path}" for way in ("file", "gradio_api/file", "tabs/training?file", "theme.css?path")]
    return [*found, f"//{path}", f"file://{path}", "/outside/secret.html", "/inside.html", "/tabs/inside.html"]


def test_nothing_but_the_page_is_served_however_it_is_asked_for(address: str, run: Run, linked: Path) -> None:
    """As bytes on the wire: a client with manners would tidy up the paths."""
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    recipe = (run.folder / "recipe.toml").read_bytes()
    paths = [*ways(linked), *ways(run.folder / "recipe.toml"), *ways(Path("/etc/passwd")), "/tabs/audit.html"]
    odd = ["/tabs/%00", "/assets/%00", "/static/%0d%0aSet-Cookie:x", "/pictures/x/0%00", "/pictures/x/1e9"]
    asking = [("GET", path) for path in [*paths, *odd]] + [("POST", path) for path in [*paths[::10], *odd]]
    with closing(HTTPConnection(host, int(port), timeout=60)) as connection:
        for method, path in asking:
            connection.putrequest(method, path.replace(" ", "%20"), skip_accept_encoding=True)
            connection.putheader("Content-Length", "0")
            connection.endheaders()
            answer = connection.getresponse()
            if "event-stream" in answer.headers.get("Content-Type", ""):  # Gradio's: it never ends
                body = answer.read1()
                connection.close()
            else:
                body = answer.read()
            assert answer.status < 500, path
            assert SECRET not in body, path
            assert recipe not in body, path
            assert b"root:" not in body, path
            assert "Set-Cookie" not in answer.headers
    assert asked(f"{address}tabs/audit.html")[0] == 404
