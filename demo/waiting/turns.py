"""Whose turn it is: a short line for all that is long, with a fair share for each visitor; knows nothing of Gradio.

A few threads do the work. Each takes its next piece by round robin over the visitors, not over what they ask for: who
asks for fifty things waits for forty-nine of them behind who asks for one.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from segcore.errors import Cancelled, SegcoreError

LONGEST = 64  # requests that wait; what comes after them is refused
AT_ONCE = 2
ASIDE = 2  # pieces of work more that may be under way where as many have lent their turns
FIRST_GUESS = 1.0  # seconds that a run takes, until some were seen
_LATEST = 0.2  # how much the newest run counts in the mean


class BusyError(SegcoreError):
    """The line is full; the sentence says when to try again."""


@dataclass(eq=False)
class Ticket:
    """A place in the line, and in the end what came of it: `future` has the outcome, or the error that ended it."""

    visitor: Hashable
    kind: Hashable
    work: Callable[[], Any] = field(repr=False)
    has_left: Callable[[], bool] = field(repr=False)
    size: float = 1.0  # how many times as long it takes as the unit of its kind
    future: Future = field(default_factory=Future, repr=False)
    started: float | None = None
    cancelled: bool = False

    def given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.cancelled or self.has_left()


@dataclass(frozen=True)
class Place:
    """ahead: requests that come first, those under way among them; seconds: until this one's turn, roughly."""

    ahead: int
    seconds: float


def never() -> bool:
    """Return False: the default where nobody leaves or gives up."""
    return False


class Turns:
    """The line and the threads that serve it. Every method may be called from several threads.

    at_once: pieces of work under way at a time; longest: how many may wait; clock: seconds, for tests.
    """

    def __init__(
        self, at_once: int = AT_ONCE, longest: int = LONGEST, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.at_once = at_once
        self.longest = longest
        self._clock = clock
        self._changed = threading.Condition()
        # By visitor, in the order of their turns; whoever is served goes to the end.
        self._waiting: OrderedDict[Hashable, deque[Ticket]] = OrderedDict()
        self._running: list[Ticket] = []
        self._aside: list[Ticket] = []  # of those
        self._returning = 0  # of those that are aside, as many wait for their turn
        self._own = threading.local()  # the ticket that a thread works on
        self._seconds: dict[Hashable, float] = {}
        self._threads: list[threading.Thread] = []

    def submit(
        self,
        visitor: Hashable,
        work: Callable[[], Any],
        *,
        kind: Hashable = None,
        size: float = 1.0,
        has_left: Callable[[], bool] = never,
        always: bool = False,
    ) -> Ticket:
        """Put `work` into the line; it runs in one of the line's threads, in the caller's context.

        kind: what takes about as long as others of that kind; size: as many times as long, such as a number of images;
        has_left: asked before work starts, which then does not; always: never refused, for those who come one piece at
        a time, as an evaluation does.

        Raises BusyError where the line is full. Where one visitor holds most of a full line, their newest gives its
        place to a visitor who has none, and ends with that error.
        """
        ticket = Ticket(visitor, kind, _in_context_of_caller(work), has_left, size)
        with self._changed:
            self._drop_those_who_left()
            if not always and self._count() >= self.longest:
                self._make_room_for(visitor)
            self._waiting.setdefault(visitor, deque()).append(ticket)
            self._start_threads()
            self._changed.notify_all()
        return ticket

    def place(self, ticket: Ticket) -> Place | None:
        """Where it is in the line, None once it is under way or over."""
        with self._changed:
            self._drop_those_who_left()
            order = self._order()
            if ticket not in order:
                return None
            ahead = order[: order.index(ticket)]
            return Place(len(ahead) + len(self._running), self._expected(ahead))

    def cancel(self, ticket: Ticket) -> None:
        """Give its place up; what is under way goes on for nobody, to its end or until it asks `given_up`."""
        with self._changed:
            ticket.cancelled = True
            if not self._remove(ticket):
                return
        ticket.future.set_exception(Cancelled("this request was given up"))

    @contextmanager
    def aside(self) -> Iterator[Callable[[], bool]]:
        """For work of another process: the calling thread's turn is lent to who is next, and had back in the end.

        Gives what says whether anybody still waits for the outcome. Of a thread without a turn nothing is lent.
        """
        ticket = getattr(self._own, "ticket", None)
        if ticket is None:
            yield never
            return
        with self._changed:
            self._aside.append(ticket)
            self._changed.notify_all()
        try:
            yield ticket.given_up
        finally:
            with self._changed:
                self._returning += 1
                self._changed.wait_for(lambda: self._under_way() < self.at_once)
                self._returning -= 1
                self._aside.remove(ticket)
                self._changed.notify_all()

    @property
    def crowded(self) -> bool:
        """Whether more than one piece of work is under way or waiting."""
        with self._changed:
            return self._count() + len(self._running) > 1

    # ---- the line; all of these with the lock held

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _under_way(self) -> int:
        return len(self._running) - len(self._aside)

    def _order(self) -> list[Ticket]:
        """Those that wait, in the order of their turns if nobody else comes."""
        rounds = itertools.zip_longest(*self._waiting.values())
        return [ticket for each in rounds for ticket in each if ticket is not None]

    def _remove(self, ticket: Ticket) -> bool:
        """Take it out of the line; whether it was there."""
        own = self._waiting.get(ticket.visitor, ())
        if ticket not in own:
            return False
        own.remove(ticket)
        if not own:
            del self._waiting[ticket.visitor]
        return True

    def _drop_those_who_left(self) -> None:
        for ticket in self._order():
            if ticket.has_left():
                self._remove(ticket)
                ticket.future.set_exception(Cancelled("whoever asked has left"))

    def _make_room_for(self, visitor: Hashable) -> None:
        greediest = max(self._waiting.values(), key=len, default=())
        busy = self._busy()
        if len(greediest) <= len(self._waiting.get(visitor, ())) + 1:
            raise busy
        evicted = greediest[-1]
        self._remove(evicted)
        evicted.future.set_exception(busy)

    def _busy(self) -> BusyError:
        seconds = max(1, round(self._expected(self._order())))
        return BusyError(
            f"Too many visitors at the moment: {self._count()} requests are waiting. "
            f"Please try again in {in_words(seconds)}."
        )

    def _expected(self, ahead: list[Ticket]) -> float:
        """Seconds until these and those under way are done."""
        now = self._clock()
        left = [max(0.0, self._usual(each) - (now - each.started)) for each in self._running]
        return (sum(left) + sum(map(self._usual, ahead))) / self.at_once

    def _usual(self, ticket: Ticket) -> float:
        known = self._seconds.values()
        return ticket.size * self._seconds.get(ticket.kind, sum(known) / len(known) if known else FIRST_GUESS)

    # ---- the threads

    def _start_threads(self) -> None:
        while len(self._threads) < self.at_once + ASIDE:
            thread = threading.Thread(target=self._serve, name=f"turn {len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while True:
            ticket = self._own.ticket = self._next()
            outcome, error = _outcome(ticket.work)
            self._own.ticket = None
            with self._changed:
                self._running.remove(ticket)
                self._changed.notify_all()
                if error is None:
                    took = (self._clock() - ticket.started) / ticket.size
                    before = self._seconds.get(ticket.kind, took)
                    self._seconds[ticket.kind] = before + _LATEST * (took - before)
            if error is None:
                ticket.future.set_result(outcome)
            else:
                ticket.future.set_exception(error)
            del ticket, outcome, error  # or an idle thread would keep the last photograph

    def _next(self) -> Ticket:
        with self._changed:
            while True:
                self._drop_those_who_left()
                if self._waiting and self._under_way() + self._returning < self.at_once:
                    break
                self._changed.wait()
            visitor, own = next(iter(self._waiting.items()))
            ticket = own.popleft()
            if own:
                self._waiting.move_to_end(visitor)
            else:
                del self._waiting[visitor]
            ticket.started = self._clock()
            self._running.append(ticket)
            return ticket


def _in_context_of_caller(work: Callable[[], Any]) -> Callable[[], Any]:
    # Where a GPU is lent, its lender reads from the context for whom.
    context = contextvars.copy_context()
    return lambda: context.run(work)


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # told to whoever waits for it; the thread serves the next
        return None, error


def in_words(seconds: float) -> str:
    """A time that is only roughly known: "about 3 seconds", "about 2 minutes"."""
    if seconds < 90:
        count, unit = max(1, round(seconds)), "second"
    else:
        count, unit = round(seconds / 60), "minute"
    return f"about {count} {unit}{'' if count == 1 else 's'}"
