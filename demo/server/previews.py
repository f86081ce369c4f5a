"""Previews: small copies of uploaded photographs, so that browsers need not download large uploads again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.decoding import DECODERS
from demo.server.gradio_internals import is_upload
from demo.waiting.turns import never
from segcore.errors import SegcoreError
from segcore.imaging import reading

PREVIEW_SIDE = 640
LONGEST = 16  # maximum number of photographs that wait for their previews
KEPT_SECONDS = 60.0


class _File(NamedTuple):
    """A file and its state. A replaced file under the same path is a different value."""

    path: Path
    number: int
    changed: int
    size: int


@dataclass(eq=False)
class _Copy:
    """A preview that is finished or being made. asking: the number of requests that wait for it."""

    task: asyncio.Task[bytes | None] = field(init=False)
    asking: int = 0

    def given_up(self) -> bool:
        return not self.asking


class Previews:
    """ASGI middleware that answers requests of browsers for images in the upload folder with previews.

    Links and programs get the file itself. One preview is made at a time, and kept for a minute. A preview is given up
    if all clients that requested it have disconnected. If too many previews wait, new requests are refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._one_at_a_time = asyncio.Lock()  # limits memory to one decoded photograph
        self._copies: dict[_File, _Copy] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = _asked_for(scope)
        if file is None:
            await self._app(scope, receive, send)
            return
        waiting = sum(not copy.task.done() for copy in self._copies.values())
        if file not in self._copies and waiting >= LONGEST:
            busy = PlainTextResponse("Too many photographs are being opened. Try again later.\n", 503)
            await busy(scope, receive, send)
            return
        request = await receive()
        jpeg = await self._until_gone(file, receive)
        answer = partial(self._app, scope, _again(request, receive), send)
        await (answer() if jpeg is None else Response(jpeg, media_type="image/jpeg")(scope, receive, send))

    async def _until_gone(self, file: _File, receive: Receive) -> bytes | None:
        """Return the preview; None if there is none, or if the client has disconnected."""
        copy = self._copies.get(file) or self._begin(file)
        copy.asking += 1
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((copy.task, gone), return_when=asyncio.FIRST_COMPLETED)
            return copy.task.result() if copy.task.done() else None
        finally:
            gone.cancel()
            copy.asking -= 1
            if copy.given_up() and not copy.task.done():
                self._forget(file, copy)  # a new request starts a new task; the old one ends by itself

    def _begin(self, file: _File) -> _Copy:
        copy = self._copies[file] = _Copy()
        copy.task = asyncio.create_task(self._made(file, copy))
        return copy

    async def _made(self, file: _File, copy: _Copy) -> bytes | None:
        async with self._one_at_a_time:
            jpeg = None if copy.given_up() else await run_in_threadpool(small_copy, file.path, copy.given_up)
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget, file, copy)
        return jpeg

    def _forget(self, file: _File, copy: _Copy) -> None:
        if self._copies.get(file) is copy:
            del self._copies[file]


def _asked_for(scope: Scope) -> _File | None:
    """Return the upload that a browser requests for an <img>. Only then its Accept header begins with "image/"."""
    if scope["type"] != "http" or not Headers(scope=scope).get("accept", "").startswith("image/"):
        return None
    path = scope["path"].partition("/file=")[2]
    try:
        if not path or not is_upload(path):
            return None
        status = os.stat(path)
    except (OSError, ValueError):  # the file is missing, or the path is invalid
        return None
    return _File(Path(path), status.st_ino, status.st_mtime_ns, status.st_size)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` function that returns `message` first."""
    messages = [message]

    async def received() -> Message:
        return messages.pop() if messages else await receive()

    return received


def small_copy(path: Path, given_up: Callable[[], bool] = never) -> bytes | None:
    """Make an upright JPEG with the longer side PREVIEW_SIDE; None for a smaller photograph and for other files."""
    try:
        return DECODERS.small_copy(path, PREVIEW_SIDE, max_pixels=reading.MAX_PIXELS, given_up=given_up)
    except SegcoreError:
        return None
