"""Who listens: the event streams that browsers and programs hold open, and the answers that wait there to be read.

What nobody listens to is not begun, and what nobody reads is not kept.
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
from gradio.queueing import Event, Queue
from gradio.utils import LRUCache
from starlette.types import ASGIApp, Receive, Scope, Send

JOIN_SECONDS = 15.0  # in which who has asked for something must have opened a stream for the answer
MOST_WITHOUT_STREAM = 64  # requests of those whose stream is still to come
UNREAD_SECONDS = 60.0
UNREAD_BYTES = 32 * 2**20  # of one session; the answer with a large photograph has some 3 MB

_ANSWERS = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)/?")
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]+)/?")


class Listeners:
    """The sessions, and the events of programs that have none, to which a stream of answers is open; and hearts, the
    sessions whose page is open.
    """

    def __init__(self) -> None:
        self._streams: Counter[str] = Counter()
        self._hearts: Counter[str] = Counter()
        self.when_silent: list[Callable[[str], None]] = []  # called with a program's event, once it was listened to

    def listens(self, event: Event) -> bool:
        """Whether somebody waits for the answer to an event."""
        return event.session_hash in self._streams or event._id in self._streams

    def is_open(self, session: str) -> bool:
        """Whether the page of a session is open in some browser."""
        return session in self._hearts

    @contextmanager
    def during(self, scope: Scope) -> Iterator[None]:
        """Note what a request is for as long as it is answered."""
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


LISTENERS = Listeners()  # of the process


class Listening:
    """ASGI middleware that keeps LISTENERS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with LISTENERS.during(scope):
            await self._app(scope, receive, send)


def keep_listened(blocks: Blocks, listeners: Listeners = LISTENERS) -> None:
    """From now on the line of a page, which is still to be launched, begins only what somebody listens to, keeps of
    answers only what is soon read, and cannot be gone round.
    """
    queue = blocks._queue
    blocks.api_open = False
    begin = queue.get_events

    def get_events() -> tuple[list[Event], bool, str] | None:
        deaf = _take_those_without_stream(queue, listeners)
        try:
            return begin()
        finally:
            for event in deaf:
                queue.event_queue_per_concurrency_id[event.concurrency_id].queue.append(event)

    queue.get_events = get_events
    listeners.when_silent.append(partial(_tidy, queue))
    queue.pending_messages_per_session = _Unread(queue)


def _take_those_without_stream(queue: Queue, listeners: Listeners) -> list[Event]:
    """Take the events that nobody listens to out of the line; gives those that may still be listened to."""
    taken = []
    for line in queue.event_queue_per_concurrency_id.values():
        deaf = [event for event in line.queue if not listeners.listens(event)]
        line.queue[:] = [event for event in line.queue if event not in deaf]
        taken += deaf
    taken.sort(key=lambda event: event.enqueue_time)
    too_old = time.monotonic() - JOIN_SECONDS
    kept = [event for event in taken if event.enqueue_time > too_old][-MOST_WITHOUT_STREAM:]
    for event in taken:
        if event not in kept:
            _drop(queue, event)
    return kept


def _drop(queue: Queue, event: Event) -> None:
    event.alive = False
    event.data = None
    queue.event_ids_to_events.pop(event._id, None)
    others = queue.pending_event_ids_session.get(event.session_hash, set())
    others.discard(event._id)
    if not others:
        queue.pending_event_ids_session.pop(event.session_hash, None)
        queue.pending_messages_per_session.pop(event.session_hash, None)


def _tidy(queue: Queue, session: str) -> None:
    """Leave nothing of a session whose answers were all read, or will never come. Gradio leaves an entry for each."""
    events = map(queue.event_ids_to_events.get, queue.pending_event_ids_session.get(session, ()))
    messages = queue.pending_messages_per_session.get(session)
    if not any(event and event.alive for event in events) and (messages is None or messages.empty()):
        queue.pending_event_ids_session.pop(session, None)
        queue.pending_messages_per_session.pop(session, None)


class _Unread(LRUCache):
    """The messages of each session that are still to be read. Takes the place of Gradio's, which keeps all."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.pending_messages_per_session.max_size)
        self._queue = queue

    def __delitem__(self, session: str) -> None:
        self.pop(session, None)  # Gradio does so at the end of a stream, of what may be gone by then

    def __setitem__(self, session: str, messages: asyncio.Queue) -> None:
        super().__setitem__(session, Messages(lambda: self._forget(session)))

    def _forget(self, session: str) -> None:
        self.pop(session, None)
        self._queue.pending_event_ids_session.get(session, set()).clear()  # which a stream may still look at
        for event in list(self._queue.event_ids_to_events.values()):
            if event.session_hash == session:
                event.alive = False


class Messages(asyncio.Queue):
    """Messages of one session; `forget` is called where they are too many, or lie there for too long."""

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
        self._queue.clear()
        self._sizes.clear()
        self._bytes = 0
        self._forget()


def weight(value: Any) -> int:
    """The bytes of the texts in what an event gives, roughly."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(weight, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(weight, value))
    return 8
