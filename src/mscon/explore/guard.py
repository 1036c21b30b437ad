"""What stands between a browser and the page: who may ask, for which addresses, with how many bytes, and what a page of
ours may do.

Gradio answers many more addresses than the page needs, among them such that read files, fetch from the network or take
uploads: none of these is let through.
"""

import secrets
from collections.abc import Collection as Names
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = "/"
OURS = ("/ids", "/maps", "/pictures/", "/tabs/")
UPLOADS = "/uploads"
GRADIOS = {
    "GET": (
        *("/config", "/theme.css", "/favicon.ico", "/manifest.json", "/assets/", "/static/"),
        *("/gradio_api/info", "/gradio_api/app_id", "/gradio_api/startup-events", "/gradio_api/heartbeat/"),
        *("/gradio_api/queue/data", "/gradio_api/theme.css"),
    ),
    "POST": ("/gradio_api/run/predict", "/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"),
}
"""Addresses that Gradio's page needs; one that ends in / stands for all below it."""

MOST_WORDS = 1_000_000
"""Bytes of a request that is no picture."""

FRAMED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox allow-same-origin"
"""Of a page of the run's files: it shows what it holds, and no script of it runs."""


@dataclass(frozen=True, eq=False)
class Guard:
    """Lets through what the page needs, and nothing else.

    - `app`: what answers.
    - `hosts`: names under which it may be asked, so that no other site can take it for its own; None for all.
    - `token`: what the first address must carry as `?token=…`, and a cookie from then on; None for none.
    - `most`: bytes of an uploaded picture. `too_large`: what is said of more.
    """

    app: ASGIApp
    hosts: Names[str] | None
    token: str | None
    most: int
    too_large: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        refused = self._refusal(scope)
        if refused is not None:
            return await refused(scope, receive, send)
        most = self.most if scope["path"] == UPLOADS else MOST_WORDS
        length = _length(scope)
        if length is None:
            return await PlainTextResponse("How many bytes will come?", 411)(scope, receive, send)
        if length > most:
            return await JSONResponse({"error": self.too_large}, 413)(scope, receive, send)
        nonce = secrets.token_urlsafe(16)
        if scope["path"] == PAGE:  # as it is, for scripts to be marked in it
            kept = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            return await self.app({**scope, "headers": kept}, receive, _Marked(send, nonce))
        return await self.app(scope, receive, _closed(send, _policy(nonce)))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self.hosts is not None and _name(headers.get("host", "")) not in self.hosts:
            return PlainTextResponse("This page has another address: see what mscon explore printed.", 403)
        if headers.get("sec-fetch-site") == "cross-site" and path != PAGE:
            return PlainTextResponse("Another site may not ask for this.", 403)
        if not _known(scope["method"], path):
            return PlainTextResponse("There is no such page.", 404)
        return self._stranger(scope, headers) if self.token is not None else None

    def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """What to say to somebody without the token; to somebody who brings it, that it need not be shown again."""
        assert self.token is not None
        cookie = f"mscon-{(scope.get('server') or ('', 0))[1]}"  # cookies do not know of ports
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if secrets.compare_digest(shown.encode(), self.token.encode()):
            answer = RedirectResponse(PAGE, 303)
            answer.set_cookie(cookie, self.token, httponly=True, samesite="strict")
            return answer
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(cookie)
        except CookieError:
            kept = None
        if kept is not None and secrets.compare_digest(kept.value.encode(), self.token.encode()):
            return None
        return PlainTextResponse("Open the whole address that mscon explore printed, with its ?token=…", 401)


@dataclass(eq=False)
class _Marked:
    """Sends Gradio's page with a mark on each of its scripts, so that no other runs."""

    send: Send
    nonce: str
    start: Message | None = None
    body: bytes = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.start is None:
            return
        marked = self.body.replace(b"<script", f'<script nonce="{self.nonce}"'.encode())
        headers = MutableHeaders(scope=self.start)
        headers["content-length"] = str(len(marked))
        send = _closed(self.send, _policy(self.nonce))
        await send(self.start)
        await send({"type": "http.response.body", "body": marked})


def _policy(nonce: str) -> str:
    """What the page may do: nothing beyond this server. Gradio compiles its templates, which takes 'unsafe-eval'."""
    return (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:;"
        f" script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
    )


def _closed(send: Send, policy: str) -> Send:
    """Adds the headers that keep a page to itself, where it has none of its own."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", policy)
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "no-referrer")
        await send(message)

    return sending


def _known(method: str, path: str) -> bool:
    if method == "POST":
        return path == UPLOADS or _among(path, GRADIOS["POST"])
    return method in ("GET", "HEAD") and (path == PAGE or _among(path, (*OURS, *GRADIOS["GET"])))


def _among(path: str, addresses: Names[str]) -> bool:
    return any(path.startswith(each) if each.endswith("/") else path.rstrip("/") == each for each in addresses)


def _length(scope: Scope) -> int | None:
    """Bytes that come with the request; None where that is not told, as of one that comes in chunks."""
    headers = Headers(scope=scope)
    told = headers.get("content-length", "" if scope["method"] == "POST" else "0")
    return int(told) if told.isdecimal() and "transfer-encoding" not in headers else None


def _name(host: str) -> str:
    """Of a Host header without its port: 127.0.0.1, localhost, [::1]."""
    return host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
