"""Nothing is begun that nobody listens to, and no answer is kept that nobody reads."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.queueing import Event, EventQueue
from gradio.server_messages import ProcessCompletedMessage, ProcessStartsMessage

from demo.server import listeners
from demo.server.listeners import Listeners, Messages, keep_listened


class Line:
    """Gradio's line with events of one function; none of them is run."""

    def __init__(self):
        with gr.Blocks() as blocks:
            gr.Button().click(lambda: None)
        self.blocks, self.listeners = blocks, Listeners()
        self.queue = blocks._queue
        keep_listened(blocks, self.listeners)
        [self.fn] = blocks.fns.values()
        self.fn.concurrency_id = "one"
        self.queue.event_queue_per_concurrency_id["one"] = EventQueue("one", 1)

    def join(self, session):
        event = Event(session, self.fn, SimpleNamespace(), None)
        self.queue.event_queue_per_concurrency_id["one"].queue.append(event)
        self.queue.event_ids_to_events[event._id] = event
        self.queue.pending_event_ids_session.setdefault(event.session_hash, set()).add(event._id)
        if event.session_hash not in self.queue.pending_messages_per_session:
            self.queue.pending_messages_per_session[event.session_hash] = asyncio.Queue()
        return event

    def listening(self, path, query=""):
        scope = {"type": "http", "method": "GET", "path": "/gradio_api/" + path, "query_string": query.encode()}
        return self.listeners.during(scope)

    def next(self):
        found = self.queue.get_events()
        return found and found[0][0]

    @property
    def waiting(self):
        return self.queue.event_queue_per_concurrency_id["one"].queue


@pytest.fixture
def line():
    return Line()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["queue/data", "call/segment/{}", "call/v2/segment/{}"])
def test_what_is_listened_to_is_begun(line, path):
    first, second = line.join("first"), line.join("second")
    with line.listening(path.format(second._id), "session_hash=second"):
        assert line.next() is second
        assert line.next() is None
    assert line.waiting == [first]


def test_who_comes_before_the_stream_keeps_a_place(line):
    early, late = line.join("one"), line.join("other")
    assert line.next() is None and line.waiting == [early, late]
    with line.listening("queue/data", "session_hash=one"), line.listening("queue/data", "session_hash=other"):
        assert line.next() is early
        assert line.next() is late


def test_what_nobody_has_listened_to_is_dropped_in_time(line, monkeypatch):
    monkeypatch.setattr(listeners, "JOIN_SECONDS", 0.0)
    event = line.join("nobody")
    assert line.next() is None
    assert line.waiting == [] and not event.alive
    assert not line.queue.event_ids_to_events and not line.queue.pending_event_ids_session
    assert not line.queue.pending_messages_per_session


def test_those_without_a_stream_take_no_more_than_their_part_of_the_line(line, monkeypatch):
    monkeypatch.setattr(listeners, "MOST_WITHOUT_STREAM", 3)
    events = [line.join(f"session {number}") for number in range(5)]
    with line.listening("queue/data", "session_hash=session 0"):
        assert line.next() is events[0]
    assert line.waiting == events[2:] and not events[1].alive


def test_a_page_is_open_as_long_as_its_heartbeat(line):
    with line.listening("heartbeat/one"):
        with line.listening("heartbeat/one"):
            pass
        assert line.listeners.is_open("one")
    assert not line.listeners.is_open("one")


def test_only_the_line_starts_what_belongs_into_it(line):
    assert line.blocks.api_open is False


def test_of_what_a_program_has_read_nothing_is_left(line):
    async def asked():
        read, waits, unread = (line.join(each) for each in ("read", "waits", "unread"))
        line.queue.send_message(unread, completed(1))
        for each in (read, unread):
            del line.queue.event_ids_to_events[each._id]  # as Gradio does once it is over
        for each in (read, waits, unread):
            with line.listening(f"call/segment/{each.session_hash}"):
                pass
        assert set(line.queue.pending_messages_per_session) == {"waits", "unread"}
        assert set(line.queue.pending_event_ids_session) == {"waits", "unread"}
        waits.alive = False  # whoever asked has hung up
        with line.listening("call/segment/waits"):
            pass
        assert set(line.queue.pending_messages_per_session) == {"unread"}

    asyncio.run(asked())


def completed(size):
    return ProcessCompletedMessage(output={"data": [{"deflate": "x" * size}]}, success=True)


def test_answers_that_nobody_reads_are_not_kept(line, monkeypatch):
    monkeypatch.setattr(listeners, "UNREAD_BYTES", 1000)

    async def asked():
        event, other = line.join("one"), line.join("other")
        line.queue.send_message(other, completed(900))
        for _ in range(5):  # are read in time
            line.queue.send_message(event, completed(900))
            await line.queue.pending_messages_per_session["one"].get()
        for _ in range(2):
            line.queue.send_message(event, completed(900))
        assert "one" not in line.queue.pending_messages_per_session and not event.alive
        assert line.queue.pending_messages_per_session["other"].qsize() == 1 and other.alive

    asyncio.run(asked())


def test_answers_are_kept_for_a_while_only(line, monkeypatch):
    monkeypatch.setattr(listeners, "UNREAD_SECONDS", 0.3)

    async def asked():
        event, read = line.join("one"), line.join("read")
        line.queue.send_message(event, ProcessStartsMessage())
        for _ in range(10):
            line.queue.send_message(read, ProcessStartsMessage())
            await asyncio.sleep(0.05)
            await line.queue.pending_messages_per_session["read"].get()
        await asyncio.sleep(0.2)
        assert "one" not in line.queue.pending_messages_per_session and not event.alive
        assert read.alive

    asyncio.run(asked())


def test_who_reads_waits_on_when_nothing_is_left():
    async def asked():
        messages = Messages(lambda: None)
        reading = asyncio.create_task(messages.get())
        await asyncio.sleep(0)
        messages.put_nowait(completed(listeners.UNREAD_BYTES + 1))
        await asyncio.sleep(0.01)
        assert not reading.done()
        messages.put_nowait(completed(1))
        assert (await reading).success

    asyncio.run(asked())
