"""Helpers for the events of all tabs: their options, their visitor, and their error messages."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import gradio as gr

from demo.markup import tables
from demo.server.gradio_internals import current_event_id
from segcore.errors import SegcoreError, UsageError

# Events that may run the network wait in the model pool's queue, so Gradio starts all of them at once. Of several quick
# clicks the last one wins (waiting.visits). The event changes the visitor's state, and then a LOOK event shows it.
NETWORK: dict[str, Any] = {
    "concurrency_id": "network",
    "concurrency_limit": None,
    "trigger_mode": "multiple",
    "show_progress": "minimal",
}
# A LOOK event draws the visitor's state with the current settings and does not wait for other visitors. All looks of a
# tab are one event: one runs, and the last one follows. So the page finally shows the last state and settings. The
# browser fills the last input with the keys of the photographs that it has, so that they are not sent again.
LOOK: dict[str, Any] = {
    "js": "(...inputs) => [...inputs.slice(0, -1), [...(window.segcorePhotos ?? new Map()).keys()].join(' ')]",
    "concurrency_id": "look",
    "concurrency_limit": None,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
    "api_visibility": "private",
}
LIGHT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def updated(**properties: Any) -> str:
    """Return the script of an event that updates properties of its only output.

    It takes effect at once. An answer of the server could come late, and overwrite what has changed meanwhile.
    """
    return f"() => [{json.dumps({'__type__': 'update'} | properties)}]"


def spoken(outputs: int) -> Callable[[Callable], Callable]:
    """Decorate a callback: segcore's errors become a notice in the last of its outputs; other outputs do not change.

    If the callback returns None, no output changes.
    """

    def decorate(callback: Callable) -> Callable:
        @functools.wraps(callback)
        def wrapper(*args: Any) -> tuple:
            try:
                result = callback(*args)
            except SegcoreError as error:
                return (*[gr.skip()] * (outputs - 1), tables.notice(str(error), kind="error"))
            return (gr.skip(),) * outputs if result is None else (*result, "")

        return wrapper

    return decorate


def task_of(values: Sequence[Any]) -> tuple[str, str, bool, float | None]:
    """Return the values of a tab's four task controls: mode, class, automatic, threshold."""
    mode, class_name, automatic, threshold = values
    return mode, class_name, automatic, threshold


def required(shown: Any) -> Any:
    """Return what is shown. Raises UsageError if nothing is shown yet."""
    if shown is None:
        raise UsageError("There is no picture yet: choose one first.")
    return shown


def ends_on_failure(event: Any, idle: Sequence[tuple[Any, Any]], notice: gr.HTML, sentence: str) -> None:
    """If `event` fails unexpectedly, set components to their idle values and show a message.

    This runs only in the browser, because the connection to the server may have failed.
    """
    values = json.dumps([value for _, value in idle])
    said = f"segcoreNotice({json.dumps(sentence)}, 'error')"
    outputs = [*(component for component, _ in idle), notice]
    event.failure(None, None, outputs, js=f"() => [...{values}, {said}]", api_visibility="private")


def visitor_of(request: gr.Request) -> Hashable:
    """Return the key by which a visitor shares the network: the session, or the address for programs without one."""
    return request.session_hash if has_session(request) else request.client.host


def has_session(request: gr.Request) -> bool:
    """Whether the client has a lasting session. Gradio gives each call of other programs its own session."""
    return request.session_hash is not None and request.session_hash != current_event_id()
