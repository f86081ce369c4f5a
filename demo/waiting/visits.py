"""Keeps what a visitor of a tab looks at and waits for; of several quick clicks the last one counts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from demo.waiting.turns import Place, Ticket, Turns
from segcore.errors import Cancelled, UsageError

SAY_AFTER = 0.3  # seconds; most requests are answered before
# Then when a third of the time that was said is over: each time is an event of Gradio's, and hundreds may be waiting.
SAY_AGAIN = 1 / 3
SAY_EVERY = 2.0  # seconds, not sooner
_numbers = itertools.count(1)  # of the process, so that none is ever that of an earlier request


class GoneError(UsageError):
    """A visitor's photograph is no longer here; their browser may still have it."""


@dataclass(eq=False)
class Visit:
    """One for each visitor and tab, changed in place: whichever of their clicks is answered sees what others left.

    shown: what is in view; wanted: which picture was asked for last, in the tab's own terms, and answered: that of
    `shown`; truth: what the visitor gave to compare with, behind the key of the photograph that it is of; newest: the
    number of the last request.
    """

    shown: Any = None
    wanted: Any = None
    answered: Any = None
    truth: tuple[str, Any] | None = None
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
    ) -> AsyncIterator[Place]:
        """Have `work` done when it is this visitor's turn and keep its outcome in `shown`; until then say where it is.

        Takes the place of what the visitor asked for before: that is given up, or not shown any more.

        Raises Cancelled where a newer request took its place, or the visitor has left; SegcoreError as `work` does, and
        BusyError. After an error, or where the listener has left, all is as it was.
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
        """Show what needs no waiting; a picture that is still waited for is given up."""
        self.newest = next(_numbers)
        if self.ticket:
            turns.cancel(self.ticket)
        self.shown, self.wanted, self.ticket = outcome, self.answered, None


async def waiting(turns: Turns, ticket: Ticket) -> AsyncIterator[Place]:
    """Say where a ticket is while it waits; ends with its work. Who stops listening gives the place up."""
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
    """Wait for the event that long, and say whether it has come."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
