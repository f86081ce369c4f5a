"""What the page keeps of each visitor, as one thing: gone as a whole, a set time after their last request."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

from demo.server.listeners import LISTENERS

LOST = "Visit lost"  # the title by which connection.js knows the error


def lost() -> gr.Error:
    """What is answered where nothing is kept of a visitor whose page shows something; their browser then goes on."""
    sentence = "This page no longer has what you were looking at: it was started again, or you were away for long."
    return gr.Error(sentence, title=LOST, visible=False, print_exception=False)


class Session(SessionState):
    """The state of one visitor, without the copies that Gradio keeps of all that their page was sent.

    It keeps them for links that lead to a page in a given state, which are not offered here.

    begun: whether the visitor has opened the page, or gone on with it, in this session. Gradio makes a new one for
    whoever comes under a name that it does not know.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        # Not that of Gradio's, which spends some 20 ms on those copies; a test sees that nothing is missing.
        self.blocks_config = copy(blocks.default_config)
        self.config_values, self.state_data, self._state_ttl = {}, {}, {}
        self.is_closed, self.STATE_TTL_WHEN_CLOSED = False, math.inf
        self.begun = False

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key, value)
        if block.stateful:
            self.state_data[key] = value
        else:
            if own := vars(block).get("preprocess"):  # an update makes another component, which would not have it
                value.preprocess = own
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


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
        self._clock = clock
        self._last_used: dict[str, float] = {}

    def take_over(self) -> None:
        """From now on hold the sessions of the page, which has been launched."""
        self.blocks.state_holder = self.blocks.app.state_holder = self
        queue = self.blocks._queue
        queue.process_events = _emptied_afterwards(queue.process_events)

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
        busy, opened = self._busy(), set(filter(LISTENERS.is_open, everyone))
        idle = [each for each in everyone[:-1] if each not in busy]
        closed_that_go = [each for each in idle if each not in opened][: len(everyone) - self.capacity]
        opened_that_go = [each for each in idle if each in opened][: max(0, len(opened) - self.capacity)]
        return closed_that_go + opened_that_go

    def delete_all_expired_state(self) -> None:
        """Gradio calls this once a second."""
        busy, now = self._busy(), self._clock()
        for session_id, used in list(self._last_used.items()):
            if session_id in busy:
                self._last_used[session_id] = now
            elif now - used > self.keep_seconds:
                self.forget(session_id)

    def forget(self, session_id: str) -> None:
        """Let go of all that is kept of a visitor, what they were told and have not fetched included."""
        self.forget_state(session_id)
        self.blocks._queue.pending_messages_per_session.pop(session_id, None)
        self.blocks._queue.pending_event_ids_session.pop(session_id, None)

    def forget_state(self, session_id: str) -> None:
        """Let go of what is kept of a visitor but for what they are told now."""
        with self.lock:
            self.session_data.pop(session_id, None)
            self._last_used.pop(session_id, None)

    def _busy(self) -> set[str]:
        events = list(self.blocks._queue.event_ids_to_events.values())
        return {event.session_hash for event in events if event.alive}


def _emptied_afterwards(process_events: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Gradio's loop keeps the events that came last until others come, with the names of their files."""

    async def processed(events: list[Any], *args: Any) -> None:
        try:
            await process_events(events, *args)
        finally:
            for event in events:
                event.data = event.request = None

    return processed
