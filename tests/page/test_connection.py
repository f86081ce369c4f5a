"""A visit whose connection breaks, or of which the page has lost all: it says so, and goes on from there."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.helpers.browser import (
    LONG,
    PHOTOGRAPH,
    TRUTH,
    ask_for,
    drawn,
    largest_class,
    panel_of,
    shows,
    unfold_more_options,
)
from tests.helpers.page_client import Visitor
from tests.helpers.page_server import free_port, running_page
from tests.helpers.unreliable_proxy import UnreliableProxy

pytestmark = pytest.mark.page

SAID = "#connection:not([hidden])"
UPLOAD = "#photograph-upload input[type=file]"
DOG, CAT = "000000900005.jpg", "000000900002.jpg"


@pytest.fixture(scope="module")
def page(no_downloads):
    with running_page() as running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def visit(chromium):
    """Open the page for a visitor whose browser may complain of what breaks; nothing may load the page anew."""
    contexts = []

    def open_one(url, heartbeat=True):
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONG)
        if not heartbeat:  # as of a phone that sleeps: the page is not known to be open
            page.route("**/heartbeat/**", lambda route: route.abort())
        page.goto(url)
        drawn(page, PHOTOGRAPH)
        page.evaluate("window.isTheFirst = true")
        return page

    yield open_one
    for context in contexts:
        assert context.pages[0].evaluate("window.isTheFirst")
        context.close()


@contextmanager
def proxy_to(running):
    with UnreliableProxy(urlsplit(running.url).port) as proxy:
        yield proxy


def told(page, sentence):
    page.locator(SAID, has_text=sentence).wait_for(timeout=LONG)


def go_on(page, button="Go on"):
    page.locator(SAID).get_by_role("button", name=button).click()


def silent(page):
    page.wait_for_selector("#connection", state="hidden", timeout=LONG)


def give(page, examples_coco, name):
    page.set_input_files(UPLOAD, examples_coco / "samples" / name)


@pytest.mark.parametrize("how", ["cut", "end"])
def test_an_answer_that_breaks_off_is_said_and_fetched_at_a_click(visit, page, examples_coco, how):
    with proxy_to(page) as proxy:
        browser = visit(proxy.url)
        proxy.streams = how
        give(browser, examples_coco, DOG)
        told(browser, "The connection to this page broke off. What was done is kept.")
        proxy.streams = None
        shows(browser, PHOTOGRAPH, lambda: go_on(browser))
        assert largest_class(browser) == "dog"
        silent(browser)
        shows(browser, PHOTOGRAPH, lambda: give(browser, examples_coco, CAT))
        assert largest_class(browser) == "cat"


def test_an_answer_that_never_comes_is_said_and_fetched_at_a_click(visit, page, examples_coco):
    with proxy_to(page) as proxy:
        browser = visit(proxy.url)
        proxy.streams = "silent"
        give(browser, examples_coco, DOG)
        told(browser, "There has been no answer for a while. It may still come.")
        proxy.streams = None
        shows(browser, PHOTOGRAPH, lambda: go_on(browser, "Try again"))
        assert largest_class(browser) == "dog"
        silent(browser)


def test_a_page_that_was_stopped_for_a_while_goes_on_by_itself(visit, page, examples_coco):
    browser = visit(page.url)
    page.process.send_signal(signal.SIGSTOP)
    try:
        browser.locator("#photograph-samples button").nth(1).click()
        told(browser, "There has been no answer for a while.")
    finally:
        page.process.send_signal(signal.SIGCONT)
    drawn(browser, PHOTOGRAPH, after=1)
    silent(browser)


def test_a_page_that_cannot_be_reached_is_asked_again_at_a_click(visit, page, examples_coco):
    with proxy_to(page) as proxy:
        browser = visit(proxy.url)
        proxy.reachable = False
        give(browser, examples_coco, DOG)
        told(browser, "broke off")
        go_on(browser)
        told(browser, "broke off")
        proxy.reachable = True
        shows(browser, PHOTOGRAPH, lambda: go_on(browser))
        assert largest_class(browser) == "dog"
        silent(browser)


def test_a_photograph_that_was_deleted_meanwhile_is_taken_from_the_browser(visit, page, examples_coco):
    browser = visit(page.url)
    shows(browser, PHOTOGRAPH, lambda: give(browser, examples_coco, DOG))
    for upload in (page.log_file.parent / "tmp").glob(f"*/uploads/*/{DOG}"):
        upload.unlink()  # as after an hour
    panel = browser.get_by_role("tabpanel").filter(visible=True)
    unfold_more_options(panel)
    panel.get_by_role("radio", name="Keep the shape").check()
    told(browser, "This page no longer has what you were looking at")
    shows(browser, PHOTOGRAPH, lambda: go_on(browser))
    assert largest_class(browser) == "dog"
    assert "shorter side" in browser.inner_text("#photograph-provenance")
    silent(browser)


def test_a_scoring_whose_answers_break_off_goes_on_from_there(visit, page):
    with proxy_to(page) as proxy:
        browser = visit(proxy.url)
        panel = panel_of(browser, "A whole set")
        ask_for(panel, 2)
        unfold_more_options(panel)
        panel.get_by_role("radio", name="Keep the shape").check()
        proxy.streams = "cut"
        browser.click("#set-start")
        told(browser, "broke off")
        assert browser.locator("#set-progress progress").count() == 0
        browser.wait_for_selector("#set-start:not([disabled])")
        proxy.streams = None
        go_on(browser)
        browser.wait_for_selector("#set-summary .report", timeout=2 * LONG)
        browser.wait_for_selector("#set-stop", state="hidden")
        assert browser.locator("#set-notice .notice").count() == 0


# Uploads as many more files as the page's script remembers.
FORGETS = """async () => {
    const body = new FormData();
    for (let number = 0; number < 21; number++) body.append("files", new File([`${number}`], `${number}.txt`));
    await fetch(`${gradio_config.root}${gradio_config.api_prefix}/upload`, { method: "POST", body });
}"""


def test_a_photograph_that_neither_the_page_nor_the_browser_has_is_given_up(visit, page, examples_coco):
    browser = visit(page.url)
    browser.click("#several button")
    given = [examples_coco / "samples" / each for each in (CAT, DOG)]
    browser.set_input_files("#several-files input[type=file]", given)
    browser.wait_for_selector("#several-stop", state="visible")
    browser.wait_for_selector("#several-stop", state="hidden")
    browser.evaluate(FORGETS)
    shows(browser, PHOTOGRAPH, browser.locator("#several-gallery button").first.click)
    assert largest_class(browser) == "cat"
    for upload in (page.log_file.parent / "tmp").glob(f"*/uploads/*/{CAT}"):
        upload.unlink()
    panel = browser.get_by_role("tabpanel").filter(visible=True)
    unfold_more_options(panel)
    panel.get_by_role("radio", name="Keep the shape").check()
    told(browser, "This page no longer has what you were looking at")
    shows(browser, PHOTOGRAPH, lambda: go_on(browser))
    assert browser.inner_text("#photograph-credit") and largest_class(browser) != "cat"
    silent(browser)


@contextmanager
def started_again(port):
    with running_page(env={"GRADIO_SERVER_PORT": port}) as running:
        yield running


def test_a_page_that_was_started_again_gets_the_photograph_from_the_browser(visit, no_downloads, examples_coco):
    port = str(free_port())
    with started_again(port) as before:
        browser = visit(before.url)
        panel_of(browser, "COCO with ground truth")
        drawn(browser, TRUTH)
        shows(browser, TRUTH, lambda: browser.locator("#truth-gallery button").nth(2).click())
        verdict = browser.inner_text("#truth-verdict")
        panel = panel_of(browser, "Your photograph")
        shows(browser, PHOTOGRAPH, lambda: give(browser, examples_coco, DOG))
    with started_again(port) as after:
        panel.get_by_role("radio", name="Binary").check()
        told(browser, "This page no longer has what you were looking at")
        shows(browser, PHOTOGRAPH, lambda: go_on(browser))
        assert largest_class(browser) == "any object"
        silent(browser)
        shows(browser, PHOTOGRAPH, lambda: panel.get_by_role("radio", name="Multiclass").check())
        assert largest_class(browser) == "dog"

        truth = panel_of(browser, "COCO with ground truth")
        same = "verdict => document.querySelector('#truth-verdict').innerText === verdict"
        browser.wait_for_function(same, arg=verdict, timeout=LONG)  # milliseconds
        shows(browser, TRUTH, lambda: truth.get_by_role("radio", name="Binary").check())
        shows(browser, TRUTH, lambda: browser.locator("#truth-gallery button").nth(3).click())
        assert "Traceback" not in after.log()


def test_a_visit_that_was_pushed_out_goes_on_with_its_sample(visit, no_downloads):
    with running_page(env={"SEGCORE_SESSIONS": "1"}) as running:
        browser = visit(running.url, heartbeat=False)
        shows(browser, PHOTOGRAPH, lambda: browser.locator("#photograph-samples button").nth(3).click())
        found = browser.text_content("#photograph-table")
        other = Visitor(running.url)
        other.begin()
        ask_for(panel_of(browser, "A whole set"), 2)
        browser.click("#set-start")
        told(browser, "This page no longer has what you were looking at")
        shows(browser, PHOTOGRAPH, lambda: go_on(browser))
        assert browser.text_content("#photograph-table") == found
        browser.wait_for_selector("#set-summary .report", timeout=2 * LONG)
        other.close()
        assert "Traceback" not in running.log()
