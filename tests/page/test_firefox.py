"""The page in Firefox: what browsers do differently, such as canvases, pointers, file inputs and streams of answers."""

from __future__ import annotations

from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.helpers.browser import LONG, PHOTOGRAPH, TRUTH, drawn, largest_class, panel_of, row, shows
from tests.helpers.unreliable_proxy import UnreliableProxy
from tests.helpers.viewer import overlay, zoom_said

pytestmark = pytest.mark.page

UPLOAD = "#photograph-upload input[type=file]"
DOG, CAT = "000000900005.jpg", "000000900002.jpg"


@pytest.fixture(scope="module")
def browser(firefox):
    return firefox


def open_dog(page):
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)


def pointer_to(page, across, down):
    """Move the pointer to a place of the photograph, by fractions of the picture on the screen."""
    box = page.locator(f"{PHOTOGRAPH} .picture").bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_samples_and_a_photograph_are_shown_in_their_colours(open_page, examples_coco):
    page = open_page()
    assert row(page, "photograph-table", "person")[0] == "person"
    open_dog(page)
    assert largest_class(page) == "dog"
    painted = overlay(page, PHOTOGRAPH[1:])
    (color,) = np.unique(painted[painted[..., 3] > 0][:, :3], axis=0)
    swatch = page.locator(f"{PHOTOGRAPH} .chip[data-id='12'] .swatch")
    assert swatch.evaluate("it => it.style.getPropertyValue('--swatch')") == "#{:02x}{:02x}{:02x}".format(*color)

    shows(page, PHOTOGRAPH, lambda: page.set_input_files(UPLOAD, examples_coco / "samples" / CAT))
    assert largest_class(page) == "cat"


def test_the_pointer_names_a_class_and_the_wheel_zooms(open_page):
    page = open_page()
    open_dog(page)
    labels = overlay(page, PHOTOGRAPH[1:])[..., 3] > 0
    down, across = (np.argwhere(labels).mean(0) / labels.shape).tolist()
    pointer_to(page, across, down)
    name = page.locator(f"{PHOTOGRAPH} .tip > strong", has_text="dog")
    name.wait_for()
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_selector(f"{PHOTOGRAPH} .viewer[data-zoomed=true]")
    assert int(zoom_said(page, PHOTOGRAPH[1:]).split()[0]) > 200
    name.wait_for()  # what is under the pointer stays there


def test_the_tabs_with_ground_truth_show_scores(open_page):
    page = open_page()
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert 0 < float(row(page, "truth-per-class", "background")[1]) < 1

    panel = panel_of(page, "A whole set")
    number = panel.get_by_label("number input for How many", exact=True)
    for key in ("Control+a", "2", "Tab"):  # here Playwright's `fill` would not replace a number
        number.press(key)
    page.click("#set-start")
    page.wait_for_selector("#set-summary .report", timeout=2 * LONG)
    assert page.locator("#set-worst button").count() == 2


def test_a_copied_link_opens_the_same_view(open_page):
    page = open_page()
    open_dog(page)
    shows(page, PHOTOGRAPH, page.get_by_label("Binary").first.check)
    page.wait_for_function("location.search.includes('mode=binary')")
    page.click("#photograph-copy-link")
    page.get_by_text("Link copied.").wait_for()
    table = page.inner_text("#photograph-table")

    other = open_page()
    other.goto(page.evaluate("location.href"))
    drawn(other, PHOTOGRAPH)
    same = "table => document.querySelector('#photograph-table').innerText === table"
    other.wait_for_function(same, arg=table, timeout=LONG)
    assert other.get_by_label("Binary").first.is_checked()


@pytest.mark.parametrize("how", ["cut", "end"])
def test_answers_that_break_off_are_said_and_fetched_at_a_click(open_page, page_url, examples_coco, how):
    with UnreliableProxy(urlsplit(page_url).port) as proxy:
        page = open_page(proxy.url)
        proxy.streams = how
        page.set_input_files(UPLOAD, examples_coco / "samples" / DOG)
        message = page.locator("#connection:not([hidden])")
        message.get_by_text("The connection to this page broke off. What was done is kept.").wait_for()
        proxy.streams = None
        shows(page, PHOTOGRAPH, message.get_by_role("button", name="Go on").click)
        assert largest_class(page) == "dog"
        page.wait_for_selector("#connection", state="hidden")
