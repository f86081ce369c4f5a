"""A fair queue for slow requests, with a few worker threads. It does not import Gradio.

The threads take requests by round robin over the visitors, not over requests: a visitor with fifty requests does not
delay a visitor with one.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from segcore.errors import Cancelled, SegcoreError

LONGEST = 64  # waiting requests; further ones are refused
AT_ONCE = 2
ASIDE = 2  # additional requests that may run while as many have lent their turns
FIRST_GUESS = 1.0  # seconds: the assumed time of a run before one was measured
_LATEST = 0.2  # weight of the newest run in the moving average


class BusyError(SegcoreError):
    """The queue is full. The message says when to try again."""


@dataclass(eq=False)
class Ticket:
    """A request in the queue. `future` gets its result, or its exception."""

    visitor: Hashable
    kind: Hashable
    work: Callable[[], Any] = field(repr=False)
    has_left: Callable[[], bool] = field(repr=False)
    size: float = 1.0  # its duration as a multiple of the unit of its kind
    future: Future = field(default_factory=Future, repr=False)
    started: float = math.nan  # until it runs
    cancelled: bool = False

    def given_up(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self.cancelled or self.has_left()


@dataclass(frozen=True)
class Place:
    """A place in the queue. ahead: requests before this one, running ones included. seconds: estimated waiting time."""

    ahead: int
    seconds: float


def never() -> bool:
    """Return False: the default for callers who never leave."""
    return False


class Turns:
    """The queue and its worker threads. All methods are thread-safe.

    at_once: requests that run at the same time. longest: requests that may wait. clock: seconds, for tests.
    """

    def __init__(
        self, at_once: int = AT_ONCE, longest: int = LONGEST, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.at_once = at_once
        self.longest = longest
        self._clock = clock
        self._changed = threading.Condition()
        # By visitor, in the order of their turns. A visitor who is served moves to the end.
        self._waiting: OrderedDict[Hashable, deque[Ticket]] = OrderedDict()
        self._running: list[Ticket] = []
        self._aside: list[Ticket] = []  # running tickets that have lent their turns
        self._returning = 0  # number of these that wait to get their turns back
        self._own = threading.local()  # the ticket of each worker thread
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
        """Put `work` into the queue. A worker thread runs it, in the caller's context.

        kind: requests of the same kind take similar times. size: the request takes `size` times as long as a unit of
        its kind, such as a number of images. has_left: is called before the work starts, and cancels it if true.
        always: never refuse it; for callers who submit one request after the other, such as an evaluation.

        Raises BusyError if the queue is full. If one visitor holds most of a full queue, their newest request is
        removed and ends with BusyError, to make room for a visitor with fewer requests.
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
        """Return the ticket's place in the queue, None if it is running or finished."""
        with self._changed:
            self._drop_those_who_left()
            order = self._order()
            if ticket not in order:
                return None
            ahead = order[: order.index(ticket)]
            return Place(len(ahead) + len(self._running), self._expected(ahead))

    def cancel(self, ticket: Ticket) -> None:
        """Cancel a request. Work that is running continues until its end, or until it checks `given_up`."""
        with self._changed:
            ticket.cancelled = True
            if not self._remove(ticket):
                return
        ticket.future.set_exception(Cancelled("this request was given up"))

    @contextmanager
    def aside(self) -> Iterator[Callable[[], bool]]:
        """Lend the calling thread's turn to the next request while another process does the work.

        At the end of the block the thread waits until it gets a turn back. Yields a function that says whether nobody
        waits for the result any more. In a thread without a turn, nothing is lent.
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
        """Whether more than one request is running or waiting."""
        with self._changed:
            return self._count() + len(self._running) > 1

    # ---- the queue; callers of these methods hold the lock

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _under_way(self) -> int:
        return len(self._running) - len(self._aside)

    def _order(self) -> list[Ticket]:
        """Return the waiting tickets in the order of their turns."""
        rounds = itertools.zip_longest(*self._waiting.values())
        return [ticket for each in rounds for ticket in each if ticket is not None]

    def _remove(self, ticket: Ticket) -> bool:
        """Remove a ticket from the queue. Returns whether it was there."""
        own = self._waiting.get(ticket.visitor)
        if own is None or ticket not in own:
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
        greediest: deque[Ticket] = max(self._waiting.values(), key=len, default=deque())
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
        """Return the estimated seconds until these and the running requests are done."""
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
            del ticket, outcome, error  # an idle thread must not keep the last photograph alive

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
    # ZeroGPU reads from the context which visitor a GPU is for.
    context = contextvars.copy_context()
    return lambda: context.run(work)


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # passed to the waiting caller; the thread continues
        return None, error


def in_words(seconds: float) -> str:
    """Format an estimated time: "about 3 seconds", "about 2 minutes"."""
    if seconds < 90:
        count, unit = max(1, round(seconds)), "second"
    else:
        count, unit = round(seconds / 60), "minute"
    return f"about {count} {unit}{'' if count == 1 else 's'}"
