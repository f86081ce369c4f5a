"""What is kept of a visitor, and that nothing of it is left once its time is over."""

from __future__ import annotations

import base64
import gc
import io
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState
from PIL import Image

from demo.server.gradio_internals import Session
from demo.server.listeners import LISTENERS
from demo.server.sessions import Sessions
from tests.helpers.page_client import API, SEGMENT, TASK, Visitor
from tests.helpers.page_server import page_here, running_page
from tests.helpers.process_memory import in_memory

KEPT = 15.0  # seconds, in which a model that is not loaded yet can answer
WITHIN = KEPT + 60  # from the last request until nothing is left


class Clock:
    """Goes on only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def blocks():
    with gr.Blocks() as blocks:
        blocks.kept = gr.State([])
        blocks.text = gr.Textbox()
        blocks.queue()
    return blocks


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(blocks, clock):
    return Sessions(blocks, 100, most=3, clock=clock)


def under_way(blocks, session, alive=True):
    """As Gradio notes what a session has asked for."""
    event = type("Event", (), {"session_hash": session, "alive": alive})
    blocks._queue.event_ids_to_events[uuid.uuid4().hex] = event


def test_a_session_goes_some_time_after_its_last_request(sessions, clock):
    first = sessions["a"]
    clock.now = 60
    assert sessions["a"] is first
    clock.now = 150
    sessions.delete_all_expired_state()
    assert sessions["a"] is first
    clock.now = 251
    sessions.delete_all_expired_state()
    assert "a" not in sessions
    assert sessions["a"] is not first


def test_a_connection_that_was_lost_shortens_nothing(sessions, clock):
    sessions["a"].is_closed = True  # as Gradio says when a phone goes to sleep
    clock.now = 99
    sessions.delete_all_expired_state()
    assert "a" in sessions


def test_of_too_many_the_least_recent_goes(sessions):
    for each in "abcad":
        sessions[each]
    assert set(sessions.session_data) == {"c", "a", "d"}


def test_none_goes_while_something_is_under_way(sessions, blocks, clock):
    under_way(blocks, "a")
    under_way(blocks, "b", alive=False)  # whoever asked has left
    for each in "abcd":
        sessions[each]
    assert set(sessions.session_data) == {"a", "c", "d"}
    clock.now = 1000
    sessions.delete_all_expired_state()
    assert set(sessions.session_data) == {"a"}
    blocks._queue.event_ids_to_events.clear()
    clock.now = 1101
    sessions.delete_all_expired_state()
    assert not sessions.session_data


def test_whose_page_is_open_goes_for_none_whose_page_is_not(sessions):
    with ExitStack() as pages:
        for each in "abc":
            pages.enter_context(opened(each))
            sessions[each]
        for number in range(10):
            sessions[f"made up {number}"]
            assert set("abc") < set(sessions.session_data)
        assert len(sessions.session_data) == 4
        pages.enter_context(opened("d"))
        sessions["d"]
        assert set(sessions.session_data) == set("bcd")
    sessions["e"]
    assert set(sessions.session_data) == set("cde")


def opened(session):
    scope = {"type": "http", "method": "GET", "path": f"/gradio_api/heartbeat/{session}"}
    return LISTENERS.during(scope)


def test_what_was_told_and_not_fetched_goes_too(sessions, blocks):
    sessions["a"]
    blocks._queue.pending_messages_per_session["a"] = ["a picture"]
    blocks._queue.pending_event_ids_session["a"] = {"an event"}
    sessions.forget("a")
    sessions.forget("who never came")
    assert not blocks._queue.pending_messages_per_session
    assert not blocks._queue.pending_event_ids_session


def test_a_session_has_its_own_values_and_no_copies_of_others(blocks):
    one, other = Session(blocks), Session(blocks)
    one[blocks.kept._id].append(1)
    one._update_value_in_config(blocks.text._id, "a picture")
    one[blocks.text._id] = changed = gr.Textbox("new", render=False)
    assert other[blocks.kept._id] == []
    assert one[blocks.text._id] is changed
    assert other[blocks.text._id] is blocks.text
    assert not list(one.components)


def test_an_update_leaves_a_component_its_own_way_to_read_values(blocks):
    blocks.text.preprocess = lambda value: f"own {value}"
    session = Session(blocks)
    for update in ("first", "second"):
        session[blocks.text._id] = gr.Textbox(update, render=False)
        assert session[blocks.text._id].value == update
        assert session[blocks.text._id].preprocess("x") == "own x"


def test_a_session_has_all_that_gradio_expects_of_one(blocks):
    assert vars(Session(blocks)).keys() == vars(SessionState(blocks)).keys() | {"begun"}


# ------------------------------------------------------------------------------------------------ nothing is left


def photograph(seed: int) -> tuple[bytes, np.ndarray]:
    """A PNG that nobody else has, and its pixels."""
    noise = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8)
    picture = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), np.asarray(picture)


def traces(name: str, png: bytes, pixels: np.ndarray, jpeg_uri: str) -> dict[str, bytes]:
    """Bytes by which copies of a photograph are known, each from amid it."""
    middle = len(jpeg_uri) // 2 // 4 * 4
    return {
        "name": name.encode(),
        "file": png[len(png) // 2 :][:32],
        "pixels": pixels[240].tobytes()[900:932],
        "screen copy": base64.b64decode(jpeg_uri.partition(",")[2])[middle // 2 :][:32],
        "screen copy, as it is sent": jpeg_uri[middle:][:40].encode(),
    }


def leave_in_all_ways(url: str) -> list[dict[str, bytes]]:
    """Visitors of all kinds come and go, each with a photograph of their own. Returns what is to be searched for."""
    first = Visitor(url)  # loads the model, during which an upload may be deleted before it is read
    first.trigger(first.events()["on_load"], [None, None, "auto", "squeeze", False])
    first.close()
    return [visit(url) for visit in (_reads_all, _reads_no_answer, _hangs_up, _is_a_program, _is_a_program_that_left)]


class _Guest(Visitor):
    """A visitor with a photograph, which was shown to them once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.name = f"{uuid.uuid4().hex}.png"
        self.png, self.pixels = photograph(uuid.uuid4().int % 2**32)
        self.known = self.events()
        self.open(self.known, self.name, self.png)
        self.traces = traces(self.name, self.png, self.pixels, self.viewer(self.known)["photo"]["src"])

    def gone(self) -> dict[str, bytes]:
        self.close()
        return self.traces


def _click(config: dict, label: str) -> dict:
    """The event of a click on a button."""
    button = next(each["id"] for each in config["components"] if label in str(each["props"].get("value")))
    return next(each for each in config["dependencies"] if any(id == button for id, _ in each["targets"]))


def _reads_all(url: str) -> dict[str, bytes]:
    guest = _Guest(url)
    shown = {"hidden": "", "opacity": "60", "minimum": "0", "names": "true"}
    [labels] = guest.trigger(_click(guest.config(), "Label map (PNG)"), [None, *TASK, False, shown])
    content = guest.http.get(f"{API}/file={labels['path']}").raise_for_status().content
    guest.trigger(guest.known["on_truth"], [guest.upload("truth.png", content), None])
    guest.viewer(guest.known)
    return guest.gone()


def _reads_no_answer(url: str) -> dict[str, bytes]:
    guest = _Guest(url)
    body = {"data": [None, *TASK, False, ""], "fn_index": guest.known["on_look"]["id"], "session_hash": guest.session}
    guest.http.post(f"{API}/queue/join", json=body).raise_for_status()
    return guest.gone()


def _hangs_up(url: str) -> dict[str, bytes]:
    guest = _Guest(url)
    body = {"data": [None, *TASK, False, ""], "fn_index": guest.known["on_look"]["id"], "session_hash": guest.session}
    guest.http.post(f"{API}/queue/join", json=body).raise_for_status()
    with guest.http.stream("GET", f"{API}/queue/data", params={"session_hash": guest.session}):
        pass
    return guest.gone()


def _is_a_program(url: str) -> dict[str, bytes]:
    guest = _Guest(url)
    guest.segment(guest.name, guest.png, own_session=False)
    return guest.gone()


def _is_a_program_that_left(url: str) -> dict[str, bytes]:
    guest = _Guest(url)
    file = guest.upload(guest.name, guest.png)
    guest.http.post(f"{API}/call/segment", json={"data": [file, *SEGMENT]}).raise_for_status()
    return guest.gone()


def becomes_empty(look: Callable[[], Collection[str]]) -> Collection[str]:
    """What is still found WITHIN seconds after now, at most; an empty collection as soon as nothing is."""
    end = time.monotonic() + WITHIN
    time.sleep(KEPT)  # nothing goes before, and a look takes the processor for seconds
    while True:
        found = look()
        if not found or time.monotonic() >= end:
            return found
        del found  # it tells of what was found, and would be found itself by the next look
        time.sleep(5)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux shows a process's memory")
@pytest.mark.page
def test_nothing_of_a_visitor_is_left_in_the_memory(no_downloads):
    with running_page(env={"SEGCORE_KEEP_MINUTES": str(KEPT / 60)}) as page:
        wanted = {
            f"{number}: {what}": trace
            for number, each in enumerate(leave_in_all_ways(page.url))
            for what, trace in each.items()
            if what != "name"  # of small objects the bytes lie there until others take their place
        }
        assert in_memory(page.process.pid, wanted), "it can be found"
        assert becomes_empty(lambda: in_memory(page.process.pid, wanted)) == set()
        text = Visitor(page.url).http.get("/").text
        assert f"{KEPT / 60:g} minutes after your" in text, "and the page says so"


@pytest.mark.page
def test_nothing_of_a_visitor_is_left_among_the_objects(no_downloads, tmp_path):
    with page_here(tmp_path, SEGCORE_KEEP_MINUTES=str(KEPT / 60)) as url:
        wanted = [trace for each in leave_in_all_ways(url) for trace in each.values()]
        assert in_objects(wanted), "they can be found"
        assert becomes_empty(lambda: in_objects(wanted)) == set()


def in_objects(wanted: Collection[bytes]) -> set[str]:
    """What holds texts, bytes or arrays with these bytes in it, `wanted` itself left out."""
    gc.collect()
    found, seen, shortest = set(), set(map(id, wanted)), min(map(len, wanted))
    for holder in gc.get_objects():
        if holder is found:
            continue
        for held in gc.get_referents(holder):
            if id(held) in seen or type(held) not in (str, bytes, bytearray, np.ndarray):
                continue
            seen.add(id(held))
            content = _content(held)
            if len(content) >= shortest and any(trace in content for trace in wanted):
                found.add(f"{type(held).__name__} in {type(holder).__name__}: {str(holder)[:300]}")
    return found


def _content(held: str | bytes | bytearray | np.ndarray) -> bytes:
    if type(held) is str:
        return held.encode(errors="replace")
    if type(held) is np.ndarray:
        return held.tobytes() if held.dtype == np.uint8 else b""
    return bytes(held)
