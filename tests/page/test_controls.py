"""The page's controls in a real browser: choosing by mouse and keyboard, and what stays chosen."""

from __future__ import annotations

import pytest

from tests.helpers.browser import (
    PHOTOGRAPH,
    TRUTH,
    ask_for,
    drawn,
    hold_the_answer,
    panel_of,
    shows,
    unfold_more_options,
)

pytestmark = pytest.mark.page


def wait_until_selected(page, gallery, *names):
    page.wait_for_function(
        """([selector, names]) =>
            [...document.querySelectorAll(selector)].map((it) => it.ariaLabel).join() === names.join()""",
        arg=[f"#{gallery} .thumbnail-lg.selected", list(names)],
    )


def test_typing_into_the_class_replaces_it_and_enter_chooses(open_page):
    page = open_page()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    shows(page, PHOTOGRAPH, lambda: panel.get_by_role("radio", name="Binary").check())
    box = panel.get_by_label("Class", exact=True)

    box.click()
    page.keyboard.type("dog")
    assert box.input_value() == "dog"
    shows(page, PHOTOGRAPH, lambda: page.keyboard.press("Enter"))

    assert box.input_value() == "Dog"
    assert "No dog found;" in page.inner_text(f"{PHOTOGRAPH} .message")


def test_a_model_that_is_not_here_is_greyed_and_cannot_be_chosen(open_page):
    page = open_page()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    unfold_more_options(panel)
    box = panel.get_by_label("Model", exact=True)

    box.click()
    option = page.get_by_role("option", name="DeepLabV3, ResNet-101 (not on this machine)")
    assert option.is_disabled()
    option.click(force=True)
    assert box.input_value() == "Automatic"
    page.keyboard.press("Escape")
    page.wait_for_selector("[role=option]", state="detached")
    box.click()  # the list opens again, though the box had the focus all the time
    page.wait_for_selector("[role=option]")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("[role=option].active[aria-disabled=true]")
    page.keyboard.press("Enter")
    assert box.input_value() == "Automatic"

    set_panel = panel_of(page, "A whole set")
    set_panel.get_by_label("Compare with").click()
    assert page.get_by_role("option", name="(not on this machine)").count() == 3


@pytest.mark.parametrize("width", [1366, 390])
def test_a_long_choice_ends_before_its_arrow(open_page, width):
    page = open_page()
    page.set_viewport_size({"width": width, "height": 844})
    box = panel_of(page, "A whole set").get_by_label("Compare with")
    text_ends, arrow_begins = box.evaluate(
        """(box) => [
            box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight),
            box.parentElement.querySelector("svg").getBoundingClientRect().left,
        ]"""
    )
    assert text_ends <= arrow_begins


def test_arrow_keys_move_between_tabs(open_page):
    page = open_page()
    page.get_by_role("tab", name="Your photograph").focus()
    first, second, last = "Your photograph", "COCO with ground truth", "Guide"
    steps = {"ArrowLeft": last, "ArrowRight": first, "End": last, "Home": first}
    for key, name in [*steps.items(), ("ArrowRight", second)]:
        page.keyboard.press(key)
        tab = page.get_by_role("tab", name=name)
        assert tab.get_attribute("aria-selected") == "true" and tab.evaluate("it => it === document.activeElement")


def test_an_upload_deselects_the_sample(open_page, examples_coco):
    page = open_page()
    dog = page.get_by_role("button", name="Dog", exact=True).filter(visible=True)
    shows(page, PHOTOGRAPH, dog.click)
    wait_until_selected(page, "photograph-samples", "Dog")

    cat = examples_coco / "samples" / "000000900002.jpg"
    emptied = hold_the_answer(page, "lambda")
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", cat))
    wait_until_selected(page, "photograph-samples")
    emptied.wait()

    shows(page, PHOTOGRAPH, dog.click)
    wait_until_selected(page, "photograph-samples", "Dog")
    emptied.release()  # the input for photographs changes once more, and is empty
    shows(page, PHOTOGRAPH, page.get_by_role("radio", name="Binary").filter(visible=True).check)
    wait_until_selected(page, "photograph-samples", "Dog")


def test_from_a_worst_image_back_to_the_set(open_page):
    page = open_page()
    panel = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert not page.locator("#truth-back").is_visible()
    panel.get_by_label("Images with").click()
    page.get_by_role("option", name="Dog").click()
    page.wait_for_function("document.querySelectorAll('#truth-gallery button').length === 1")

    panel = panel_of(page, "A whole set")
    ask_for(panel, 3)
    page.click("#set-start")
    worst = page.locator("#set-worst button").first
    name = worst.get_attribute("aria-label").split(" · ")[1]
    shows(page, TRUTH, worst.click)

    # The gallery shows the image that was opened, and selects it.
    page.wait_for_function("document.querySelectorAll('#truth-gallery button').length === 18")
    wait_until_selected(page, "truth-gallery", name)
    page.click("#truth-back")
    page.wait_for_selector("[role=tab][aria-selected=true]:has-text('A whole set')")

    panel_of(page, "COCO with ground truth")
    shows(page, TRUTH, page.get_by_role("button", name="Cat", exact=True).filter(visible=True).click)
    page.wait_for_selector("#truth-back", state="hidden")


def in_view(page, selector):
    """Wait until an element lies in the browser's window."""
    page.wait_for_function(
        """(selector) => {
            const { top, bottom } = document.querySelector(selector)?.getBoundingClientRect() ?? { top: -1 };
            return top >= 0 && bottom <= innerHeight;
        }""",
        arg=selector,
    )


def test_on_a_phone_the_answer_comes_into_view(open_page, examples_coco, tmp_path):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True)
    frame = f"{PHOTOGRAPH} .frame"
    page.get_by_role("button", name="Naval officer").filter(visible=True).scroll_into_view_if_needed()
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).tap)
    in_view(page, frame)

    page.locator("#photograph-upload").scroll_into_view_if_needed()
    page.mouse.wheel(0, 400)
    cat = examples_coco / "samples" / "000000900002.jpg"
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", cat))
    in_view(page, frame)

    page.mouse.wheel(0, 1200)
    (tmp_path / "notes.jpg").write_text("not a photograph")
    page.set_input_files("#photograph-upload input[type=file]", tmp_path / "notes.jpg")
    in_view(page, "#photograph-notice .notice.error")

    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    gull = page.get_by_role("button", name="Gull over a beach", exact=True).filter(visible=True)
    gull.scroll_into_view_if_needed()
    shows(page, TRUTH, gull.tap)
    in_view(page, "#truth-verdict")
    in_view(page, f"{TRUTH} .picture")


def test_the_picture_stays_while_the_controls_scroll(open_page):
    page = open_page(viewport={"width": 1366, "height": 900})
    panel = page.get_by_role("tabpanel").filter(visible=True)
    click = "it => it.click()"  # Playwright's own clicks scroll the window, too
    shows(page, PHOTOGRAPH, lambda: panel.get_by_role("radio", name="Binary").evaluate(click))
    panel.get_by_role("checkbox", name="Automatic threshold").evaluate(click)
    slider = panel.get_by_role("slider", name="Threshold")
    slider.wait_for()
    page.locator(".control-column").first.evaluate("it => it.scrollTo(0, it.scrollHeight)")
    in_view(page, f"{PHOTOGRAPH} .frame")
    assert 0 < slider.bounding_box()["y"] < 850
