"""Answers of the server that come late, in a real browser: they undo nothing that a visitor has done meanwhile."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from demo.answers import photographs
from tests.helpers.browser import LONG, PHOTOGRAPH, TRUTH, ask_for, drawn, hold_the_answer, panel_of, shows
from tests.helpers.page_server import page_here
from tests.helpers.samples import DOG, sample

pytestmark = pytest.mark.page


@contextmanager
def opened(browser, address, held=None):
    """A new visitor's page; the first answer of the function `held`, if any, is held back."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(LONG)
    answer = hold_the_answer(page, held) if held else None
    page.goto(address)
    drawn(page, PHOTOGRAPH)
    yield page, answer
    context.close()


def choose(page, place, name):
    page.locator(f"{place} input").click()
    page.get_by_role("option", name=name).click()


def chosen_tab(page):
    return page.locator("[role=tab][aria-selected=true]").inner_text()


def names(page, gallery):
    """The images of a gallery, with a star behind the one that is selected."""
    return page.locator(f"{gallery} .thumbnail-lg").evaluate_all(
        "all => all.map(it => it.ariaLabel + (it.classList.contains('selected') ? ' *' : ''))"
    )


def shows_names(page, gallery, wanted):
    """Wait until the gallery has these images; a later answer must not change them again."""
    page.wait_for_function(
        """([gallery, wanted]) => [...document.querySelectorAll(`${gallery} .thumbnail-lg`)]
            .map(it => it.ariaLabel + (it.classList.contains("selected") ? " *" : "")).join() === wanted.join()""",
        arg=[gallery, wanted],
    )
    page.wait_for_timeout(300)
    assert names(page, gallery) == wanted


def test_a_tab_that_is_opened_before_its_images_are_there_shows_the_first(browser, page_url):
    with opened(browser, page_url, "on_filter") as (page, images):
        images.wait()
        panel_of(page, "COCO with ground truth")
        page.wait_for_timeout(500)
        images.release()
        drawn(page, TRUTH)
        page.wait_for_function("() => location.search.includes('image=')")


def test_of_two_quick_choices_of_a_class_the_gallery_shows_the_last(open_page):
    page = open_page()
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    dogs = hold_the_answer(page, "on_filter")
    choose(page, "#truth-filter", "Dog")
    dogs.wait()
    choose(page, "#truth-filter", "Cat")
    dogs.release()
    shows_names(page, "#truth-gallery", ["Cat"])


def test_the_gallery_selects_the_image_that_was_picked_while_it_changed(open_page):
    page = open_page()
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    shows(page, TRUTH, page.get_by_role("button", name="Cat", exact=True).filter(visible=True).click)
    dogs = hold_the_answer(page, "on_filter")
    choose(page, "#truth-filter", "Dog")
    dogs.wait()
    shows(page, TRUTH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    dogs.release()
    shows_names(page, "#truth-gallery", ["Dog *"])


@pytest.mark.parametrize("link", ["?tab=set", "?tab=truth&images=samples&image=900006"])
def test_a_link_does_not_take_the_visitor_back_from_another_tab(browser, page_url, link):
    with opened(browser, page_url + link, "show" if "image" in link else "tabs") as (page, answer):
        panel_of(page, "Guide")
        if "image" in link:
            answer.wait()
        if answer.answer:
            answer.release()
        page.wait_for_timeout(1000)
        assert chosen_tab(page) == "Guide" and page.evaluate("location.search") == "?tab=guide"


def test_the_next_scoring_can_be_stopped_although_the_last_stop_is_answered_late(open_page):
    page = open_page()
    panel = panel_of(page, "A whole set")
    stopped = hold_the_answer(page, "on_stop")
    page.click("#set-start")
    page.click("#set-stop")
    stopped.wait()
    page.wait_for_selector("#set-start:not([disabled])")
    page.click("#set-start")
    page.wait_for_selector("#set-stop:not([disabled])")
    stopped.release()
    page.wait_for_timeout(500)
    page.click("#set-stop")
    page.wait_for_selector("#set-start:not([disabled])")
    assert panel.is_visible()


def test_of_two_quick_choices_behind_a_score_the_last_counts(open_page):
    page = open_page()
    panel = panel_of(page, "A whole set")
    ask_for(panel, 3)
    page.click("#set-start")
    page.wait_for_selector("#set-class")
    page.locator("#set-class input").click()
    options = page.get_by_role("option").evaluate_all("all => all.map(it => it.ariaLabel)")
    page.keyboard.press("Escape")
    first = hold_the_answer(page, "on_class")
    choose(page, "#set-class", options[-2])
    first.wait()
    choose(page, "#set-class", options[-1])
    first.release()
    label = page.locator("#set-worst label").filter(has_text=f"Most wrong pixels of {options[-1]}")
    label.wait_for()


def test_the_way_back_to_the_set_stays_when_an_older_answer_comes(open_page):
    page = open_page()
    panel = panel_of(page, "A whole set")
    ask_for(panel, 3)
    page.click("#set-start")
    worst = page.locator("#set-worst button")
    worst.first.click()
    page.wait_for_selector("#truth-back")
    drawn(page, TRUTH)
    late = hold_the_answer(page, "truth-back")
    shows(page, TRUTH, page.locator("#truth-gallery button").nth(7).click)
    panel_of(page, "A whole set")
    shows(page, TRUTH, worst.nth(1).click)
    page.wait_for_selector("#truth-back")
    if late.answer:
        late.release()
    page.wait_for_timeout(500)
    assert page.locator("#truth-back").is_visible()


def test_of_two_truths_the_last_is_scored(browser, tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    usual = photographs.read_truth

    def slow(shown, path):
        if Path(path).stem == "first":
            begun.set()
            assert go_on.wait(600)
        return usual(shown, path)

    monkeypatch.setattr(photographs, "read_truth", slow)
    (tmp_path / "page").mkdir()
    with page_here(tmp_path / "page") as address, opened(browser, address) as (page, _):
        shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
        page.get_by_role("button", name="Have the correct answer?").click()
        truth = page.locator("#photograph-truth-file")
        for name, value in (("first.png", 12), ("second.png", 15)):
            Image.new("L", Image.open(sample(DOG)).size, value).save(tmp_path / name)
        truth.locator("input[type=file]").set_input_files(tmp_path / "first.png")
        assert begun.wait(600)
        truth.get_by_role("button", name="Clear").click()
        truth.locator("input[type=file]").set_input_files(tmp_path / "second.png")
        page.wait_for_selector("#photograph-read-as :text('second.png')")
        go_on.set()
        page.wait_for_timeout(2000)
        assert "second.png" in page.inner_text("#photograph-read-as")
