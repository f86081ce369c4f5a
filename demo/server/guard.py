"""Protects Gradio's server: limits requests, closes routes, and sets headers that say what browsers may do."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.failures import is_ours
from demo.settings import is_loopback

_UPLOAD = "/gradio_api/upload"
MAX_JSON_BYTES = 1024 * 1024  # of any other request: the page's own have a few thousand
_FORM_BYTES = 64 * 1024  # what a form adds to the file in it
MAX_SESSION = 64  # characters of a session's name; Gradio's own have up to 36
_NAMED_BY_PATH = ("/gradio_api/heartbeat/", "/gradio_api/call/")
_LONG_SESSION = f"The name of a session has at most {MAX_SESSION} characters.\n"
_DRAINED = 16  # times what is allowed; a browser reads the answer only when all is sent

# Routes of Gradio's that this page does not need, and that write files, start programs, ask other servers in a
# visitor's name, or call functions of components. All begin so.
CLOSED = (
    *("/gradio_api/proxy=", "/gradio_api/run-history", "/gradio_api/runs", "/gradio_api/deep_link"),
    *("/gradio_api/process_recording", "/gradio_api/component_server", "/gradio_api/stream/", "/gradio_api/dev/"),
    *("/gradio_api/custom_component/", "/gradio_api/vibe-", "/gradio_api/undo-vibe-edit", "/gradio_api/token"),
    *("/gradio_api/profiling", "/gradio_api/mcp", "/monitoring", "/login", "/logout", "/pwa_icon"),
)
_ADDRESS = re.compile(r"/gradio_api/file[=/]\s*[a-zA-Z][a-zA-Z0-9+.-]*:")  # Gradio would fetch it

# As strict as Gradio 6 bears: its pages have scripts and styles of their own inline, and it compiles templates.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
_FRAMED_BY = "'self'", "https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space"
HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class _Refused(HTTPException, MultiPartException):
    """Raised where a body is read. As the second of its bases Gradio's upload deletes at once what has come so far."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.message = sentence


class Guard:
    """ASGI middleware for the app that Gradio makes.

    uploads: the folder where Gradio puts them; max_bytes: of one uploaded file; max_seconds: in which a request's body
    must have come; hosts: the names by which the page may be called, None for any. A page on the loopback address
    answers to the loopback's names alone, since else any web site could have its visitors' browsers ask it, under a
    name that it lets lead to 127.0.0.1; and of the loopback's own pages to those of its own port. frames: origins whose
    pages may show this page in a frame, beside Hugging Face's.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        uploads: Path,
        max_bytes: int,
        max_seconds: float,
        hosts: Collection[str] | None,
        frames: Collection[str] = (),
    ) -> None:
        self.app, self.uploads = app, uploads
        self._headers = HEADERS | {"Content-Security-Policy": _policy(frames)}
        self.max_bytes, self.max_seconds, self.hosts = max_bytes, max_seconds, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        guarded = _with_headers(send, self._headers)
        if refusal := self._refusal(scope, path):
            # Whoever is still sending would see a broken connection, and not what they are told.
            with suppress(_Refused):
                await _read_to_the_end(self._limited(receive, path))
            await refusal(scope, receive, guarded)
            return
        await self.app(scope, self._limited(receive, path), guarded)

    def _refusal(self, scope: Scope, path: str) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if _is_foreign(headers) and not _opens_the_page(scope, path, headers):
            return PlainTextResponse("This page does not answer to pages of other sites. Open it by itself.\n", 403)
        if _has_long_session(scope, path):
            return PlainTextResponse(_LONG_SESSION, 400)
        if self.hosts is not None:
            for name in filter(None, (headers.get("host"), headers.get("origin"))):
                if _host(name) not in self.hosts:
                    return PlainTextResponse(
                        f"This page does not answer to the name {name[:100]!r}. Whoever runs it can allow a name: "
                        "SEGCORE_HOSTS=name.\n",
                        403,
                    )
            origin = headers.get("origin", "").lower()
            if is_loopback(_host(origin) or "") and urlsplit(origin).netloc != headers.get("host", "").lower():
                # Another program of this machine, whose pages have nothing to ask here.
                return PlainTextResponse(f"This page does not answer to pages of {origin[:100]!r}.\n", 403)
        if path.startswith(CLOSED) or _ADDRESS.match(path):
            return PlainTextResponse("This page has nothing at that address. Open its front page instead.\n", 404)
        if path == _UPLOAD and shutil.disk_usage(self.uploads).free < int(headers.get("content-length", 0)):
            return PlainTextResponse("The disk of the machine that runs this page is full. Try again later.\n", 507)
        return None

    def _limited(self, receive: Receive, path: str) -> Receive:
        """`receive`, which raises where a body is too large, too slow or cut off."""
        upload = path.startswith(_UPLOAD)
        most = self.max_bytes + _FORM_BYTES if upload else MAX_JSON_BYTES
        deadline = asyncio.get_running_loop().time() + self.max_seconds
        taken, complete = 0, False

        async def limited() -> Message:
            nonlocal taken, complete
            if complete:
                return await receive()
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        message = await receive()
                except TimeoutError:
                    raise _Refused(
                        408, f"The upload took longer than {self.max_seconds:g} seconds. Make the file smaller."
                    ) from None
                if message["type"] == "http.disconnect":
                    complete = True
                    if upload:
                        raise _Refused(400, "The upload was broken off. Please give the file again.")
                    return message
                taken += len(message.get("body", b""))
                complete = not message.get("more_body")
                if taken <= most:
                    return message
                if complete or taken > _DRAINED * most:
                    complete = True
                    raise _Refused(413, _too_large(most - _FORM_BYTES if upload else most))

        return limited


class Sense:
    """ASGI middleware, the innermost: answers requests that neither the page nor a client of it sends, which Gradio
    trips over. They would have no answer, and fill the log; now they have a line in it. What our own code raises, and
    what the system refuses, is raised on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "POST" and not scope["path"].endswith(_UPLOAD):
            try:
                body, receive = await _read_ahead(receive)
            except _Refused as refused:  # Gradio, which would answer it, lies further in
                await PlainTextResponse(refused.detail, refused.status_code)(scope, receive, send)
                return
            if _names_long_session(body):
                await PlainTextResponse(_LONG_SESSION, 400)(scope, receive, send)
                return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if isinstance(error, OSError) or _is_ours(error):
                raise
            what = f"{scope.get('method')} {scope['path']}: {type(error).__name__}: {error}"
            print(f"segcore: a request made no sense: {what[:300]!r}", file=sys.stderr)
            if not started:
                answer = PlainTextResponse("This page cannot make sense of that request.\n", 400)
                await answer(scope, receive, watched)


async def _read_ahead(receive: Receive) -> tuple[bytes, Receive]:
    """The body of a request, and what gives it once more."""
    messages = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(each.get("body", b"") for each in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again


def _names_long_session(body: bytes) -> bool:
    """The same of what asks for an event, whose session is named in its body."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(asked, dict):
        return False
    session = asked.get("session_hash")
    return isinstance(session, str) and len(session) > MAX_SESSION


async def _read_to_the_end(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


def _is_ours(error: Exception) -> bool:
    """Whether our code was asked before it was raised; the first frame is the middleware's own."""
    frames = traceback.walk_tb(error.__traceback__.tb_next)
    return any(is_ours(frame.f_code.co_filename) for frame, _ in frames)


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another site asks; of a loopback address another port is another site."""
    site, host = headers.get("sec-fetch-site", ""), _host(headers.get("host", "")) or ""
    return site == "cross-site" or (site == "same-site" and is_loopback(host))


def _opens_the_page(scope: Scope, path: str, headers: Headers) -> bool:
    """A link to the page, or a frame around it, as Hugging Face has; its pages may come from anywhere."""
    return scope["method"] == "GET" and path in ("", "/") and headers.get("sec-fetch-mode") == "navigate"


def _has_long_session(scope: Scope, path: str) -> bool:
    """Gradio keeps under its name what it has of a session; that name is the last part of a path, or in the query."""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
    if path.startswith(_NAMED_BY_PATH):
        asked.append(path.rstrip("/").rpartition("/")[2])
    return any(len(each) > MAX_SESSION for each in asked)


def _too_large(most: int) -> str:
    # The first words make Gradio answer with the status 413.
    return (
        f"This is over the maximum allowed size of {most / 2**20:g} MB. Make it smaller, or save it as JPEG, and give "
        "it again."
    )


def _policy(frames: Collection[str]) -> str:
    policy = _POLICY | {"frame-ancestors": " ".join((*_FRAMED_BY, *frames))}
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def _host(name: str) -> str | None:
    """The name in a Host or an Origin header, without scheme and port."""
    try:
        return urlsplit(name if "://" in name else f"//{name}").hostname
    except ValueError:
        return None


def _with_headers(send: Send, headers: Mapping[str, str]) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return guarded
