"""Answers the browser: the page, and what its scripts ask for."""

import ipaddress
import logging
import os
import secrets
import socket
import webbrowser
from asyncio import CancelledError, Transport
from collections.abc import Callable
from threading import Lock, Timer

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from mscon.data.labels import learned_kinds
from mscon.errors import UserError
from mscon.explore.guard import FRAMED, Guard
from mscon.explore.maps import Maps, Working
from mscon.explore.pictures import MOST_BYTES, TOO_LARGE, item_picture
from mscon.explore.points import points
from mscon.explore.state import suggested
from mscon.explore.tabs import audit_page, tab_page
from mscon.run import Run
from mscon.search import SHARED, Collection

PORT, TRIED = 7860, 20
"""The first port that is tried where none is asked for, and how many."""

SUGGESTED = 12
"""Ids for somebody who types."""

DARK = "#16181b"
"""The report's paper in the dark."""

PATIENCE = 15
"""Seconds in which a connection's first request must have come whole, but for its body: each holds a file open, and of
those there are few.
"""

KEPT_FOR = 3600
"""Seconds that a browser keeps an item's picture; with every start the pictures have other addresses."""


def serve(
    run: Run,
    collection: Collection,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Show a run until Ctrl-C.

    **Arguments:**

    - `run`, `collection`: whose items, and where to search.
    - `host`: the address to listen at. One that others can reach is told of with a warning, and answers only those who
      bring the token that is part of the address that is printed.
    - `port`: left out, the first free one from 7860 on; 0 for any.
    - `open_browser`: whether to open the page.
    - `say`: prints a line.

    **Raises:** `UserError` for a collection without items, and an address or a port that cannot be listened at.
    """
    import uvicorn

    ids = collection.ids
    if not ids:
        raise UserError(f"{collection.source} holds no items: there is nothing to look at")
    listening, local = _listen(host, port), _is_local(host)
    token = None if local else secrets.token_urlsafe(24)
    names = {"127.0.0.1", "localhost", "[::1]", host, f"[{host}]"} if local else None
    maps = Maps(collection, run.kept / "maps", ids)
    app = Guard(make_app(run, collection, maps), names, token, MOST_BYTES, TOO_LARGE)
    address = _address(host, listening.getsockname()[1], token)
    if not local:
        say(
            "warning: whoever can reach this machine and knows the address can see the catalog's pictures and labels;"
            " what is sent is not encrypted"
        )
    say(f"looking at {run.folder}: {address}")
    say("Ctrl-C ends it")
    if open_browser:
        Timer(0.5, webbrowser.open, [address]).start()
    logging.getLogger("uvicorn.error").addFilter(_is_fault)
    settings = uvicorn.Config(
        app, http=_Prompt, ws="none", log_level="error", access_log=False, timeout_graceful_shutdown=1
    )
    try:
        uvicorn.Server(settings).run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # uvicorn has closed what was open by then
    finally:
        maps.close()
        listening.close()


def make_app(run: Run, collection: Collection, maps: Maps) -> FastAPI:
    """What answers, without the guard that it needs before it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    import gradio as gr
    from gradio.themes import Base

    from mscon.explore.page import ASSETS, Explored, page_of

    key = secrets.token_urlsafe(6)
    names = [*collection.similarities, *([SHARED] if SHARED in collection.blocks_of([]) else [])]
    explored = Explored(run, collection, maps.ids, names, maps, f"pictures/{key}")
    drawing = Lock()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/ids")
    def ids(like: str = "") -> JSONResponse:
        return JSONResponse(suggested(maps.ids, like, count=SUGGESTED))

    @app.get("/pictures/{start}/{row}")
    def picture(start: str, row: int) -> Response:
        try:
            data = item_picture(collection, row)
        except KeyError:
            return Response("There is no such item.", 404)
        return Response(data, media_type="image/jpeg", headers={"cache-control": f"private, max-age={KEPT_FOR}"})

    @app.get("/maps")
    def a_map(space: str, label: str = "") -> JSONResponse:
        if space not in names:
            return JSONResponse({"error": "There is no such similarity."}, 404)
        try:
            found = maps.get(space)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 500)
        if isinstance(found, Working):
            return JSONResponse({"told": _progress(found)}, 202)
        kind = learned_kinds(run.labels).get(label)
        told = _caption(len(found.rows), len(maps.ids))
        return JSONResponse({"told": told, **points(collection, found, label or None, kind)})

    @app.get("/tabs/audit.html")
    def audit() -> Response:
        path = audit_page(run)
        if path is None:
            return Response("There is no such page.", 404)
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": FRAMED})

    @app.get("/tabs/{name}")
    def tab(name: str) -> Response:
        try:
            with drawing:  # matplotlib's settings are those of the whole process
                page = tab_page(run, collection, name)
        except KeyError:
            return Response("There is no such page.", 404)
        return HTMLResponse(page, headers={"content-security-policy": FRAMED})

    @app.post("/uploads")
    async def upload(request: Request) -> JSONResponse:
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MOST_BYTES:
                return JSONResponse({"error": TOO_LARGE}, 413)
        try:
            # Decoding takes up to seconds, in which the page goes on answering.
            return JSONResponse({"key": await run_in_threadpool(explored.uploads.add, bytes(data))})
        except UserError as error:
            return JSONResponse({"error": str(error)}, 415)

    return gr.mount_gradio_app(
        app,
        page_of(explored),
        path="/",
        theme=Base(primary_hue="blue", neutral_hue="zinc", font=["system-ui"], font_mono=["monospace"]).set(
            body_background_fill_dark=DARK, background_fill_primary_dark=DARK
        ),
        head=f"<style>{(ASSETS / 'page.css').read_text(encoding='utf-8')}</style>",  # Gradio's own `css` changes rules
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
    )


class _Prompt(H11Protocol):
    """Closes a connection that was opened and asks for nothing, which uvicorn would keep for ever."""

    def connection_made(self, transport: Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.loop.call_later(PATIENCE, self._close_silent)

    def _close_silent(self) -> None:
        if self.cycle is None:  # pyright: ignore[reportUnnecessaryComparison]
            self.transport.close()


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether something is wrong: that Ctrl-C ends what is being drawn is not, nor that Gradio answers a question for
    nobody's events with an error when it has begun to answer.
    """
    error = record.exc_info[1] if record.exc_info else None
    begun = isinstance(error, RuntimeError) and "response already started" in str(error)
    return not isinstance(error, CancelledError) and not begun and "graceful shutdown" not in str(record.msg)


def _progress(found: Working) -> str:
    if not found.steps:
        return f"UMAP is getting ready … {found.seconds:.0f} s"
    return f"UMAP lays the items out: step {found.done:,} of {found.steps:,} … {found.seconds:.0f} s"


def _caption(shown: int, there: int) -> str:
    items = f"{shown:,} of {there:,} items, drawn at random" if shown < there else f"{shown:,} items"
    return f"{items}, by UMAP. A click asks for an item; so do the arrow keys and Enter."


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried, reason = range(PORT, PORT + TRIED) if port is None else [port], None
    for each in tried:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, each))
            listening.listen()  # here, so that of two that bind it one is told
            return listening
        except (OSError, OverflowError) as error:
            listening.close()
            reason = error
    asked = f"ports {PORT} to {PORT + TRIED - 1}" if port is None else f"port {port}"
    raise UserError(f"{host}, {asked}: cannot be listened at ({reason}). Choose others with --host and --port")


def _is_local(host: str) -> bool:
    """Whether nobody else can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(host: str, port: int, token: str | None) -> str:
    named = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{named}:{port}/" + (f"?token={token}" if token else "")
