"""What a stranger may try against the page, and what a visitor beside them notices of it: nothing."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import httpx
import numpy as np
import pytest

from demo.server.failures import FAILED
from tests.helpers.hostile_pictures import encoded, slow_picture
from tests.helpers.page_client import API, TASK, Refused, Visitor
from tests.helpers.page_server import running_page

pytestmark = pytest.mark.page

SESSIONS = 3
LONG = "x" * 65


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """The folder in which the page has those for its own files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(no_downloads, counts):
    """A page with room for few sessions."""
    own = {"SEGCORE_SESSIONS": str(SESSIONS), "SEGCORE_AT_ONCE": "2", "GRADIO_TEMP_DIR": str(counts)}
    with running_page(env=own) as running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def http(page):
    with httpx.Client(base_url=page.url, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture
def visitor(page):
    visitor = Visitor(page.url)
    yield visitor
    visitor.close()


@pytest.fixture
def heartbeat(page):
    """Hold the heartbeats of sessions open, as a browser does for as long as a page is open."""
    over, begun = threading.Event(), threading.Semaphore(0)

    def beat(session):
        with httpx.Client(base_url=page.url, timeout=3000, trust_env=False) as client:
            with client.stream("GET", f"{API}/heartbeat/{session}") as answer:
                lines = answer.iter_lines()
                next(lines)
                begun.release()
                over.wait(600)

    def hold(session):
        threading.Thread(target=beat, args=(session,), daemon=True).start()
        assert begun.acquire(timeout=300)

    yield hold
    over.set()


@pytest.mark.parametrize("path", ["/config", f"{API}/heartbeat/made-up", f"{API}/queue/data?session_hash=x"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_are_refused(http, path, site):
    for mode in ("cors", "no-cors", "navigate"):
        answer = http.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode})
        assert answer.status_code == 403 and "other sites" in answer.text


def test_links_of_other_sites_open_the_page(http):
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert http.get("/", headers=linked).status_code == 200
    assert http.post("/", headers=linked).status_code == 403
    for site in ("same-origin", "none"):
        assert http.get("/config", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}).status_code == 200


def test_names_of_sessions_are_short(http):
    event = {"data": [], "fn_index": 0, "session_hash": LONG}
    answers = [
        http.get(f"{API}/heartbeat/{LONG}"),
        http.get(f"{API}/queue/data", params={"session_hash": LONG}),
        http.get(f"{API}/call/segment/{LONG}"),
        *(http.post(f"{API}/{path}", json=event) for path in ("queue/join", "call/segment", "run/predict", "cancel")),
    ]
    for answer in answers:
        assert answer.status_code == 400 and answer.text == "The name of a session has at most 64 characters.\n"


def test_made_up_sessions_push_nobody_out(page, visitor, heartbeat):
    events = visitor.events()
    heartbeat(visitor.session)
    visitor.trigger(events["on_load"], [None, None, "auto", "squeeze", False])
    before = visitor.look(events)
    for _ in range(2 * SESSIONS):
        made_up = Visitor(page.url)
        made_up.trigger(events["on_load"], [None, None, "auto", "squeeze", False])
        made_up.close()
    assert np.array_equal(visitor.look(events), before)


def scoring(visitor, events, images):
    """What the button of the whole set sends second; the first is answered at once."""
    visitor.begin()
    asked = {"data": [None], "fn_index": events["on_asked"]["id"], "session_hash": visitor.session}
    visitor.http.post(f"{API}/run/predict", json=asked).raise_for_status()
    return [None, "samples", images, *TASK, "original", "auto", "squeeze", "none", False, None]


def test_what_nobody_listens_to_takes_no_turn(page, visitor, counts):
    events = visitor.events()
    for number in range(10):
        other = Visitor(page.url)
        body = {"fn_index": events["on_start"]["id"], "session_hash": other.session}
        joined = other.http.post(f"{API}/queue/join", json=body | {"data": scoring(other, events, 3 + number)})
        joined.raise_for_status()
        other.close()
    visitor.trigger(events["on_start"], scoring(visitor, events, 2))
    assert len(list(counts.glob("*/counts/*"))) == 1, "each evaluation keeps what it counts"


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("on_sample", [None, "auto", "squeeze", False], {"index": 10**6}),
        ("on_sample", [None, "auto", "squeeze", False], {"index": "x"}),
        ("on_sample", [None, "auto", "squeeze", False], {}),
        ("on_sample", [None, "auto", "squeeze", False], "x"),
        ("on_sample", [None, "auto", "squeeze", False], [7]),
        ("on_sample", [None, "auto", "squeeze", False], {"value": {"path": "/etc/passwd"}}),
        ("on_pick", [None, None, "auto", "original", "squeeze"], {"index": 0}),
        ("on_sent", [None, None], None),
        ("on_worst", [None], {"index": 0}),
    ],
)
def test_a_request_that_fails_has_one_line_in_the_log(page, visitor, name, data, told):
    event, before = visitor.events()[name], page.log()
    with pytest.raises(Refused):
        visitor.trigger(event, data, told=told)
        raise Refused("it was answered")
    time.sleep(0.5)
    lines = page.log()[len(before) :].splitlines()
    assert len(lines) <= 1 and all(line.startswith(FAILED) for line in lines)


def test_nothing_goes_round_the_line(http):
    for endpoint in ("segment", "evaluate_coco"):
        assert http.post(f"{API}/run/{endpoint}", json={"data": []}).status_code == 404


def test_a_visitor_beside_slow_pictures_waits_for_none_of_them(page, visitor):
    events, done = visitor.events(), []

    def attack():
        attacker = Visitor(page.url)
        with suppress(Refused):  # on a slow machine it takes too long
            attacker.segment("slow.jpg", SLOW)
        done.append("attacker")
        attacker.close()

    attackers = [threading.Thread(target=attack) for _ in range(2)]
    for each in attackers:
        each.start()
    time.sleep(1)
    visitor.open(events, "small.png", encoded(64, 48, "PNG"))
    done.append("visitor")
    for each in attackers:
        each.join(300)
    assert done[0] == "visitor" and len(done) == 3


SLOW = slow_picture()


def test_damaged_pictures_write_nothing_into_the_log(page, visitor):
    """libtiff tells of each of a picture's thousand faults by itself."""
    whole, before = encoded(400, 4000, "TIFF", compression="tiff_lzw"), page.log()
    broken = bytearray(whole)
    broken[8 : len(whole) // 2 : 7] = b"\xff" * len(range(8, len(whole) // 2, 7))
    for content in (bytes(broken), whole[: len(whole) // 2] + whole[-300:]):
        try:
            visitor.segment("broken.tif", content)
        except Refused as said:
            assert "damaged" in str(said)
    assert page.log() == before
