"""The line for the network: whose turn it is, how long it takes, who is refused, and who is dropped."""

from __future__ import annotations

import asyncio
import math
import threading
from functools import partial
from unittest.mock import create_autospec

import pytest

from demo.waiting import visits
from demo.waiting.turns import ASIDE, BusyError, Place, Ticket, Turns, in_words
from demo.waiting.visits import Visit
from segcore.errors import Cancelled, UsageError


class Clock:
    """Goes on only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


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


@pytest.fixture
def counter():
    counter = Counter(longest=6)
    yield counter
    counter.open()


def test_what_is_larger_is_expected_to_take_longer():
    counter = Counter(clock=Clock())
    one, two = (counter.ask(visitor, visitor, kind="images", size=40) for visitor in ("one", "two"))
    assert (counter.turns.place(one).seconds, counter.turns.place(two).seconds) == (1, 1 + 40)
    counter.open(one, two)


def test_how_long_it_takes_is_learnt_for_each_unit_of_size():
    clock = Clock()
    turns = Turns(1, clock=clock)

    def work():
        clock.now += 20

    turns.submit("one", work, kind="images", size=10).future.result(10)
    held, begun = threading.Event(), threading.Event()
    turns.submit("one", lambda: (begun.set(), held.wait(60)), kind="images", size=1)
    assert begun.wait(60)
    assert turns.place(turns.submit("two", work, kind="images", size=5)).seconds == 2
    assert turns.place(turns.submit("three", work, kind="images")).seconds == 2 + 5 * 2
    held.set()


def test_a_turn_that_is_lent_serves_another(counter):
    """Decoding is done by another process: who waits for the network need not wait for that."""
    lent, back = threading.Event(), threading.Event()

    def work():
        with counter.turns.aside() as given_up:
            assert not given_up()
            lent.set()
            assert back.wait(10)
        counter.done.append("lender")

    lender, hurried = counter.turns.submit("lender", work), counter.ask("other", "other")
    counter.open(hurried)
    assert lent.is_set() and counter.done == ["other"] and not lender.future.done()

    held, opened = threading.Event(), threading.Event()
    last = counter.turns.submit("last", lambda: (held.set(), opened.wait(10), counter.done.append("last")))
    assert held.wait(10)
    back.set()
    with pytest.raises(TimeoutError):  # its turn is at work for another
        lender.future.result(0.2)
    opened.set()
    last.future.result(10)
    lender.future.result(10)
    assert counter.done == ["other", "last", "lender"]


def test_few_lend_their_turns_at_a_time(counter):
    back = threading.Event()

    def work():
        with counter.turns.aside():
            assert back.wait(10)

    lenders = [counter.turns.submit(number, work) for number in range(ASIDE + 2)]
    counter.open(counter.first)
    waiting = [each for each in lenders if math.isnan(each.started)]
    while len(waiting) > 1:
        waiting = [each for each in lenders if math.isnan(each.started)]
    assert counter.turns.place(waiting[0]) is not None
    back.set()
    assert [each.future.result(10) for each in lenders] == [None] * (ASIDE + 2)


def test_work_under_way_can_ask_whether_it_was_given_up(counter):
    asked, said = threading.Event(), []

    def work():
        with counter.turns.aside() as given_up:
            assert asked.wait(10)
            said.append(given_up())

    ticket = counter.turns.submit("one", work)
    counter.open(counter.first)
    while math.isnan(ticket.started):
        pass
    counter.turns.cancel(ticket)
    asked.set()
    ticket.future.result(10)
    assert said == [True]


def test_who_has_no_turn_lends_none(counter):
    with counter.turns.aside() as given_up:
        assert not given_up()


def test_visitors_take_turns_whatever_each_has_asked_for(counter):
    tickets = [counter.ask("many", f"many {number}") for number in range(4)]
    tickets += [counter.ask("one", "one"), counter.ask("two", "two")]
    assert [counter.turns.place(ticket).ahead for ticket in tickets] == [1, 4, 5, 6, 2, 3]
    counter.open(*tickets)
    assert counter.done == ["many 0", "one", "two", "many 1", "many 2", "many 3"]


def test_who_was_served_goes_to_the_end(counter):
    tickets = [counter.ask("greedy", "greedy 0"), counter.ask("greedy", "greedy 1")]
    order = []

    def asks_again():
        order.append("quick")
        tickets.append(counter.ask("quick", "quick again"))

    again = counter.turns.submit("quick", asks_again)
    counter.open(again)
    for ticket in tickets:
        ticket.future.result(10)
    assert counter.done == ["greedy 0", "greedy 1", "quick again"]


def test_one_visitor_is_answered_in_order(counter):
    tickets = [counter.ask("visitor", number) for number in range(5)]
    counter.open(*tickets)
    assert counter.done == [0, 1, 2, 3, 4]


def test_a_full_line_refuses_and_says_when_to_try_again(counter):
    for number in range(6):
        counter.ask(number, number)
    with pytest.raises(BusyError, match="6 requests are waiting. Please try again in about 7 seconds"):
        counter.ask("late", "late")


def test_a_full_line_of_one_visitor_makes_room_for_another(counter):
    tickets = [counter.ask("greedy", number) for number in range(6)]
    late = counter.ask("late", "late")
    with pytest.raises(BusyError, match="try again"):
        tickets[-1].future.result(10)
    with pytest.raises(BusyError):
        counter.ask("greedy", "more")
    counter.open(*tickets, late)
    assert counter.done == [0, "late", 1, 2, 3, 4]


def test_an_evaluation_is_never_refused(counter):
    for number in range(6):
        counter.ask(number, number)
    batch = counter.ask("evaluation", "batch", always=True)
    assert counter.turns.place(batch).ahead == 7


def test_what_is_given_up_does_not_run_and_frees_its_place(counter):
    tickets = [counter.ask(number, number) for number in range(6)]
    counter.turns.cancel(tickets[2])
    assert counter.turns.place(tickets[3]).ahead == 3
    late = counter.ask("late", "late")
    with pytest.raises(Cancelled):
        tickets[2].future.result(10)
    counter.open(*tickets, late)
    assert counter.done == [0, 1, 3, 4, 5, "late"]


def test_cancelling_what_runs_or_is_over_changes_nothing(counter):
    counter.turns.cancel(counter.first)
    counter.open(counter.first)
    counter.turns.cancel(counter.first)
    assert counter.first.future.result(10)


def test_who_has_left_is_passed_over(counter):
    gone = threading.Event()
    left, stays = counter.ask("left", "left", has_left=gone.is_set), counter.ask("stays", "stays")
    assert counter.turns.place(stays).ahead == 2
    gone.set()
    assert counter.turns.place(stays).ahead == 1
    counter.open(left, stays)
    assert counter.done == ["stays"]
    with pytest.raises(Cancelled):
        left.future.result(10)


def test_who_leaves_last_is_passed_over_when_their_turn_comes(counter):
    gone = threading.Event()
    left = counter.ask("left", "left", has_left=gone.is_set)
    gone.set()
    counter.open(left)
    assert counter.done == []


def test_expected_time_is_learnt_from_what_was_seen():
    clock = Clock()
    turns = Turns(1, clock=clock)

    def takes(seconds):
        clock.now += seconds

    turns.submit("a", partial(takes, 2.0), kind="slow").future.result(10)
    turns.submit("a", partial(takes, 0.5), kind="quick").future.result(10)
    opened, begun = threading.Event(), threading.Event()
    running = turns.submit("a", lambda: (begun.set(), opened.wait(10)), kind="slow")
    assert begun.wait(10)
    clock.now += 1.5
    first = turns.submit("b", lambda: None, kind="quick")
    second = turns.submit("c", lambda: None, kind="quick")
    assert turns.place(running) is None
    assert turns.place(first) == Place(1, 0.5)
    assert turns.place(second) == Place(2, 1.0)
    opened.set()
    second.future.result(10)
    assert turns.place(second) is None


def test_an_error_goes_to_who_asked_and_the_line_goes_on(counter):
    def fails():
        raise UsageError("no such class")

    failing = counter.turns.submit("a", fails)
    after = counter.ask("b", "after")
    counter.open(failing, after)
    with pytest.raises(UsageError, match="no such class"):
        failing.future.result(10)
    assert counter.done == ["after"]


def test_several_are_served_at_once():
    both = threading.Barrier(2, timeout=10)
    turns = Turns(2)
    tickets = [turns.submit(visitor, both.wait) for visitor in ("a", "b")]
    assert sorted(ticket.future.result(10) for ticket in tickets) == [0, 1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 1 second"), (3.2, "about 3 seconds"), (89, "about 89 seconds"), (150, "about 2 minutes")],
)
def test_in_words(seconds, words):
    assert in_words(seconds) == words


# ---------------------------------------------------------------------------------------------- one visitor's clicks


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
