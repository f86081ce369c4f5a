"""Zoom and movement of the pictures in the viewer, by wheel, keys, buttons and fingers, in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.viewer import DOG, overlay, pointed_at, update, zoom_said


def test_zooming_by_wheel_keeps_what_is_under_the_pointer(page):
    box = page.locator("#one .picture").bounding_box()
    x, y = box["x"] + 0.55 * box["width"], box["y"] + 0.45 * box["height"]  # background, near person and dog
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(300)
    assert zoom_said(page) == "100 %"  # the page scrolls
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_selector("#one .viewer[data-zoomed=true]")
    assert 400 < int(zoom_said(page).split()[0]) < 700
    corner = pointed_at(page, 0.45, 0.4)
    assert [corner, pointed_at(page, 0.1, 0.4), pointed_at(page, 0.55, 0.95)] == ["", "person", "dog"]
    assert overlay(page).shape == (60, 80, 4)  # still all of it: only the view has changed
    page.get_by_role("button", name="Show all of it").first.click()
    assert zoom_said(page) == "100 %"


def test_zooming_by_double_click_keys_and_buttons_and_moving(page):
    picture = page.locator("#one .picture")
    box = picture.bounding_box()
    picture.dblclick(position={"x": box["width"] / 2, "y": box["height"] / 2})
    page.wait_for_function("document.querySelector('#one .zoom output').textContent === '200 %'")
    assert pointed_at(page, 0.05, 0.05) == "person" and pointed_at(page, 0.95, 0.95) == "dog"
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    assert pointed_at(page, 0.95, 0.95) == "person"  # moved as far as the picture goes
    picture.focus()
    for key, said in (("+", "300 %"), ("-", "200 %"), ("0", "100 %")):
        page.keyboard.press(key)
        page.wait_for_function("said => document.querySelector('#one .zoom output').textContent === said", arg=said)
    page.keyboard.press("=")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    assert pointed_at(page, 0.02, 0.98) == "person" and pointed_at(page, 0.9, 0.5) == "dog"
    zoom_in = page.get_by_role("button", name="Zoom in").first
    for _ in range(6):
        zoom_in.click()
    assert zoom_said(page) == "1600 %" and zoom_in.is_disabled()
    update(page, "flip")  # of the same photograph: the place stays
    assert zoom_said(page) == "1600 %"
    page.get_by_role("button", name="burst", exact=True).click()
    page.wait_for_function("document.querySelector('#one .message').textContent === 'the last'")
    assert zoom_said(page) == "100 %"


def test_the_panels_of_a_grid_zoom_together_and_lines_stay_sharp(page):
    panels = page.locator("#grid .picture")
    before = overlay(page, "grid", 1, "outline")
    panels.nth(1).dblclick(position={"x": 5, "y": 5})
    page.wait_for_selector("#grid .viewer[data-zoomed=true]")
    transforms = {panels.nth(n).locator(".photo").evaluate("it => getComputedStyle(it).transform") for n in range(4)}
    assert len(transforms) == 1 and "matrix(2" in transforms.pop()
    after = overlay(page, "grid", 1, "outline")
    assert after.shape == before.shape  # drawn anew at the screen's size, as thick as before
    rows = (after.shape[0] // 4, after.shape[0] // 3)
    assert np.count_nonzero(after[rows[0] : rows[1], ..., 3]) <= 1.1 * np.count_nonzero(
        before[rows[0] : rows[1], ..., 3]
    )
    page.locator("#grid [data-action=zoom-all]").click()


def test_two_fingers_zoom(opened):
    page, complaints = opened(width=390, height=844, has_touch=True, is_mobile=True)
    client = page.context.new_cdp_session(page)
    page.locator("#one .picture").scroll_into_view_if_needed()
    box = page.locator("#one .picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind, apart):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for apart in range(35, 95, 5):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    page.wait_for_selector("#one .viewer[data-zoomed=true]")
    assert 200 < int(zoom_said(page).split()[0]) < 350
    assert page.evaluate("visualViewport.scale") == 1  # the picture, not the page
    assert complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_zoom_buttons_stay_where_they_are(opened, width):
    page, complaints = opened(width=width)
    page.locator("#one .zoom").scroll_into_view_if_needed()
    for action, said in (("zoom-in", ["150 %", "225 %", "338 %", "506 %", "759 %"]), ("zoom-out", ["506 %", "338 %"])):
        box = page.locator(f"#one [data-action={action}]").bounding_box()
        for each in said:
            page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.wait_for_function("said => document.querySelector('#one .zoom output').textContent === said", arg=each)
        assert page.locator(f"#one [data-action={action}]").bounding_box() == box
    box, whole = page.locator("#one .zoom").bounding_box(), page.locator("#one .frame").bounding_box()
    assert box["x"] >= whole["x"]
    page.locator("#one [data-action=zoom-all]").click()
    assert zoom_said(page) == "100 %"
    assert complaints == []


@pytest.mark.parametrize("width", [700, 390])
def test_names_do_not_lie_under_the_zoom_bar(opened, width):
    page, _ = opened(width=width)
    page.locator("#one [data-action=zoom-in]").click()
    page.locator("#one .picture").press("ArrowLeft")  # the middle of the dog is now in the lower right corner
    page.wait_for_function(
        "Number(getComputedStyle(document.querySelector('#one .viewer')).getPropertyValue('--zoom-left')) < 0.1"
    )
    name, bar = page.locator(f"#one .pill[data-id='{DOG}']").bounding_box(), page.locator("#one .zoom").bounding_box()
    assert name["y"] + name["height"] <= bar["y"] < name["y"] + 3 * name["height"]
    assert name["x"] + name["width"] > bar["x"]
