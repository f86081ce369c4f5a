"""Helpers for the events of all tabs: how they run, which visitor asks, and errors as sentences."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import gradio as gr

from demo.markup import tables
from demo.server.gradio_internals import current_event_id
from segcore.errors import SegcoreError, UsageError

# What may run the network waits in the engine's own line, so Gradio lets all of it in at once; of impatient clicks the
# last one counts (waiting.visits). It changes what is kept for the visitor, and then they look at that again.
NETWORK = {
    "concurrency_id": "network",
    "concurrency_limit": None,
    "trigger_mode": "multiple",
    "show_progress": "minimal",
}
# A look draws what is kept as the controls say now, and waits for nobody else. All looks of a tab are one event, of
# which one is under way and the last follows it: what is shown in the end is what was kept and said last. Its last
# input is filled in the browser: the keys of the photographs that it has, so that none is sent again.
LOOK = {
    "js": "(...inputs) => [...inputs.slice(0, -1), [...(window.segcorePhotos ?? new Map()).keys()].join(' ')]",
    "concurrency_id": "look",
    "concurrency_limit": None,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
    "api_visibility": "private",
}
LIGHT = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def spoken(outputs: int) -> Callable[[Callable], Callable]:
    """Turn segcore's errors into a notice, the last of `outputs`, and leave all other outputs as they were.

    A callback that returns None changes nothing at all.
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


def required(shown: Any) -> Any:
    """What is shown, or a sentence for who asks too early."""
    if shown is None:
        raise UsageError("There is no picture yet: choose one first.")
    return shown


def ends_on_failure(event: Any, idle: Sequence[tuple[Any, Any]], notice: gr.HTML, sentence: str) -> None:
    """Where `event` fails as no callback of ours expects, set components to what they are when nothing is under way,
    and say a sentence. In the browser alone, since what has failed may be the way to the server.
    """
    values = [*(value for _, value in idle), tables.notice(sentence, kind="error")]
    outputs = [*(component for component, _ in idle), notice]
    event.failure(None, None, outputs, js=f"() => {json.dumps(values)}", api_visibility="private")


def visitor_of(request: gr.Request) -> Hashable:
    """Who shares the network with others as one: a session, or of programs that have none all of one address."""
    return request.session_hash if has_session(request) else request.client.host


def has_session(request: gr.Request) -> bool:
    """Whether more may come from the same page or program; Gradio gives each call of others a session of its own."""
    return request.session_hash is not None and request.session_hash != current_event_id()
