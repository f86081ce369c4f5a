"""Many visitors of one page: who waits, who does not, who is refused, and who is no longer waited for."""

from __future__ import annotations

import io
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from demo.tabs.downloads import download_buttons
from demo.tabs.ground_truth import ALL
from demo.waiting.turns import ASIDE
from tests.helpers.at_a_time import AtATime
from tests.helpers.page_client import TASK, Refused, Visitor
from tests.helpers.page_server import running_page

pytestmark = pytest.mark.page

WAITING = 3
LARGE = 640, 480


@pytest.fixture(scope="module")
def page(no_downloads):
    """A page that works on one thing at a time, with room for three that wait."""
    with running_page(env={"SEGCORE_QUEUE": str(WAITING), "SEGCORE_AT_ONCE": "1"}) as running:
        visitor = Visitor(running.url)
        visitor.segment("first.png", small())  # loads the model
        visitor.close()
        yield running
        assert "Traceback" not in running.log()


def png(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def small(seed=0):
    return png(80, 60, seed)


def segment_at_last(visitor, photograph):
    """The answer to a program that asks again for as long as the line is full."""
    while True:
        try:
            return visitor.segment("photograph.png", photograph)
        except Refused as said:
            assert "requests are waiting" in str(said)
            time.sleep(0.1)


@contextmanager
def full_line(page):
    """A page whose line is full or nearly so for as long as the block lasts: who was answered asks again."""
    over = threading.Event()
    photograph = png(*LARGE)

    def keep_asking():
        visitor = Visitor(page.url)
        while not over.is_set():
            assert segment_at_last(visitor, photograph)[1]["width"] == LARGE[0]
        visitor.close()

    with ThreadPoolExecutor(1 + ASIDE + WAITING) as pool:
        visitors = [pool.submit(keep_asking) for _ in range(1 + ASIDE + WAITING)]
        probe = Visitor(page.url)
        try:
            while not is_refused(probe):
                time.sleep(0.1)
            yield
        finally:
            over.set()
        for each in visitors:
            each.result(300)
        probe.close()


def is_refused(visitor):
    """Whether somebody who comes now is sent away."""
    try:
        visitor.segment("small.png", small())
    except Refused as said:
        assert re.search(r"requests are waiting. Please try again in about \d+ (second|minute)", str(said))
        return True
    return False


def opened_at_last(visitor, events, photograph):
    """Give the page a photograph as often as it takes until there is room in the line."""
    while "requests are waiting" in visitor.open(events, "small.png", photograph):
        time.sleep(0.1)


def test_light_controls_are_answered_while_the_line_is_full(page):
    visitor = Visitor(page.url)
    events = visitor.events()
    visitor.open(events, "small.png", small())
    with full_line(page):
        assert visitor.look(events, "binary", "any", False, 0.3).shape == (60, 80)
    visitor.close()


def test_who_waits_is_told_how_long(page):
    visitor = Visitor(page.url)
    events = visitor.events()
    with full_line(page):
        for seed in range(20):  # the line may happen to be short for a moment
            opened_at_last(visitor, events, small(seed))
            if visitor.said:
                break
    assert re.search(r"\d ahead of you, about \d+ (second|minute)", visitor.said[0])
    visitor.close()


def test_a_program_that_waits_is_told_how_long(page, tmp_path):
    photograph = tmp_path / "small.png"
    photograph.write_bytes(small())
    client = Client(page.url, verbose=False)
    said, answers = [], []
    with full_line(page):
        while not said and len(answers) < 20:  # the line may happen to be short for a moment
            job = client.submit(handle_file(photograph), api_name="/segment")
            while not job.done():
                said += [each.desc for each in job.status().progress_data or ()]
                time.sleep(0.1)
            if job.exception():
                assert "requests are waiting" in str(job.exception())
                time.sleep(0.1)
            else:
                answers.append(job.result())
    assert answers[-1][1]["width"] == 80
    assert re.fullmatch(r"\d ahead of you, about \d+ (second|minute)s?\.", said[0])
    client.close()


def test_a_full_line_refuses_with_a_time_to_try_again(page):
    with full_line(page):  # which begins when somebody was refused
        pass


def test_what_is_picked_is_what_was_seen_whatever_the_page_shows_by_now(page):
    visitor = Visitor(page.url)
    events = visitor.events()
    how = [None, "auto", "original", "squeeze"]
    visitor.trigger(events["on_filter"], ["samples", ALL, None])
    for index, animal in enumerate(("cat", "dog")):
        visitor.trigger(events["on_pick"], [["samples", ["900002", "900005"]], *how], picked=index)
        verdict = visitor.trigger(events["on_look_1"], [None, *TASK, False, ""])[2]
        assert animal in verdict
    visitor.close()


@pytest.mark.parametrize(
    "offered",
    [
        None,
        {},
        [],
        ["samples"],
        ["samples", []],
        ["samples", "900005"],
        [1, ["900005"]],
        "x",
    ],
    ids=str,
)
def test_what_was_never_offered_cannot_be_picked(page, offered):
    visitor = Visitor(page.url)
    events = visitor.events()
    with pytest.raises(Refused, match="This image is no longer offered"):
        visitor.trigger(events["on_pick"], [offered, None, "auto", "original", "squeeze"], picked=0)
    with pytest.raises(Refused, match="This image is no longer offered"):
        visitor.trigger(events["on_sent"], [offered, None])
    for picked in ("0", -1, 1, [0], {"a": 1}):
        with pytest.raises(Refused, match="This image is no longer offered"):
            visitor.trigger(events["on_pick"], [["samples", ["900005"]], None, "auto", "original", "squeeze"], picked)
    visitor.close()


def test_an_image_that_there_is_not_is_said_to_be_none(page):
    visitor = Visitor(page.url)
    events = visitor.events()
    for offered in (["samples", ["1"]], ["samples", ["dog"]], ["elsewhere", ["900005"]]):
        [*_, notice] = visitor.trigger(events["on_pick"], [offered, None, "auto", "original", "squeeze"], picked=0)
        assert "there is no image" in notice or "no longer here" in notice
    visitor.close()


def test_an_answer_that_was_lost_can_be_given_again(page):
    visitor = Visitor(page.url)
    events = visitor.events()
    visitor.open(events, "small.png", small())
    photo = visitor.viewer(events)["photo"]
    assert photo["src"]
    assert visitor.viewer(events, known=photo["key"])["photo"] == {"key": photo["key"], "src": None}
    assert visitor.viewer(events)["photo"] == photo  # of a browser that says that it has none
    visitor.close()


@pytest.mark.parametrize("name", ["on_look", "on_model", "on_upload", "on_truth", "on_remove", "partial", "on_start"])
def test_who_is_not_known_is_told_that_the_visit_is_lost(page, name):
    visitor = Visitor(page.url)
    event = visitor.events()[name]
    visitor.begun = True  # in a session that this page has never seen
    with pytest.raises(Refused, match="This page no longer has what you were looking at"):
        visitor.trigger(event, [None] * len(event["inputs"]))
    visitor.close()


def test_a_set_that_came_after_the_page_was_opened_can_be_chosen(no_downloads, tmp_path, nine_coco):
    with running_page(env={"XDG_CACHE_HOME": str(tmp_path)}) as running:
        visitor = Visitor(running.url)
        events = visitor.events()
        with pytest.raises(Refused, match="These images are no longer here; choose others."):
            visitor.trigger(events["on_filter"], ["fetched", ALL, None])
        fetched = tmp_path / "segcore" / "coco"
        shutil.copytree(nine_coco / "samples", fetched / "val2017")
        (fetched / "annotations").mkdir()
        annotations = nine_coco / "annotations" / "instances_samples.json"
        shutil.copy(annotations, fetched / "annotations" / "instances_val2017.json")
        gallery = visitor.trigger(events["on_filter"], ["fetched", ALL, None])[0]
        assert len(gallery) == 9
        visitor.close()
        assert "Traceback" not in running.log()


def test_two_files_at_full_size_are_written_at_a_time_whoever_asks(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    at_it = AtATime()

    def write(kind, folder):
        with at_it:
            time.sleep(0.3)
        folder.mkdir(parents=True)
        file = folder / kind
        file.write_text(kind)
        return file

    with gr.Blocks() as blocks:
        for _ in range(2):  # as in two tabs
            download_buttons({"one": "One", "other": "Other"}, write, [])
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, server_name="127.0.0.1")
    clicks = [each["id"] for each in blocks.config["dependencies"] if each["targets"][0][1] == "click"]
    visitors = [Visitor(url) for _ in clicks]
    for visitor in visitors:
        visitor.begun = True  # here is no visit that could be lost
    with ThreadPoolExecutor() as pool:
        written = list(pool.map(lambda visitor, click: visitor.trigger({"id": click}, []), visitors, clicks))
    for visitor in visitors:
        visitor.close()
    blocks.close()
    assert [each[0]["orig_name"] for each in written] == ["one", "other"] * 2
    assert at_it.most == 2
