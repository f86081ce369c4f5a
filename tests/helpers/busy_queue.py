"""A queue whose only server is busy until a test lets it go on."""

from __future__ import annotations

import threading

from demo.waiting.turns import Turns


class Counter:
    """One who serves, held up by a first piece of work until `open`; `done` is the order of what came after it."""

    def __init__(self, **options):
        self.turns = Turns(1, **options)
        self.done = []
        self._opened, begun = threading.Event(), threading.Event()
        self.first = self.turns.submit("first", lambda: (begun.set(), self._opened.wait(10)))
        assert begun.wait(10)

    def ask(self, visitor, name, **options):
        return self.turns.submit(visitor, lambda: self.done.append(name), **options)

    def open(self, *tickets):
        self._opened.set()
        for ticket in tickets:
            ticket.future.exception(10)
