"""Wraps the private parts of Gradio that the page uses, and checks that the installed version has them.

Gradio may rename them in any release, so no other module of the page uses them.
"""

from __future__ import annotations

import asyncio
import dis
import importlib.metadata
import inspect
import math
from collections.abc import Callable
from copy import copy
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import gradio as gr

from segcore.errors import SegcoreError

EXPECTED = "gradio~=6.31.0"  # as in requirements.txt


class IncompatibleGradioError(SegcoreError):
    """The installed Gradio lacks something that the page uses. The message says what, and what to install."""

    def __init__(self, missing: str) -> None:
        installed = importlib.metadata.version("gradio")
        super().__init__(f"this page needs {EXPECTED}: {missing} is gone in gradio {installed}; install {EXPECTED!r}")


try:
    from gradio.block_function import BlockFunction
    from gradio.blocks import Block
    from gradio.context import LocalContext
    from gradio.queueing import Event, EventQueue, Queue
    from gradio.routes import App
    from gradio.state_holder import SessionState, StateHolder
    from gradio.utils import LRUCache, get_upload_folder, is_in_or_equal
except ImportError as error:
    raise IncompatibleGradioError(f"an import ({str(error).partition(' (')[0]})") from error

_USED_NAMES: dict[type, str] = {  # attributes and methods, by the class that defines or sets them
    App: "state_holder",
    Block: "_id keep_in_cache stateful",
    BlockFunction: "fn inputs outputs targets",
    gr.Blocks: "_queue api_open app blocks default_config get_config_file postprocess_data preprocess_data process_api "
    "temp_file_sets",
    gr.EventData: "_data",
    Event: "_id alive concurrency_id data enqueue_time request session_hash",
    EventQueue: "queue",
    LRUCache: "max_size",
    LocalContext: "blocks event_id",
    Queue: "event_ids_to_events event_queue_per_concurrency_id get_events pending_event_ids_session "
    "pending_messages_per_session process_events progress_update_sleep_when_free sleep_when_free",
    SessionState: "STATE_TTL_WHEN_CLOSED _state_ttl _update_config _update_value_in_config blocks_config config_values "
    "is_closed state_data",
    StateHolder: "__getitem__ capacity delete_all_expired_state lock session_data state_holder",
}
_USED_PARAMETERS: dict[tuple[type, str], str] = {  # of methods
    (gr.Blocks, "launch"): "_frontend app_kwargs",
    (gr.Blocks, "preprocess_data"): "block_fn inputs state",
    (gr.Blocks, "postprocess_data"): "block_fn predictions state",
    (gr.Blocks, "process_api"): "block_fn event_data request",
    (Queue, "process_events"): "events",
}


def check() -> None:
    """Raise IncompatibleGradioError if Gradio lacks something that this module uses."""
    for kind, names in _USED_NAMES.items():
        for name in names.split():
            if not hasattr(kind, name) and not _sets(kind, name):
                raise IncompatibleGradioError(f"{kind.__module__}.{kind.__name__}.{name}")
    for (kind, method), parameters in _USED_PARAMETERS.items():
        for name in parameters.split():
            if name not in inspect.signature(getattr(kind, method)).parameters:
                raise IncompatibleGradioError(f"the parameter {name} of {kind.__module__}.{kind.__name__}.{method}")


def _sets(kind: type, name: str) -> bool:
    """Whether a method of a class sets an attribute of that name."""
    methods = (each for base in kind.__mro__ for each in vars(base).values() if isinstance(each, FunctionType))
    codes = (inspect.unwrap(each).__code__ for each in methods)
    return any(
        each.opname == "STORE_ATTR" and each.argval == name
        for code in codes
        if name in code.co_names
        for each in dis.get_instructions(code)
    )


# An option of `launch`. Without it, Gradio fails if its own page takes longer than 3 seconds, as on a busy machine.
DO_NOT_ASK_OWN_PAGE: dict[str, Any] = {"_frontend": False}


def upload_folder() -> Path:
    """Return Gradio's folder for uploads."""
    return Path(get_upload_folder())


def is_upload(path: str | Path) -> bool:
    """Whether a path is in the folder for uploads. Raises ValueError or OSError for an invalid path."""
    return is_in_or_equal(str(path), get_upload_folder())


def own_files(blocks: gr.Blocks) -> set[Path]:
    """Return the page's own images, which Gradio copies into the folder for uploads."""
    return {Path(path) for block in blocks.blocks.values() for path in getattr(block, "keep_in_cache", ())}


def sets_of_file_names(blocks: gr.Blocks) -> list[set[str]]:
    """Return Gradio's sets of the files that it has made."""
    return blocks.temp_file_sets


_Component = TypeVar("_Component", bound=Block)


def with_preprocess(component: _Component, preprocess: Callable[[Any], Any]) -> _Component:
    """Replace a component's `preprocess` method.

    A subclass is not used, because Gradio writes a .pyi file beside the source of each component class.
    """
    component.preprocess = preprocess  # type: ignore[attr-defined]
    return component


def current_event_id() -> str | None:
    """Return the id of the event that is being answered; None outside events."""
    return LocalContext.event_id.get(None)


def has_left() -> Callable[[], bool]:
    """Return a function that says whether the client of the current event has closed the page or disconnected."""
    queue = LocalContext.blocks.get()._queue  # type: ignore[union-attr]
    event = queue.event_ids_to_events.get(current_event_id() or "")
    return lambda: event is not None and not event.alive


def current_sessions() -> Any:
    """Return the holder of sessions of the page whose event is being answered."""
    return LocalContext.blocks.get().state_holder  # type: ignore[union-attr]


class Session(SessionState):
    """The session of one visitor, without Gradio's copies of all values that were sent to the page.

    Gradio keeps these copies for deep links, which the page does not offer.

    begun: whether the visitor has opened or continued the page in this session. Gradio makes a new session for every
    unknown session name.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        # Gradio's __init__ takes about 20 ms for these copies. A test checks that no attribute is missing here.
        self.blocks_config = copy(blocks.default_config)
        self.config_values, self.state_data, self._state_ttl = {}, {}, {}
        self.is_closed, self.STATE_TTL_WHEN_CLOSED = False, math.inf  # type: ignore[assignment]
        self.begun = False

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key, value)
        if block.stateful:
            self.state_data[key] = value
        else:
            if own := vars(block).get("preprocess"):  # an update creates a new component without it
                value.preprocess = own
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


def hold_sessions(blocks: gr.Blocks, holder: StateHolder) -> None:
    """Replace the holder of sessions of a launched page."""
    blocks.state_holder = blocks.app.state_holder = holder


class EventLine:
    """Gradio's event queue of a page, with the events' ids and the unread messages."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._queue = blocks._queue

    def look_less_often(self) -> None:
        """Poll for events 100 times per second. Gradio polls 1,000 times, even if there are no visitors."""
        self._queue.sleep_when_free = 0.01
        self._queue.progress_update_sleep_when_free = 0.1

    def put_aside_before_choosing(self, take: Callable[[], list[Event]]) -> None:
        """Hide the events that `take` returns while Gradio chooses the next event."""
        choose = self._queue.get_events

        def get_events() -> tuple[list[Event], bool, str] | None:
            aside = take()
            try:
                return choose()
            finally:
                for event in aside:
                    self._queue.event_queue_per_concurrency_id[event.concurrency_id].queue.append(event)

        self._queue.get_events = get_events  # type: ignore[method-assign]

    def take(self, is_taken: Callable[[Event], bool]) -> list[Event]:
        """Remove events from the queue. Returns them, the oldest first."""
        taken = []
        for line in self._queue.event_queue_per_concurrency_id.values():
            chosen = [event for event in line.queue if is_taken(event)]
            line.queue[:] = [event for event in line.queue if event not in chosen]
            taken += chosen
        return sorted(taken, key=lambda event: event.enqueue_time)

    def drop(self, event: Event) -> None:
        """Delete an event that was removed from the queue and will not be answered."""
        event.alive = False
        event.data = None
        self._queue.event_ids_to_events.pop(event._id, None)
        others = self._queue.pending_event_ids_session.get(event.session_hash, set())
        others.discard(event._id)
        if not others:
            self.forget(event.session_hash)

    def forget(self, session: str) -> None:
        """Delete a session's messages and its list of events."""
        self._queue.pending_messages_per_session.pop(session, None)
        self._queue.pending_event_ids_session.pop(session, None)

    def forget_if_over(self, session: str) -> None:
        """Delete a session's entry if all its answers were read or will never come. Gradio would keep it."""
        ids = self._queue.pending_event_ids_session.get(session, ())
        events = map(self._queue.event_ids_to_events.get, ids)
        messages = self._queue.pending_messages_per_session.get(session)
        if not any(event and event.alive for event in events) and (messages is None or messages.empty()):
            self.forget(session)

    def give_up(self, session: str) -> None:
        """Delete a session's messages and end its events. A stream may still refer to them."""
        self._queue.pending_messages_per_session.pop(session, None)
        self._queue.pending_event_ids_session.get(session, set()).clear()
        for event in list(self._queue.event_ids_to_events.values()):
            if event.session_hash == session:
                event.alive = False

    def keep_messages_in(self, make: Callable[[str], asyncio.Queue]) -> None:
        """Keep each session's messages in the queue that `make` returns for it. Gradio would keep all messages."""
        self._queue.pending_messages_per_session = _Messages(self._queue.pending_messages_per_session.max_size, make)

    def busy_sessions(self) -> set[str]:
        """Return the sessions with running or waiting events."""
        events = list(self._queue.event_ids_to_events.values())
        return {event.session_hash for event in events if event.alive}

    def empty_events_afterwards(self) -> None:
        """Delete the data of finished events. Gradio would keep the last ones, with file names, until new ones come."""
        process = self._queue.process_events

        async def processed(events: list[Event], *args: Any) -> None:
            try:
                await process(events, *args)
            finally:
                for event in events:
                    event.data = event.request = None  # type: ignore[assignment]

        self._queue.process_events = processed  # type: ignore[method-assign,assignment]


def names_of_streams(event: Event) -> tuple[str, str]:
    """Return the names by which a stream can request an event's answers: its session, and its id."""
    return event.session_hash, event._id


def accept_only_queued_events(blocks: gr.Blocks) -> None:
    """Refuse events of programs that bypass the queue."""
    blocks.api_open = False


class _Messages(LRUCache):
    """The unread messages of each session."""

    def __init__(self, most: int, make: Callable[[str], asyncio.Queue]) -> None:
        super().__init__(most)
        self._make = make

    def __delitem__(self, session: str) -> None:
        self.pop(session, None)  # Gradio deletes it at the end of a stream, when it may be gone already

    def __setitem__(self, session: str, messages: asyncio.Queue) -> None:
        super().__setitem__(session, self._make(session))
