"""Tracks the open streams of answers of browsers and programs.

An event without a listener is not started, and an answer that nobody reads is not kept.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from gradio import Blocks
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.server.gradio_internals import Event, EventLine, accept_only_queued_events, names_of_streams

JOIN_SECONDS = 15.0  # time in which a client must open the stream for the answer to its request
MOST_WITHOUT_STREAM = 64  # maximum number of requests without a stream
UNREAD_SECONDS = 60.0
UNREAD_BYTES = 32 * 2**20  # for each session; an answer with a large photograph has about 3 MB

_ANSWERS = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)/?")
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]+)/?")


class Listeners:
    """The open streams of answers, by session, or by event for programs without a session; and the open pages.

    An open page keeps a heartbeat connection.
    """

    def __init__(self) -> None:
        self._streams: Counter[str] = Counter()
        self._hearts: Counter[str] = Counter()
        self.when_silent: list[Callable[[str], None]] = []  # called with a program's event when its stream ends

    def listens(self, event: Event) -> bool:
        """Whether a stream is open for the answer to an event."""
        return any(name in self._streams for name in names_of_streams(event))

    def is_open(self, session: str) -> bool:
        """Whether the page of a session is open in some browser."""
        return session in self._hearts

    @contextmanager
    def during(self, scope: Scope) -> Iterator[None]:
        """Count a request as an open stream or heartbeat while it is answered."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        counter, name, once = self._streams, None, False
        if path.rstrip("/") == "/gradio_api/queue/data":
            name = query.get("session_hash", [None])[-1]
        elif scope["method"] == "GET" and (match := _ANSWERS.fullmatch(path)):
            name, once = match[1], True
        elif match := _HEARTBEAT.fullmatch(path):
            counter, name = self._hearts, match[1]
        if name is None:
            yield
            return
        counter[name] += 1
        try:
            yield
        finally:
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
                for tidy in self.when_silent if once else ():
                    tidy(name)


LISTENERS = Listeners()  # one for the process


class Listening:
    """ASGI middleware that updates LISTENERS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with LISTENERS.during(scope):
            await self._app(scope, receive, send)


def keep_listened(blocks: Blocks, listeners: Listeners = LISTENERS) -> None:
    """Let the page's event queue start only events with a listener, and drop answers that are not read soon.

    Programs cannot bypass the queue. Call this before the page is launched.
    """
    line = EventLine(blocks)
    accept_only_queued_events(blocks)
    line.put_aside_before_choosing(partial(_take_those_without_stream, line, listeners))
    line.keep_messages_in(lambda session: Messages(partial(line.give_up, session)))
    listeners.when_silent.append(line.forget_if_over)


def _take_those_without_stream(line: EventLine, listeners: Listeners) -> list[Event]:
    """Take the events without a listener out of the queue. Returns those whose stream may still be opened."""
    taken = line.take(lambda event: not listeners.listens(event))
    too_old = time.monotonic() - JOIN_SECONDS
    kept = [event for event in taken if event.enqueue_time > too_old][-MOST_WITHOUT_STREAM:]
    for event in taken:
        if event not in kept:
            line.drop(event)
    return kept


class Messages(asyncio.Queue):
    """The unread messages of one session. `forget` is called if they are too large or too old."""

    def __init__(self, forget: Callable[[], None]) -> None:
        super().__init__()
        self._forget = forget
        self._sizes: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def _put(self, item: Any) -> None:
        super()._put(item)
        size = weight(getattr(item, "output", None))
        self._sizes.append((time.monotonic(), size))
        self._bytes += size
        if self._bytes > UNREAD_BYTES:
            self._let_go()
        elif len(self._sizes) == 1:
            self._look_in(UNREAD_SECONDS)

    def _get(self) -> Any:
        self._bytes -= self._sizes.popleft()[1]
        return super()._get()

    def _look_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if not self._sizes:
            return
        left = self._sizes[0][0] + UNREAD_SECONDS - time.monotonic()
        if left <= 0:
            self._let_go()
        else:
            self._look_in(left)

    def _let_go(self) -> None:
        while not self.empty():
            self.get_nowait()
        self._forget()


def weight(value: Any) -> int:
    """Estimate the bytes of an event's output."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(weight, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(weight, value))
    return 8
