"""A network of one's own on the page, in a real browser: its categories are none of VOC's, and one has a hard name."""

from __future__ import annotations

import pytest
from PIL import Image

from segcore.categories import Categories
from segcore.models import catalogue, checkpoint, loading
from tests.helpers.browser import LONG, PHOTOGRAPH, TRUTH, drawn, largest_class, panel_of, row, shows
from tests.helpers.colours import FOREIGN, LONG_NAME, photograph, write_coco
from tests.helpers.hub_server import running_hub
from tests.helpers.page_server import running_page
from tests.helpers.viewer import overlay

pytestmark = pytest.mark.page

MODEL = ("--model", "tests.helpers.colours:foreign")
HERE = {"PYTHONPATH": "."}


@pytest.fixture(scope="module")
def page_url(tmp_path_factory, no_downloads):
    """Where a page answers with the network, and with images that have its categories."""
    folder = write_coco(tmp_path_factory.mktemp("foreign"), FOREIGN)
    with running_page(*MODEL, "--dataset", str(folder), env=HERE) as page:
        yield page.url
        assert "Traceback" not in page.log() and "Warning" not in page.log()


@pytest.fixture
def colours(tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "colours.png")
    return tmp_path / "colours.png"


def upload(page, file):
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", file))


def names(page, selector):
    return set(page.locator(selector).all_text_contents())


def inside(page, selector):
    """Whether all of these lie within the width of the window."""
    script = "all => all.every((it) => it.getBoundingClientRect().right <= innerWidth + 1)"
    return page.locator(selector).evaluate_all(script)


def painted_at(page, across, down):
    """The colour of the overlay at a place of the photograph, by fractions, such as #8acaff."""
    painted = overlay(page, PHOTOGRAPH[1:])
    height, width = painted.shape[:2]
    return "#{:02x}{:02x}{:02x}".format(*painted[int(down * height), int(across * width), :3])


def test_names_and_colours_are_those_of_the_network(open_page, colours):
    page = open_page()
    upload(page, colours)
    assert names(page, "#photograph-table tbody th") == set(FOREIGN)
    assert names(page, f"{PHOTOGRAPH} .chip .name") == set(FOREIGN)
    for name, (across, down) in zip(FOREIGN, [(0.75, 0.25), (0.25, 0.75), (0.75, 0.75)], strict=True):
        chip = page.locator(f"{PHOTOGRAPH} .chip", has_text=name).locator(".swatch")
        assert chip.evaluate("it => it.style.getPropertyValue('--swatch')") == painted_at(page, across, down), name
    assert page.locator("b", has_text="bold").count() == 0  # a name is text


def test_binary_mode_looks_for_each_category(open_page, colours):
    page = open_page()
    upload(page, colours)
    panel = page.get_by_role("tabpanel").filter(visible=True)
    shows(page, PHOTOGRAPH, panel.get_by_role("radio", name="Binary").check)
    assert largest_class(page) == "any object" and row(page, "photograph-table", "any")[1] == "75 %"
    for name in FOREIGN:
        panel.get_by_label("Class", exact=True).click()
        option = page.get_by_role("option", name=name[:1].upper() + name[1:], exact=True)
        shows(page, PHOTOGRAPH, option.click)
        assert page.locator("#photograph-table tbody tr").all_inner_texts()[0].split("\t")[:2] == [name, "25 %"]


def test_a_long_name_hides_nothing(open_page, colours):
    page = open_page()
    upload(page, colours)
    for width, height in ((1280, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert inside(page, f"{PHOTOGRAPH} .chip .only") and inside(page, "#photograph-table td")
        picture = page.locator(f"{PHOTOGRAPH} .picture").bounding_box()
        label = page.locator(f"{PHOTOGRAPH} .pill", has_text=LONG_NAME).bounding_box()
        assert label["x"] + label["width"] <= picture["x"] + picture["width"]
        assert label["width"] < 250  # pixels


def test_scores_of_its_own_images(open_page):
    page = open_page()
    panel = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert page.inner_text("#truth-verdict").startswith(f"Found the sky, the water and the {LONG_NAME}.")
    assert names(page, "#truth-per-class table:first-of-type tbody th") >= set(FOREIGN)
    assert float(row(page, "truth-per-class", "sky")[1]) > 0.9
    assert "published" not in page.inner_text("#truth-overall").lower()  # nothing is, of such a network
    panel.get_by_role("button", name="Download").click()
    for label, suffix in (("Scores (CSV)", ".csv"), ("Scores (JSON)", ".json"), ("Figure (PNG)", ".png")):
        with page.expect_download() as download:
            panel.get_by_role("button", name=label).click()
        assert download.value.suggested_filename.endswith(suffix)
        if suffix != ".png":
            assert "sky" in download.value.path().read_text(encoding="utf-8")


def test_scores_of_a_whole_set(open_page):
    page = open_page()
    panel = panel_of(page, "A whole set")
    page.click("#set-start")
    page.wait_for_selector("#set-summary .report", timeout=LONG)
    assert "best at skies" in page.inner_text("#set-summary")
    labels = page.locator("#set-charts svg text").all_text_contents()
    assert "<b>bold</b> & a…" in labels and LONG_NAME not in labels
    panel.get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Report (HTML)").click()
    assert "&lt;b&gt;bold" in download.value.path().read_text(encoding="utf-8")


def test_images_of_other_things_are_refused_with_a_sentence(open_page):
    said = "This model knows other things than the ground truth of these images tells apart."
    with running_page(*MODEL, env=HERE) as running:
        page = open_page(running.url)
        panel_of(page, "COCO with ground truth")
        page.locator("#truth-notice", has_text=said).wait_for()
        panel_of(page, "A whole set")
        page.click("#set-start")
        page.locator("#set-notice", has_text=said).wait_for()
        page.context.close()
        assert "Traceback" not in running.log()


def test_a_model_of_the_hub(open_page, colours, tmp_path):
    network, names_of_it = loading.build_network(catalogue.SHIPPED, 4), ("sand", "sky", "water")
    file = tmp_path / "model.safetensors"
    header = checkpoint.Header(catalogue.SHIPPED, Categories.of(*names_of_it), 65, (0.5,) * 3, (0.2,) * 3, {})
    checkpoint.write(file, header, network.state_dict())
    with running_hub() as hub:
        hub.put("somebody/coast", {file.name: file.read_bytes()})
        cache = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "SEGCORE_OFFLINE": "0"}
        with running_page("--model", "hf:somebody/coast", env=cache) as running:
            page = open_page(running.url)
            upload(page, colours)
            assert names(page, f"{PHOTOGRAPH} .chip .name") <= set(names_of_it)  # its weights are random
            panel = page.get_by_role("tabpanel").filter(visible=True)
            shows(page, PHOTOGRAPH, panel.get_by_role("radio", name="Binary").check)
            panel.get_by_label("Class", exact=True).click()
            offered = {each.strip("✓ \n") for each in names(page, "[role=option]")}
            assert offered == {"Any object", "Sand", "Sky", "Water"}
            assert "somebody/coast" in page.inner_text("#photograph-provenance")
            page.context.close()
            assert "Traceback" not in running.log() and "Warning" not in running.log()
