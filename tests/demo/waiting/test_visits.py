"""One visitor's requests in a tab: of impatient clicks the last counts, and a failed one changes nothing."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import create_autospec

import pytest

from demo.waiting import visits
from demo.waiting.turns import Place, Ticket, Turns
from demo.waiting.visits import Visit
from segcore.errors import Cancelled, UsageError


def ask(visit, counter, wanted, outcome):
    async def listen():
        places = visit.ask(counter.turns, "visitor", wanted, lambda: outcome, kind=None, has_left=lambda: False)
        return [place async for place in places]

    return listen()


def test_of_impatient_clicks_the_last_counts(counter):
    visit = Visit()

    async def clicks():
        first, second = (asyncio.create_task(ask(visit, counter, name, name.upper())) for name in "ab")
        await asyncio.sleep(0)
        assert visit.wanted == "b"
        with pytest.raises(Cancelled):
            await first
        counter.open()
        await second

    asyncio.run(clicks())
    assert (visit.shown, visit.wanted, visit.answered) == ("B", "b", "b")


def test_what_was_under_way_is_not_shown_over_something_newer(counter):
    visit = Visit()
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(10)
        return "old"

    async def listen():
        places = visit.ask(counter.turns, "visitor", "old", slow, kind=None, has_left=lambda: False)
        return [place async for place in places]

    async def clicks():
        first = asyncio.create_task(listen())
        await asyncio.sleep(0)
        counter.open()
        assert await asyncio.to_thread(begun.wait, 10)
        visit.answer(counter.turns, "new")
        go_on.set()
        with pytest.raises(Cancelled):
            await first

    asyncio.run(clicks())
    assert visit.shown == "new"


def test_a_failed_request_leaves_what_was_shown(counter):
    visit = Visit()
    counter.open()
    asyncio.run(ask(visit, counter, "first", "FIRST"))

    def fails():
        raise UsageError("not an image")

    async def listen():
        async for _ in visit.ask(counter.turns, "visitor", "bad", fails, kind=None, has_left=lambda: False):
            pass

    with pytest.raises(UsageError, match="not an image"):
        asyncio.run(listen())
    assert (visit.shown, visit.wanted) == ("FIRST", "first")


async def is_cancelled(visit, places):
    """Stop listening as a request does whose connection is lost; gives the ticket that it had."""
    listening = asyncio.create_task(anext(places))
    await asyncio.sleep(0)
    ticket = visit.ticket
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return ticket


async def closes(visit, places):
    """Stop listening after the first place in the line; gives the ticket that it had."""
    assert (await anext(places)).ahead == 1
    ticket = visit.ticket
    await places.aclose()
    return ticket


@pytest.mark.parametrize("leave", [is_cancelled, closes])
def test_who_stops_listening_gives_the_place_up_and_changes_nothing(counter, monkeypatch, leave):
    monkeypatch.setattr(visits, "SAY_AFTER", 0.01)
    visit = Visit(shown="FIRST", wanted="first", answered="first")

    async def leaves():
        places = visit.ask(counter.turns, "visitor", "a", lambda: "A", kind=None, has_left=lambda: False)
        ticket = await leave(visit, places)
        assert ticket.cancelled
        with pytest.raises(Cancelled):
            ticket.future.result(0)

    asyncio.run(leaves())
    assert (visit.shown, visit.wanted, visit.answered, visit.ticket) == ("FIRST", "first", "first", None)


def test_who_stops_listening_leaves_what_was_asked_for_since(counter, monkeypatch):
    monkeypatch.setattr(visits, "SAY_AFTER", 0.01)
    visit = Visit()

    async def clicks():
        places = visit.ask(counter.turns, "visitor", "a", lambda: "A", kind=None, has_left=lambda: False)
        await anext(places)
        newer = asyncio.create_task(ask(visit, counter, "b", "B"))
        await asyncio.sleep(0)
        await places.aclose()
        assert visit.wanted == "b" and visit.ticket
        counter.open()
        await newer

    asyncio.run(clicks())
    assert (visit.shown, visit.answered, visit.ticket) == ("B", "b", None)


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.1, 4, 10), (3.0, 1, 1)])
def test_who_waits_longer_is_told_less_often(monkeypatch, seconds, least, most):
    monkeypatch.setattr(visits, "SAY_AFTER", 0.02)
    monkeypatch.setattr(visits, "SAY_EVERY", 0.05)
    ticket = Ticket("visitor", None, work=None, has_left=None)
    turns = create_autospec(Turns, instance=True)
    turns.place.return_value = Place(5, seconds)

    async def told():
        asyncio.get_running_loop().call_later(0.5, ticket.future.set_result, None)
        return [place async for place in visits.waiting(turns, ticket)]

    assert least <= len(asyncio.run(told())) <= most
