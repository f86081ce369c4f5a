"""Protects Gradio's server: limits requests, closes routes, and sets security headers."""

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
MAX_JSON_BYTES = 1024 * 1024  # maximum body of all other requests; the page's own have a few thousand bytes
_FORM_BYTES = 64 * 1024  # a form's overhead beyond its file
MAX_SESSION = 64  # maximum characters of a session's name; Gradio's names have up to 36
_NAMED_BY_PATH = ("/gradio_api/heartbeat/", "/gradio_api/call/")
_LONG_SESSION = f"The name of a session has at most {MAX_SESSION} characters.\n"
_DRAINED = 16  # times the limit that is still read: a browser reads the answer only after it has sent everything

# Prefixes of Gradio's routes that this page does not need, and that write files, start programs, send requests to other
# servers, or call functions of components.
CLOSED = (
    *("/gradio_api/proxy=", "/gradio_api/run-history", "/gradio_api/runs", "/gradio_api/deep_link"),
    *("/gradio_api/process_recording", "/gradio_api/component_server", "/gradio_api/stream/", "/gradio_api/dev/"),
    *("/gradio_api/custom_component/", "/gradio_api/vibe-", "/gradio_api/undo-vibe-edit", "/gradio_api/token"),
    *("/gradio_api/profiling", "/gradio_api/mcp", "/monitoring", "/login", "/logout", "/pwa_icon"),
)
MCP = "/gradio_api/mcp"  # of the tools for assistants
OLD_MCP = f"{MCP}/sse", f"{MCP}/messages"  # an earlier transport of the protocol, without limits
_ADDRESS = re.compile(r"/gradio_api/file[=/]\s*[a-zA-Z][a-zA-Z0-9+.-]*:")  # Gradio would fetch it

# As strict as Gradio 6 allows: its pages have inline scripts and styles, and it compiles templates.
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
    """Raised while a body is read. For a MultiPartException, Gradio's upload deletes the partial file at once."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.message = sentence


class Guard:
    """ASGI middleware for Gradio's app.

    uploads: Gradio's folder for uploads. max_bytes: of one uploaded file. max_seconds: time limit for a request's body.
    hosts: the host names that the page answers to, None for any. A page on the loopback address answers only to the
    loopback's names. Otherwise a web site could make its own name resolve to 127.0.0.1 and send requests through its
    visitors' browsers. It also refuses other loopback origins, that is, pages on other ports. frames: origins whose
    pages may show this page in a frame, in addition to Hugging Face's. mcp: whether the tools for assistants are open.
    Their requests hold whole photographs.
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
        mcp: bool = False,
    ) -> None:
        self.app, self.uploads = app, uploads
        self._mcp = mcp
        self._closed = (*(each for each in CLOSED if each != MCP), *OLD_MCP) if mcp else CLOSED
        self._headers = HEADERS | {"Content-Security-Policy": policy(frames)}
        self.max_bytes, self.max_seconds, self.hosts = max_bytes, max_seconds, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        guarded = _with_headers(send, self._headers)
        if refusal := self._refusal(scope, path):
            # Read the body first. A client that is still sending would see a broken connection instead of the answer.
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
                # A page of another program on this machine.
                return PlainTextResponse(f"This page does not answer to pages of {origin[:100]!r}.\n", 403)
        if path.startswith(self._closed) or _ADDRESS.match(path):
            return PlainTextResponse("This page has nothing at that address. Open its front page instead.\n", 404)
        if path == _UPLOAD and shutil.disk_usage(self.uploads).free < int(headers.get("content-length", 0)):
            return PlainTextResponse("The disk of the machine that runs this page is full. Try again later.\n", 507)
        return None

    def _limited(self, receive: Receive, path: str) -> Receive:
        """Return a `receive` function that raises if the body is too large, too slow or cut off."""
        upload = path.startswith(_UPLOAD)
        holds_file = upload or (self._mcp and path.startswith(MCP))
        most = self.max_bytes + _FORM_BYTES if holds_file else MAX_JSON_BYTES
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
                    raise _Refused(413, _too_large(most - _FORM_BYTES if holds_file else most))

        return limited


class Sense:
    """The innermost ASGI middleware: answers malformed requests on which Gradio itself would raise an exception.

    Without it they would get no answer and a traceback in the log; here they get one line. Exceptions of demo and
    segcore, and OSError, are raised again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "POST" and not scope["path"].endswith(_UPLOAD):
            try:
                body, receive = await _read_ahead(receive)
            except _Refused as refused:  # Gradio's handler for it is further inside and cannot see it
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
    """Read the body of a request. Returns it, and a `receive` function that returns it again."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(each.get("body", b"") for each in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again


def _names_long_session(body: bytes) -> bool:
    """Whether the JSON body of a request names a session with a too long name."""
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
    """Whether demo or segcore are in the traceback, apart from this middleware, which is the first frame."""
    raised = error.__traceback__
    frames = traceback.walk_tb(raised.tb_next if raised else None)
    return any(is_ours(frame.f_code.co_filename) for frame, _ in frames)


def _is_foreign(headers: Headers) -> bool:
    """Whether the browser says that another site sends the request. On loopback, other ports count as other sites."""
    site, host = headers.get("sec-fetch-site", ""), _host(headers.get("host", "")) or ""
    return site == "cross-site" or (site == "same-site" and is_loopback(host))


def _opens_the_page(scope: Scope, path: str, headers: Headers) -> bool:
    """Whether a link or a frame opens the page, as on Hugging Face. Other sites may do this."""
    return scope["method"] == "GET" and path in ("", "/") and headers.get("sec-fetch-mode") == "navigate"


def _has_long_session(scope: Scope, path: str) -> bool:
    """Whether the session's name, in the query or as the last part of the path, is too long."""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
    if path.startswith(_NAMED_BY_PATH):
        asked.append(path.rstrip("/").rpartition("/")[2])
    return any(len(each) > MAX_SESSION for each in asked)


def _too_large(most: int) -> str:
    # Gradio answers with the status 413 if the message contains "maximum allowed size".
    return (
        f"This is over the maximum allowed size of {most / 2**20:g} MB. Make it smaller, or save it as JPEG, and give "
        "it again."
    )


def policy(frames: Collection[str]) -> str:
    """Return the Content-Security-Policy. frames: origins whose pages may show this page in a frame."""
    policy = _POLICY | {"frame-ancestors": " ".join((*_FRAMED_BY, *frames))}
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def _host(name: str) -> str | None:
    """Return the host name in a Host or Origin header, without scheme and port."""
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
