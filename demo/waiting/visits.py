"""The state of a visitor in a tab: the shown answer and the pending request. Of several quick clicks, the last wins."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from demo.waiting.turns import Place, Ticket, Turns
from segcore.errors import Cancelled, UsageError

SAY_AFTER = 0.3  # seconds until the first message; most requests are answered earlier
# The next message comes after a third of the announced time, because each one is a Gradio event and hundreds may wait.
SAY_AGAIN = 1 / 3
SAY_EVERY = 2.0  # seconds: the shortest interval between messages
_numbers = itertools.count(1)  # global, so that request numbers are never reused


class GoneError(UsageError):
    """A visitor's photograph was deleted here. Their browser may still have it."""


@dataclass(eq=False)
class Visit:
    """The state of one visitor in one tab. It is changed in place, so all events of the visitor see the same state.

    shown: the answer that the page shows. wanted: the image that was requested last; answered: the image of `shown`.
    truth: the truth that the visitor uploaded, with the key of its photograph; reading: a mark of the last upload of
    one. newest: the number of the last request.
    """

    shown: Any = None
    wanted: Any = None
    answered: Any = None
    truth: tuple[str, Any] | None = None
    reading: Any = None
    newest: int = 0
    ticket: Ticket | None = None

    async def ask(
        self,
        turns: Turns,
        visitor: Hashable,
        wanted: Any,
        work: Callable[[], Any],
        *,
        kind: Hashable,
        has_left: Callable[[], bool],
    ) -> AsyncGenerator[Place]:
        """Run `work` when it is this visitor's turn and keep its result in `shown`. Until then, yield its place.

        It replaces the visitor's previous request, which is cancelled or not shown any more.

        Raises Cancelled if a newer request replaced it or the visitor has left, SegcoreError as `work` does, and
        BusyError. After an exception, or if the caller stops listening, the state is as before.
        """
        self.newest = number = next(_numbers)
        self.wanted = wanted
        if self.ticket:
            turns.cancel(self.ticket)
        try:
            self.ticket = ticket = turns.submit(visitor, work, kind=kind, has_left=has_left)
            async with aclosing(waiting(turns, ticket)) as places:
                async for place in places:
                    if self.newest == number:
                        yield place
            outcome = ticket.future.result()
            if self.newest != number:
                raise Cancelled("something newer was asked for")
            self.shown, self.answered = outcome, wanted
        finally:
            if self.newest == number:
                self.wanted, self.ticket = self.answered, None

    def answer(self, turns: Turns, outcome: Any) -> None:
        """Show a result that is available at once. A pending request is cancelled."""
        self.newest = next(_numbers)
        if self.ticket:
            turns.cancel(self.ticket)
        self.shown, self.wanted, self.ticket = outcome, self.answered, None


async def waiting(turns: Turns, ticket: Ticket) -> AsyncGenerator[Place]:
    """Yield a ticket's place while it waits, and end when its work ends. Closing the iterator cancels the ticket."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    ticket.future.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    pause = SAY_AFTER
    try:
        while not await is_set_within(pause, over) and (place := turns.place(ticket)):
            yield place
            pause = max(SAY_EVERY, place.seconds * SAY_AGAIN)
        await over.wait()
    finally:
        turns.cancel(ticket)


async def is_set_within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for an event, at most `seconds`. Returns whether it is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
