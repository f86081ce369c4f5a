"""Keeps the session of each visitor, and deletes it a fixed time after the visitor's last request."""

from __future__ import annotations

import time
from collections.abc import Callable

import gradio as gr

from demo.server.gradio_internals import EventLine, Session, StateHolder, hold_sessions
from demo.server.listeners import LISTENERS

LOST = "Visit lost"  # connection.js recognises the error by this title


def lost() -> gr.Error:
    """Return the error for a visitor whose session was deleted. The script connection.js then offers to continue."""
    sentence = "This page no longer has what you were looking at: it was started again, or you were away for long."
    return gr.Error(sentence, title=LOST, visible=False, print_exception=False)


class Sessions(StateHolder):
    """The sessions of all visitors.

    A session is deleted `keep_seconds` after its last request. If there are more than `most`, the least recent sessions
    are deleted, first those whose page is not open. A session with a running or waiting request is never deleted.

    Gradio itself would keep each session until `capacity` newer ones exist. For a closed session it would only delete
    the values of `gr.State`, and it takes a session for closed when a phone's sleep ends the connection.

    clock: seconds, for tests.
    """

    def __init__(
        self, blocks: gr.Blocks, keep_seconds: float, *, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.blocks, self.keep_seconds, self.capacity = blocks, keep_seconds, most
        self._line = EventLine(blocks)
        self._clock = clock
        self._last_used: dict[str, float] = {}

    def take_over(self) -> None:
        """Replace Gradio's holder of sessions. The page must have been launched."""
        hold_sessions(self.blocks, self)
        self._line.empty_events_afterwards()

    def __getitem__(self, session_id: str) -> Session:
        with self.lock:
            if session_id not in self.session_data:
                self.session_data[session_id] = Session(self.blocks)
            self.session_data.move_to_end(session_id)
            self._last_used[session_id] = self._clock()
            session: Session = self.session_data[session_id]  # type: ignore[assignment]
        for each in self._too_many():
            self.forget(each)
        return session

    def _too_many(self) -> list[str]:
        """Return the sessions to delete if there are too many, the least recent first.

        A session whose page is open is never deleted to make room for one without an open page, such as a forged one.
        """
        everyone = list(self.session_data)
        if len(everyone) <= self.capacity:
            return []
        busy, opened = self._line.busy_sessions(), set(filter(LISTENERS.is_open, everyone))
        idle = [each for each in everyone[:-1] if each not in busy]
        closed_that_go = [each for each in idle if each not in opened][: len(everyone) - self.capacity]
        opened_that_go = [each for each in idle if each in opened][: max(0, len(opened) - self.capacity)]
        return closed_that_go + opened_that_go

    def delete_all_expired_state(self) -> None:
        """Delete sessions that are due. Gradio calls this once a second."""
        busy, now = self._line.busy_sessions(), self._clock()
        for session_id, used in list(self._last_used.items()):
            if session_id in busy:
                self._last_used[session_id] = now
            elif now - used > self.keep_seconds:
                self.forget(session_id)

    def forget(self, session_id: str) -> None:
        """Delete everything about a session, including messages that the browser has not fetched."""
        self.forget_state(session_id)
        self._line.forget(session_id)

    def forget_state(self, session_id: str) -> None:
        """Delete a session's state, but not its unread messages."""
        with self.lock:
            self.session_data.pop(session_id, None)
            self._last_used.pop(session_id, None)
