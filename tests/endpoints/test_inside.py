"""The endpoints for programs, from inside: what calls leave behind, and where their work is done."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext

from demo import app
from demo.endpoints import Endpoints
from demo.settings import Settings
from demo.waiting.turns import Turns
from segcore.errors import UsageError
from tests.helpers.hostile_pictures import encoded
from tests.helpers.page_client import Visitor
from tests.helpers.page_server import free_port

pytestmark = pytest.mark.page


@pytest.fixture
def page(no_downloads, tmp_path, monkeypatch):
    """The page as `demo/app.py` starts it, in this process."""
    for name in ("uploads", "counts"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    settings = Settings.read(["--port", str(free_port())], {"SEGCORE_OFFLINE": "1"})
    blocks = app.start(settings, tmp_path / "uploads", tmp_path / "counts")
    yield blocks
    blocks.close()


def kept(page) -> dict[str, int]:
    """How much the page keeps of its visitors and of what they asked for."""
    queue, sessions = page._queue, page.state_holder
    places = {
        "sessions": sessions.session_data,
        "last used": sessions._last_used,
        "messages": queue.pending_messages_per_session,
        "events of sessions": queue.pending_event_ids_session,
        "events": queue.event_ids_to_events,
        "iterators": page.app.iterators,
    }
    return {name: len(place) for name, place in places.items()}


def test_a_call_leaves_nothing_behind(page):
    visitor = Visitor(page.local_url)
    for _ in range(3):
        visitor.segment("small.png", encoded(64, 48, "PNG"), own_session=False)
    visitor.close()
    end = time.monotonic() + 300
    while any(kept(page).values()) and time.monotonic() < end:
        time.sleep(0.1)
    assert kept(page) == dict.fromkeys(kept(page), 0)


def test_the_data_set_is_opened_beside_the_event_loop():
    threads = []

    class Slow:
        @property
        def default(self):
            threads.append(threading.current_thread())
            return "own:val"

        def get(self, key):
            threads.append(threading.current_thread())
            raise UsageError(f"no {key}")

    blocks = SimpleNamespace(_queue=SimpleNamespace(event_ids_to_events={}))
    token = LocalContext.blocks.set(blocks)
    try:
        endpoints = Endpoints(SimpleNamespace(turns=Turns()), Slow())
        with pytest.raises(gr.Error, match="no own:val"):
            asyncio.run(endpoints.evaluate_coco(SimpleNamespace(session_hash="one"), "1"))
    finally:
        LocalContext.blocks.reset(token)
    assert len(threads) == 2 and threading.current_thread() not in threads
