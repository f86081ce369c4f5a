"""The model's confidence in the viewer, in a real browser."""

from __future__ import annotations

import matplotlib
import numpy as np

from tests.helpers.viewer import (
    DOG_COLOR,
    PERSON_COLOR,
    overlay,
    painted,
    pointed_at,
    scene,
    update,
    viewer_data_attribute,
)


def test_confidence_is_a_heat_map_with_matplotlibs_colours(page):
    assert not page.locator("#one .views").get_by_text("Confidence").is_visible()
    update(page, "judged")
    page.locator("#one .views").get_by_text("Confidence").click()
    cividis = matplotlib.colormaps["cividis"](np.array([0.9, 0.4]), bytes=True).astype(int)
    heat = overlay(page).astype(int)
    assert np.abs(heat[:, :38] - cividis[0]).max() <= 3 and np.abs(heat[:, 42:] - cividis[1]).max() <= 3
    assert page.locator("#one .ramp").is_visible()
    assert page.get_attribute("#one canvas.fill", "aria-label").startswith("How sure the model is: person 50 %")

    update(page, "flip")  # without probabilities
    assert viewer_data_attribute(page, "view") == "overlay" and not page.locator("#one .sure").is_visible()


def test_only_what_is_sure_enough_is_shown(page):
    update(page, "judged")
    page.locator("#one .views").get_by_text("Confidence").click()
    page.locator("#one [data-control=minimum]").fill("50")
    page.wait_for_selector("#one .viewer[data-minimum='50']")
    assert not overlay(page)[:, 42:].any() and overlay(page)[:, :38, 3].all()
    page.locator("#one .views").get_by_text("Overlay").click()
    shown = painted(scene(), person=PERSON_COLOR)
    np.testing.assert_array_equal(overlay(page)[:, :38], shown[:, :38])
    assert not overlay(page)[:, 42:].any()
    pills = page.locator("#one .pill").all()
    assert [pill.inner_text() for pill in pills if pill.is_visible()] == ["person"]
    assert page.locator("#one .minimum output").inner_text() == "50 %"
    page.locator("#one [data-control=minimum]").fill("0")
    page.wait_for_selector("#one .viewer[data-minimum='0']")
    np.testing.assert_array_equal(overlay(page), painted(scene(), person=PERSON_COLOR, dog=DOG_COLOR))
    assert not page.locator("#one .sure").is_visible()


def test_pointing_tells_the_likeliest_classes(page):
    update(page, "judged")
    pointed_at(page, 0.2, 0.5)
    assert page.locator("#one .tip").inner_text().split("\n") == ["person", "person", "90 %"]
    pointed_at(page, 0.8, 0.8)
    assert page.locator("#one .tip").inner_text().split("\n") == ["dog", "dog", "40 %", "background", "35 %"]
    pointed_at(page, 0.8, 0.2)
    assert page.locator("#one .tip").inner_text().split("\n")[0] == "background"
