"""The page in a real browser, as a visitor uses it."""

from __future__ import annotations

import json

import pytest

from segcore.cli import main
from tests.helpers.browser import (
    PHOTOGRAPH,
    TRUTH,
    drawn,
    largest_class,
    network_runs,
    panel_of,
    row,
    shows,
    unfold_more_options,
    version,
)
from tests.helpers.plain_http import ask

pytestmark = pytest.mark.page


def test_opens_with_a_sample_and_its_result(open_page):
    page = open_page()

    assert row(page, "photograph-table", "person")[0] == "person"
    assert "DeepLabV3+, MobileNetV2" in page.inner_text("#photograph-provenance")


def test_the_page_travels_compressed(page_url):
    whole = len(ask(page_url)[2])
    _, headers, _ = ask(page_url, Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert int(headers["Content-Length"]) < whole / 3


def test_opening_the_page_and_known_samples_run_no_network(open_page):
    first = open_page()
    shows(first, PHOTOGRAPH, first.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    panel_of(first, "COCO with ground truth")
    drawn(first, TRUTH)

    page = open_page()
    assert network_runs(page, "photograph") == 0
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    assert largest_class(page) == "dog" and network_runs(page, "photograph") == 0
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert network_runs(page, "truth") == 0


def test_samples_have_names_and_credits(open_page):
    page = open_page()
    credit = page.locator("#photograph-credit a")
    assert credit.all_inner_texts() == ["Flickr 8392128987", "CC BY 2.0", "COCO 2017", "CC BY 4.0"]
    assert credit.first.get_attribute("href") == "https://www.flickr.com/photo.gne?id=8392128987"
    gull = page.get_by_role("button", name="Gull over a beach", exact=True).filter(visible=True)
    shows(page, PHOTOGRAPH, gull.click)
    assert "misses the people by the water" in page.inner_text("#photograph-warning")
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    assert page.inner_text("#photograph-credit").strip() == "Photograph: Snapwire · CC0 1.0"
    assert page.locator("#photograph-warning .notice").count() == 0

    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert "Flickr 8392128987" in page.inner_text("#truth-credit")
    shows(page, TRUTH, gull.click)
    assert "Flickr 100911501" in page.inner_text("#truth-credit")
    assert "misses the people by the water" in page.inner_text("#truth-warning")
    assert "boat" in page.inner_text("#truth-verdict")


def test_scores_are_those_of_the_command_line(open_page, examples_coco, tmp_path):
    page = open_page()
    panel = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    shows(page, TRUTH, lambda: page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click())
    unfold_more_options(panel)
    assert panel.get_by_role("radio", name="Original size").is_checked()
    check_scores(page, examples_coco, tmp_path, "original")
    shows(page, TRUTH, panel.get_by_role("radio", name="torchvision's").check)
    check_scores(page, examples_coco, tmp_path, "torchvision")


def check_scores(page, examples_coco, tmp_path, protocol):
    options = ["--dataset", str(examples_coco), "--image-ids", "900005", "--protocol", protocol]
    assert main.main(["evaluate", *options, "--json", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())

    for key, value in scores["dataset"].items():
        shown = page.inner_text(f"#truth-overall [data-score={key}]")
        assert shown == ("N/A" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"), key
    for name in ("dog", "background"):
        assert row(page, "truth-per-class", name)[1] == f"{scores['per_class'][name]['iou']:.4f}"


def test_mode_and_going_back_run_no_network(open_page):
    page = open_page()
    panel = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    runs = network_runs(page, "truth")

    shows(page, TRUTH, lambda: panel.get_by_role("radio", name="Binary").check())
    assert page.locator("#truth-overall").inner_text().count("IoU of any object") == 1
    assert network_runs(page, "truth") == runs
    unfold_more_options(panel)
    shows(page, TRUTH, lambda: panel.get_by_role("radio", name="Keep the shape").check())
    assert network_runs(page, "truth") == runs + 1
    shows(page, TRUTH, lambda: panel.get_by_role("radio", name="Squeeze to 520 × 520").check())
    assert network_runs(page, "truth") == runs + 1


def test_the_kinds_of_error_add_up_to_the_picture(open_page):
    page = open_page()
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)

    table = page.locator("#truth-per-class table").last
    counts = [int(cell.replace(",", "")) for cell in table.locator("td:nth-child(2)").all_inner_texts()]

    assert sum(counts[:-1]) == counts[-1] == 640 * 424


def test_the_guide_shows_what_an_iou_looks_like(open_page):
    page = open_page()
    guide = panel_of(page, "Guide")
    captions = guide.locator("figcaption").all_inner_texts()
    assert [each[0:3] + each[4:] for each in captions] == ["0.5 rough", "0.7 good", "0.9 excellent"]
    said, slider = guide.locator(".said"), guide.get_by_label("Moved aside by")
    assert said.inner_text() == "IoU 0.50: rough"
    guide.get_by_role("button", name="0.9 excellent").click()
    assert said.inner_text() == "IoU 0.90: excellent"
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert said.inner_text() == "IoU 0.74: rough"  # moved by 15.26 of 100: 84.74 / 115.26
    square = guide.locator(".try rect.prediction").bounding_box()
    page.mouse.move(square["x"] + square["width"] / 2, square["y"] + square["height"] / 2)
    page.mouse.down()
    page.mouse.move(square["x"] + square["width"] * 3, square["y"] + square["height"] / 2)
    page.mouse.up()
    assert said.inner_text() == "IoU 0.00: poor"


def test_filter_the_gallery_by_class(open_page):
    page = open_page()
    panel = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert page.locator("#truth-gallery button").count() == 18

    panel.get_by_label("Images with").click()
    page.get_by_role("option", name="Dog").click()

    page.wait_for_function("document.querySelectorAll('#truth-gallery button').length === 1")
    page.wait_for_function("document.querySelector('#truth-gallery button').ariaLabel === 'Dog'")
    shows(page, TRUTH, lambda: page.locator("#truth-gallery button").click())
    assert "dog" in page.inner_text("#truth-verdict")


def test_two_visitors_see_their_own(open_page, examples_coco):
    one, other = open_page(), open_page()
    samples = examples_coco / "samples"

    before = version(one, PHOTOGRAPH), version(other, PHOTOGRAPH)
    one.set_input_files("#photograph-upload input[type=file]", samples / "000000900002.jpg")
    other.set_input_files("#photograph-upload input[type=file]", samples / "000000900005.jpg")
    drawn(one, PHOTOGRAPH, after=before[0])
    drawn(other, PHOTOGRAPH, after=before[1])

    assert largest_class(one) == "cat"
    assert largest_class(other) == "dog"
    other_panel = other.get_by_role("tabpanel").filter(visible=True)
    shows(other, PHOTOGRAPH, lambda: other_panel.get_by_role("radio", name="Binary").check())
    assert largest_class(other) == "any object"
    assert largest_class(one) == "cat"


def test_impatient_clicks_end_in_what_was_asked_last(open_page):
    page = open_page()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    for name in ("Parrot", "Cat", "Astronaut", "Astronaut", "Dog", "Dog"):
        page.get_by_role("button", name=name, exact=True).filter(visible=True).click()
    for name in ("Binary", "Multiclass", "Binary", "Multiclass"):
        panel.get_by_role("radio", name=name).check()

    page.wait_for_function("document.querySelector('#photograph-table tbody th')?.innerText === 'dog'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(open_page, scheme):
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for tab in ("Your photograph", "COCO with ground truth", "Guide"):
        page.get_by_role("tab", name=tab).click()
        if tab.startswith("COCO"):
            drawn(page, TRUTH)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")


def test_a_photograph_stays_however_many_the_other_tab_has_shown(open_page):
    page = open_page()
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    for number in (1, 2, 3, 4, 5, 6, 7, 8):
        shows(page, TRUTH, lambda number=number: page.locator("#truth-gallery button").nth(number).click())

    panel = panel_of(page, "Your photograph")
    shows(page, PHOTOGRAPH, lambda: panel.get_by_role("radio", name="Binary").check())

    assert page.locator(f"{PHOTOGRAPH} img.photo").evaluate("image => image.naturalWidth") == 640
    assert "no longer" not in page.inner_text(f"{PHOTOGRAPH} .message")
