"""Keeps the state of each visitor, and deletes all of it a set time after their last request."""

from __future__ import annotations

import time
from collections.abc import Callable

import gradio as gr

from demo.server.gradio_internals import EventLine, Session, StateHolder, hold_sessions
from demo.server.listeners import LISTENERS

LOST = "Visit lost"  # the title by which connection.js knows the error


def lost() -> gr.Error:
    """What is answered where nothing is kept of a visitor whose page shows something; their browser then goes on."""
    sentence = "This page no longer has what you were looking at: it was started again, or you were away for long."
    return gr.Error(sentence, title=LOST, visible=False, print_exception=False)


class Sessions(StateHolder):
    """The sessions of all visitors. One goes `keep_seconds` after its last request, and of too many those whose page is
    not open, the least recent first; none does while something that it has asked for is under way or waits.

    Gradio would keep each until `capacity` newer ones have come, and of one that is closed only delete the values of
    `gr.State`; whether it is closed it takes from a connection that a phone's sleep ends, and nothing begins again.

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
        """From now on hold the sessions of the page, which has been launched."""
        hold_sessions(self.blocks, self)
        self._line.empty_events_afterwards()

    def __getitem__(self, session_id: str) -> Session:
        with self.lock:
            if session_id not in self.session_data:
                self.session_data[session_id] = Session(self.blocks)
            self.session_data.move_to_end(session_id)
            self._last_used[session_id] = self._clock()
            session = self.session_data[session_id]
        for each in self._too_many():
            self.forget(each)
        return session

    def _too_many(self) -> list[str]:
        """Those that go where there are too many, the least recent first. Of those whose page is open none goes for one
        that is not, as a made-up one.
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
        """Gradio calls this once a second."""
        busy, now = self._line.busy_sessions(), self._clock()
        for session_id, used in list(self._last_used.items()):
            if session_id in busy:
                self._last_used[session_id] = now
            elif now - used > self.keep_seconds:
                self.forget(session_id)

    def forget(self, session_id: str) -> None:
        """Let go of all that is kept of a visitor, what they were told and have not fetched included."""
        self.forget_state(session_id)
        self._line.forget(session_id)

    def forget_state(self, session_id: str) -> None:
        """Let go of what is kept of a visitor but for what they are told now."""
        with self.lock:
            self.session_data.pop(session_id, None)
            self._last_used.pop(session_id, None)
