"""Who is answered, and for what: no address of Gradio's that reads files, and nobody without the token."""

from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `explore` is not installed")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from mscon.explore.guard import Guard


async def answer(request: Request) -> Response:
    if request.url.path == "/":
        return HTMLResponse("<script>one</script><p></p><script src=x></script>")
    return PlainTextResponse(f"{len(await request.body())}")


APP = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD", "POST", "PUT"])])


def client(*, token: str | None = None, hosts: Any = ("127.0.0.1",), **options: Any) -> TestClient:
    guard = Guard(APP, hosts, token, 100, "too large")
    return TestClient(guard, base_url="http://127.0.0.1:7860", follow_redirects=False, **options)


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/gradio_api/proxy=http://a.b", "/monitoring"),
        *(
            "/gradio_api/upload_progress",
            "/gradio_api/openapi.json",
            "/gradio_api/runs",
            "/config.json",
            "/recipe.toml",
        ),
        *("/gradio_api/vibe-code/", "/gradio_api/call/x", "/idsx", "/gradio_api/custom_component/a/b/c/d", "/svelte/x"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    assert client().get(path).status_code == 404
    assert client().post(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/ids", "/maps?space=x", "/pictures/k/1", "/tabs/training", "/assets/a.js", "/config"]
)
def test_what_the_page_needs_is_there_to_be_read_alone(path: str) -> None:
    assert client().get(path).status_code == 200
    assert client().post(path).status_code == 404
    assert client().put(path).status_code == 404


def test_gradios_own_upload_is_not_there_and_ours_is() -> None:
    assert client().post("/gradio_api/upload", content=b"x").status_code == 404
    assert client().post("/uploads", content=b"xyz").text == "3"


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    told = client().post("/uploads", content=bytes(101))
    assert told.status_code == 413
    assert told.json() == {"error": "too large"}
    assert client().post("/gradio_api/run/predict", content=bytes(1_000_001)).status_code == 413
    assert client().post("/gradio_api/run/predict", content=bytes(1_000)).status_code == 200
    assert client().post("/uploads", content=iter([b"x"] * 200)).status_code == 411  # as many as it likes
    both = {"content-length": "5", "transfer-encoding": "chunked"}
    assert client().post("/uploads", content=iter([b"x"] * 200), headers=both).status_code == 411


def test_another_name_and_another_site_are_refused() -> None:
    assert client().get("/", headers={"host": "evil.example:7860"}).status_code == 403
    assert client().get("/", headers={"host": "127.0.0.1"}).status_code == 200
    assert client(hosts=None).get("/", headers={"host": "evil.example"}).status_code == 200
    cross = {"sec-fetch-site": "cross-site"}
    assert client().get("/", headers=cross).status_code == 200  # a link from elsewhere
    assert client().post("/uploads", headers=cross).status_code == 403
    assert client().get("/maps", headers=cross).status_code == 403


def test_only_the_pages_own_scripts_run_and_they_ask_this_server_alone() -> None:
    page = client().get("/")
    policy = page.headers["content-security-policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert page.text.count(f'<script nonce="{nonce}"') == 2 == page.text.count("<script")
    assert "default-src 'self'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert f"nonce-{nonce}" not in client().get("/").headers["content-security-policy"]
    assert client().get("/ids").headers["x-content-type-options"] == "nosniff"


def test_with_a_token_nobody_is_answered_who_does_not_bring_it() -> None:
    asking = client(token="secret", hosts=None)
    for path in ("/", "/?token=", "/?token=wrong", "/ids", "/pictures/k/1", "/assets/a.js"):
        told = asking.get(path)
        assert told.status_code == 401
        assert "?token=" in told.text
    assert asking.get("/", headers={"cookie": "mscon-7860=wrong"}).status_code == 401
    welcome = asking.get("/?token=secret")
    assert welcome.status_code == 303
    assert welcome.headers["location"] == "/"  # the token leaves the address
    assert {"HttpOnly", "SameSite=strict"} <= set(welcome.headers["set-cookie"].split("; "))
    assert asking.get("/ids").status_code == 200  # by the cookie
    assert asking.post("/uploads", content=b"x").status_code == 200
