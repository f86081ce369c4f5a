"""The line for the network: whose turn it is, how long it takes, who is refused, and who is dropped."""

from __future__ import annotations

import math
import threading
from functools import partial

import pytest

from demo.waiting.turns import ASIDE, BusyError, Place, Turns, in_words
from segcore.errors import Cancelled, UsageError
from tests.helpers.busy_queue import Counter


class Clock:
    """Goes on only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


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
    both = threading.Barrier(2, timeout=60)
    turns = Turns(2)
    tickets = [turns.submit(visitor, both.wait) for visitor in ("a", "b")]
    assert sorted(ticket.future.result(10) for ticket in tickets) == [0, 1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 1 second"), (3.2, "about 3 seconds"), (89, "about 89 seconds"), (150, "about 2 minutes")],
)
def test_in_words(seconds, words):
    assert in_words(seconds) == words
