"""The picture viewer in a real browser: what it paints, names and says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.viewer import (
    DOG,
    DOG_COLOR,
    EVERY_ID,
    NASTY,
    PERSON,
    RISE,
    chip,
    leave,
    overlay,
    painted,
    scene,
    update,
    viewer_data_attribute,
)


def test_every_label_is_painted_exactly(page):
    drawn = overlay(page, "every")
    blue, alpha = np.full_like(EVERY_ID, 0x80), np.full_like(EVERY_ID, 255)
    expected = np.stack([EVERY_ID, 255 - EVERY_ID, blue, alpha], axis=-1)
    np.testing.assert_array_equal(drawn, expected)


def test_hide_solo_and_show_all(page):
    np.testing.assert_array_equal(overlay(page), painted(scene()))
    show_all = page.locator("#one .show-all")
    assert not show_all.is_visible()

    chip(page, PERSON).locator(".toggle").click()
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene(), person=False))
    assert viewer_data_attribute(page, "hidden") == "15"
    assert chip(page, PERSON).locator(".toggle").get_attribute("aria-pressed") == "false"
    show_all.click()
    np.testing.assert_array_equal(overlay(page), painted(scene()))

    chip(page, PERSON).get_by_role("button", name="Only person").click()
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene(), dog=False))
    assert viewer_data_attribute(page, "hidden") == "12"
    chip(page, DOG).locator(".toggle").click()  # shown beside the one that stood alone
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene()))
    chip(page, DOG).get_by_role("button", name="Only dog").click()
    chip(page, DOG).get_by_role("button", name="Only dog").click()  # again: all
    assert viewer_data_attribute(page, "hidden") == ""


def test_what_is_chosen_outlives_a_new_value(page):
    chip(page, PERSON).locator(".toggle").click()
    page.locator("#one [data-control=opacity]").fill("35")
    page.locator("#one .names input").uncheck()
    page.locator("#one .views").get_by_text("Mask only").click()
    photo = page.locator("#one .photo").get_attribute("src")
    update(page, "flip")
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1], person=False))
    shown = {name: viewer_data_attribute(page, name) for name in ("hidden", "opacity", "names", "view")}
    assert shown == {"hidden": "15", "opacity": "35", "names": "false", "view": "mask"}
    assert page.locator("#one .photo").get_attribute("src") == photo  # not sent again, yet shown


@pytest.mark.parametrize("button", ["person", "Only person"])
def test_a_label_that_means_something_else_is_shown(page, button):
    chip(page, PERSON).get_by_role("button", name=button).first.click()
    update(page, "binary")
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene(), dog=False))
    assert viewer_data_attribute(page, "hidden") == "" and not page.locator("#one .show-all").is_visible()
    update(page, "flip")
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1]))


def test_the_last_of_many_values_wins(page):
    page.evaluate(
        """() => {
            const decode = HTMLImageElement.prototype.decode;
            let delay = 600; // the earlier ones take the longest
            HTMLImageElement.prototype.decode = async function () {
                await decode.call(this);
                await new Promise((resolve) => setTimeout(resolve, (delay -= 50)));
                if (delay <= 0) HTMLImageElement.prototype.decode = decode;
            };
        }"""
    )
    page.get_by_role("button", name="burst", exact=True).click()
    page.locator("#one .message").get_by_text("the last").wait_for()
    page.wait_for_timeout(600)
    np.testing.assert_array_equal(overlay(page), painted(np.roll(scene(), 11, axis=1)))


def test_opacity_and_views(page):
    fill, layer, photo = (page.locator(f"#one .{name}") for name in ("fill", "layer", "photo"))
    style = "(node, name) => getComputedStyle(node)[name]"
    page.locator("#one [data-control=opacity]").fill("25")
    assert fill.evaluate(style, "opacity") == "0.25"
    assert page.locator("#one .opacity output").inner_text() == "25 %"

    page.locator("#one .views").get_by_text("Mask only").click()
    assert photo.evaluate(style, "visibility") == "hidden"
    assert fill.evaluate(style, "opacity") == "1"
    assert page.locator("#one [data-control=opacity]").is_disabled()

    page.locator("#one .views").get_by_text("Compare").click()
    assert photo.evaluate(style, "visibility") == "visible"
    assert layer.evaluate(style, "clipPath") == "inset(0px 0px 0px 50%)"
    box = page.locator("#one .picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60)
    page.mouse.up()
    assert layer.evaluate(style, "clipPath") == "inset(0px 0px 0px 25%)"
    divider = page.get_by_role("slider", name="Divider")
    assert divider.input_value() == "25"
    divider.press("ArrowRight")
    assert layer.evaluate(style, "clipPath") == "inset(0px 0px 0px 26%)"
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)  # the button is up: nothing is dragged
    assert divider.input_value() == "26"


def test_names_and_outlines(page):
    def outlined(row, column):
        outline = overlay(page, canvas="outline")
        scale = len(outline) / len(scene())
        return outline[round(row * scale), round(column * scale), 3] > 0

    assert outlined(10, 40) and outlined(30, 60)  # person | background, background | dog
    assert not outlined(10, 10) and not outlined(10, 70)
    for number, name in ((PERSON, "person"), (DOG, "dog")):
        pill = page.locator(f"#one .pill[data-id='{number}']")
        assert pill.inner_text() == name
        at, picture = pill.bounding_box(), page.locator("#one .picture").bounding_box()
        row = int((at["y"] + at["height"] / 2 - picture["y"]) / picture["height"] * 60)
        column = int((at["x"] + at["width"] / 2 - picture["x"]) / picture["width"] * 80)
        assert scene()[row, column] == number
    chip(page, DOG).locator(".toggle").click()
    leave(page)
    assert not page.locator(f"#one .pill[data-id='{DOG}']").is_visible()
    assert not outlined(30, 60) and outlined(10, 40)
    page.locator("#one .names input").uncheck()
    assert not overlay(page, canvas="outline").any()
    assert page.locator("#one .pill:visible").count() == 0


@pytest.mark.parametrize("pixel_ratio", [1, 2])
def test_outlines_are_smooth_lines_however_far_the_picture_is_enlarged(opened, pixel_ratio):
    page, complaints = opened(device_scale_factor=pixel_ratio)
    update(page, "slope")
    outline = overlay(page, canvas="outline").astype(float)
    height, width = outline.shape[:2]
    shown = page.locator("#one .picture").bounding_box()
    assert width == pytest.approx(shown["width"] * pixel_ratio, abs=1)  # as fine as the screen
    scale = width / 80
    assert scale > 5  # steps of one pixel could not be missed

    light = outline[..., 3] * (outline[..., 0] > 128)
    assert len(np.unique(outline[..., 3])) > 20  # anti-aliased
    columns = np.arange(round(8 * scale), round(72 * scale))  # ends stay on the steps
    rows = np.arange(height)[:, None] + 0.5
    middle = (light * rows).sum(axis=0)[columns] / light.sum(axis=0)[columns] / scale
    straight = 50 - RISE * (columns + 0.5) / scale
    assert np.abs(middle - straight).max() < 0.2  # steps are 0.5 to both sides
    thickness = (light > 128).sum(axis=0)[columns] / pixel_ratio
    assert 1.5 < np.median(thickness) < 3.5  # of the screen's pixels, and not of the map's
    assert complaints == []


def test_a_single_pixel_is_named(page):
    update(page, "speck")
    at, picture = page.locator("#one .pill").bounding_box(), page.locator("#one .picture").bounding_box()
    bottom = (at["y"] + at["height"] - picture["y"]) / picture["height"]
    middle = (at["x"] + at["width"] / 2 - picture["x"]) / picture["width"]
    assert abs(middle - 0.5) < 0.01 and 0.48 < bottom < 0.502  # just above it
    assert page.get_by_role("img", name="Overlay: person 50 %", exact=True).count() == 1


def test_pointing_at_a_chip_and_at_the_picture(page):
    chip(page, DOG).locator(".toggle").hover()
    drawn = overlay(page)
    assert (drawn[scene() == DOG] == (*DOG_COLOR, 255)).all()
    rest = drawn[scene() != DOG]
    assert (rest[:, :3] == 0).all() and (rest[:, 3] > 0).all()  # dimmed
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene()))

    tip = page.locator("#one .tip")
    box = page.locator("#one .picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    assert tip.is_visible() and tip.inner_text() == "dog"
    assert "under" in chip(page, DOG).get_attribute("class")
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert not tip.is_visible()  # background
    leave(page)
    assert page.locator("#one .chip.under").count() == 0


def test_chips_work_from_the_keyboard(page):
    page.locator("#one [data-action=fullscreen]").focus()
    page.keyboard.press("Tab")
    assert (overlay(page)[scene() == DOG][:, :3] == 0).all()  # focus lights the person alone
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    np.testing.assert_array_equal(overlay(page), painted(scene(), person=False))


def test_grid_points_at_the_same_place_everywhere(page):
    page.locator("#grid .stage").scroll_into_view_if_needed()
    box = page.locator("#grid .picture").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.75)  # column 44, row 45
    tips = page.locator("#grid .tip").all()
    said = [tip.inner_text() if tip.is_visible() else None for tip in tips]
    assert said == [None, "dog", "person", "missed"]
    crosses = page.locator("#grid .cross").all()
    assert all(cross.is_visible() for cross in crosses)
    lefts = [cross.evaluate("node => node.style.getPropertyValue('--x')") for cross in crosses]
    assert len(set(lefts)) == 1 and abs(float(lefts[0][:-1]) - 55) < 0.5
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert page.locator("#grid .tip").nth(2).inner_text() == "background"


def test_grid_shares_a_legend_by_group(page):
    assert page.locator("#grid .legend").count() == 2
    chip(page, PERSON, "grid").locator(".toggle").click()
    leave(page)
    np.testing.assert_array_equal(overlay(page, "grid", 1), painted(scene(), person=False))
    truth = np.roll(scene(), 10, axis=1)
    np.testing.assert_array_equal(overlay(page, "grid", 2), painted(truth, person=False))
    assert overlay(page, "grid", 3).any()
    page.locator("#grid .chip[data-group=errors] .toggle").click()
    leave(page)
    assert not overlay(page, "grid", 3).any()
    assert viewer_data_attribute(page, "hidden", "grid") == "15,errors:2"
    assert viewer_data_attribute(page, "hidden") == ""  # the other viewer is another matter
    assert not page.locator("#grid .views").get_by_text("Compare").is_visible()
    narrow = page.locator("#grid .picture").nth(1).bounding_box()["width"]
    page.get_by_role("button", name="Enlarge Prediction").click()
    assert page.locator("#grid .picture").nth(1).bounding_box()["width"] > 1.5 * narrow


def test_sentences_where_there_is_nothing_to_show(page):
    page.locator("#one .views").get_by_text("Compare").click()
    update(page, "nothing")
    assert page.locator("#one .message").inner_text() == "I know only these 20 things."
    assert page.locator("#one .photo").is_visible() and page.locator("#one .chip").count() == 0
    update(page, "unknown photo")
    assert "choose it again" in page.locator("#one .message").inner_text()
    np.testing.assert_array_equal(overlay(page), painted(scene()))
    update(page, "clear")
    assert page.locator("#one .message").inner_text() == "Choose a photograph."
    assert viewer_data_attribute(page, "empty") == "true"
    update(page, "flip")
    assert viewer_data_attribute(page, "view") == "compare"
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1]))


def test_names_never_become_markup(page):
    update(page, "nasty")
    assert chip(page, PERSON).locator(".name").inner_text() == NASTY
    assert page.locator("#one .pill").first.inner_text() == NASTY
    assert page.title() != "hacked" and page.locator("#one img:not(.photo)").count() == 0


def test_damaged_labels_are_said_to_be_so(page, desktop):
    complaints = desktop[1]
    update(page, "damaged")
    assert "expected 81 x 60 labels, got 4800" in complaints.pop()
    assert "could not be shown" in page.locator("#one .message").inner_text()
    update(page, "flip")
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1]))


def test_the_picture_is_described(page):
    assert page.get_by_role("img", name="Overlay: person 50 %, dog 25 %").count() == 1
    chip(page, PERSON).locator(".toggle").click()
    assert page.get_by_role("img", name="Overlay: dog 25 %").count() == 1
    assert page.get_by_role("img", name="Ground truth: person 50 %, dog 25 %").count() == 1
    assert page.get_by_role("img", name="Photograph", exact=True).count() == 1


def test_phone(opened):
    page, complaints = opened(width=390, height=844, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stage, root = (page.locator(f"#one .{name}").bounding_box() for name in ("picture", "viewer"))
    assert stage["width"] == root["width"] and stage["y"] == root["y"]  # full width, and first
    heights = page.locator("#one :is(.views span, .toggle, .only, .names):visible").evaluate_all(
        "nodes => nodes.map(node => node.getBoundingClientRect().height)"
    )
    assert min(heights) >= 40
    tops = [each.bounding_box()["y"] for each in page.locator("#grid .picture").all()]
    assert tops == sorted(set(tops))  # stacked
    page.touchscreen.tap(stage["x"] + stage["width"] * 0.9, stage["y"] + stage["height"] * 0.6)
    assert page.locator("#one .tip").is_visible()  # stays though the finger is gone
    assert page.locator("#one .tip").inner_text() == "dog"
    page.touchscreen.tap(stage["x"] + 5, stage["y"] + stage["height"] + 90)
    assert not page.locator("#one .tip").is_visible()
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(opened, theme):
    page, complaints = opened(theme=theme)
    texts = page.locator("#one :is(.views span, .name, .note, .only, .opacity output, .names span)")
    contrasts = texts.evaluate_all(
        """nodes => {
            const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const luminance = (color) => {
                canvas.fillStyle = color;
                canvas.fillRect(0, 0, 1, 1);
                const linear = (c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
                const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(linear);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const backdrop = (node) => {
                const color = getComputedStyle(node).backgroundColor;
                return color === "rgba(0, 0, 0, 0)" ? backdrop(node.parentElement) : color;
            };
            return nodes.map((node) => {
                const [a, b] = [luminance(getComputedStyle(node).color), luminance(backdrop(node))];
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        }"""
    )
    assert len(contrasts) > 8 and min(contrasts) >= 4.5
    assert complaints == []
