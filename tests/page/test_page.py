"""The page in a real browser, as a visitor uses it."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from segcore.cli import main
from tests.helpers.browser import (
    PHOTOGRAPH,
    TRUTH,
    drawn,
    largest_class,
    network_runs,
    panel_of,
    pixels,
    row,
    shows,
    unfold_more_options,
    version,
)

pytestmark = pytest.mark.page

# Drops a file on the place for photographs, which the browser has no type for.
DROP = """base64 => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], "IMG_0001.HEIC"));
    const place = document.querySelector("#photograph-upload button");
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
DROP_SEVERAL = """files => {
    const transfer = new DataTransfer();
    for (const { name, data } of files) {
        transfer.items.add(new File([Uint8Array.from(atob(data), letter => letter.charCodeAt(0))], name));
    }
    const place = document.querySelector("#photograph-upload button");
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def test_opens_with_a_sample_and_its_result(open_page):
    page = open_page()

    assert row(page, "photograph-table", "person")[0] == "person"
    assert "DeepLabV3+, MobileNetV2" in page.inner_text("#photograph-provenance")


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
    assert "misses most people by the water" in page.inner_text("#photograph-warning")
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    assert page.inner_text("#photograph-credit").strip() == "Photograph: Snapwire · CC0 1.0"
    assert page.locator("#photograph-warning .notice").count() == 0

    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert "Flickr 8392128987" in page.inner_text("#truth-credit")
    shows(page, TRUTH, gull.click)
    assert "Flickr 100911501" in page.inner_text("#truth-credit")
    assert "misses most people by the water" in page.inner_text("#truth-warning")
    assert "boat" in page.inner_text("#truth-verdict")


def test_upload_then_every_control_without_running_the_network(open_page, examples_coco):
    page = open_page()
    dog = examples_coco / "samples" / "000000900005.jpg"
    runs = network_runs(page, "photograph") + 1

    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", dog))
    assert largest_class(page) == "dog"
    assert network_runs(page, "photograph") == runs

    painted = pixels(page, PHOTOGRAPH)
    page.locator(f"{PHOTOGRAPH} button[data-action=toggle]", has_text="dog").click()
    assert page.get_attribute(f"{PHOTOGRAPH} .viewer", "data-hidden") == "12"
    assert pixels(page, PHOTOGRAPH) != painted

    panel = page.get_by_role("tabpanel").filter(visible=True)
    shows(page, PHOTOGRAPH, lambda: panel.get_by_role("radio", name="Binary").check())
    everything = row(page, "photograph-table", "any")[1]
    panel.get_by_role("checkbox", name="Automatic threshold").uncheck()
    slider = panel.get_by_role("slider", name="Threshold")
    slider.focus()
    shows(page, PHOTOGRAPH, lambda: slider.press("End"))
    page.wait_for_function(
        "before => !document.querySelector('#photograph-table').innerText.includes(before)", arg=everything
    )
    assert network_runs(page, "photograph") == runs


def test_sharp_edges_are_there_for_photographs_and_for_scores_on_request(open_page, examples_coco):
    page = open_page()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    assert panel.get_by_role("checkbox", name="Sharp edges").count() == 0
    unfold_more_options(panel)
    box = panel.get_by_role("checkbox", name="Sharp edges")
    assert box.is_checked() and "sharp edges" in page.inner_text("#photograph-provenance")

    sharp, runs = pixels(page, PHOTOGRAPH), network_runs(page, "photograph")
    shows(page, PHOTOGRAPH, box.uncheck)
    assert pixels(page, PHOTOGRAPH) != sharp and "sharp edges" not in page.inner_text("#photograph-provenance")
    shows(page, PHOTOGRAPH, box.check)
    assert pixels(page, PHOTOGRAPH) == sharp and network_runs(page, "photograph") == runs

    truth = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    unfold_more_options(truth)
    box = truth.get_by_role("checkbox", name="Sharp edges")
    assert not box.is_checked() and "sharp edges" not in page.inner_text("#truth-provenance")
    own = page.inner_text("#truth-overall [data-score=boundary_iou]")
    shows(page, TRUTH, box.check)
    assert "sharp edges" in page.inner_text("#truth-provenance")
    assert page.inner_text("#truth-overall [data-score=boundary_iou]") != own


def test_a_truth_of_ones_own_is_scored_without_sharp_edges(open_page, examples_coco):
    page = open_page()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.get_by_role("button", name="Have the correct answer? Score this photo").click()
    annotations = examples_coco / "annotations" / "instances_samples.json"
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-truth-file input[type=file]", annotations))
    page.wait_for_function("!document.querySelector('#photograph-provenance').innerText.includes('sharp edges')")
    unfold_more_options(panel)
    assert not panel.get_by_role("checkbox", name="Sharp edges").is_checked()
    panel.get_by_role("button", name="Remove the truth").click()
    page.wait_for_function("document.querySelector('#photograph-provenance').innerText.includes('sharp edges')")


def test_several_photographs_at_once(open_page, examples_coco, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a photograph")
    samples = [examples_coco / "samples" / f"00000090000{number}.jpg" for number in (5, 2)]
    files = [samples[0], tmp_path / "notes.jpg", samples[1]]
    page = open_page()
    before = page.inner_text("#photograph-table")
    given = [{"name": each.name, "data": base64.b64encode(each.read_bytes()).decode()} for each in files]
    page.evaluate(DROP_SEVERAL, given)

    page.wait_for_selector("#several-notice .notice.error")
    assert "notes.jpg was left out: notes.jpg is not an image" in page.inner_text("#several-notice")
    captions = page.locator("#several-gallery .caption-label").all_inner_texts()
    assert [each.split(" ")[0] for each in captions] == ["dog", "cat"]
    page.wait_for_selector("#several-stop", state="hidden")
    assert page.inner_text("#photograph-table") == before

    shows(page, PHOTOGRAPH, page.locator("#several-gallery button").last.click)
    assert largest_class(page) == "cat" and "sample=" not in page.url
    with page.expect_download() as download:
        page.get_by_role("button", name="All files (ZIP)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 6 and archive.testzip() is None


def test_a_file_that_is_no_image_is_named_and_nothing_is_lost(open_page, tmp_path):
    page = open_page()
    (tmp_path / "notes.jpg").write_text("not a photograph")
    before = page.inner_text("#photograph-table")

    page.set_input_files("#photograph-upload input[type=file]", tmp_path / "notes.jpg")

    page.wait_for_selector("#photograph-notice .notice.error")
    assert "notes.jpg is not an image" in page.inner_text("#photograph-notice")
    assert page.inner_text("#photograph-table") == before
    shows(page, PHOTOGRAPH, lambda: page.locator("#photograph-samples button").nth(1).click())
    assert page.locator("#photograph-notice .notice").count() == 0


def test_an_iphone_photograph_opens_like_any_other(open_page, examples_coco):
    pillow_heif = pytest.importorskip("pillow_heif")
    heic = io.BytesIO()
    with Image.open(examples_coco / "samples" / "000000900005.jpg") as photograph:
        pillow_heif.from_pillow(photograph).save(heic)
    file = {"name": "IMG_0001.HEIC", "mimeType": "application/octet-stream", "buffer": heic.getvalue()}
    page = open_page()

    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", file))
    assert largest_class(page) == "dog"

    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Cat", exact=True).filter(visible=True).click)
    assert largest_class(page) == "cat"
    shows(page, PHOTOGRAPH, lambda: page.evaluate(DROP, base64.b64encode(heic.getvalue()).decode()))
    assert largest_class(page) == "dog"


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


def test_downloads_are_full_size_and_exact(open_page, tmp_path):
    page = open_page()
    rgb = np.random.default_rng(0).integers(0, 255, (300, 2000, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(rgb).save(tmp_path / "wide.jpg", exif=exif)
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", tmp_path / "wide.jpg"))
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.get_by_role("button", name="Download").click()

    files = {}
    for label in ("Label map (PNG)", "Overlay (JPEG)", "Cut-out, soft edges (PNG)", "JSON with COCO RLE"):
        with page.expect_download() as download:
            panel.get_by_role("button", name=label).click()
        name = download.value.suggested_filename
        files[name] = tmp_path / "taken" / name
        download.value.save_as(files[name])

    assert set(files) == {"wide_labels.png", "wide_overlay.jpg", "wide_cutout.png", "wide.json"}
    for name, mode in {"wide_labels.png": "P", "wide_overlay.jpg": "RGB", "wide_cutout.png": "RGBA"}.items():
        with Image.open(files[name]) as image:
            assert (image.mode, image.size) == (mode, (2000, 300))
            assert not image.getexif()
    record = json.loads(files["wide.json"].read_text())
    labels = np.asarray(Image.open(files["wide_labels.png"]))
    assert {each["id"]: each["pixels"] for each in record["classes"]} == {
        int(number): int((labels == number).sum()) for number in np.unique(labels) if number
    }


def test_downloads_leave_out_what_is_hidden(open_page, tmp_path):
    page = open_page()
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.get_by_role("button", name="Download").click()
    page.locator(f"{PHOTOGRAPH} button[data-action=toggle]", has_text="dog").click()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Black-and-white mask (PNG)").click()
    with Image.open(download.value.path()) as mask:
        assert mask.size == (512, 512) and not np.asarray(mask).any()
    page.locator(f"{PHOTOGRAPH} button[data-action=only]").first.click()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Label map (PNG)").click()
    with Image.open(download.value.path()) as labels:
        assert set(np.unique(np.asarray(labels))) == {0, 12}


def test_bring_your_own_truth(open_page, examples_coco, tmp_path):
    page = open_page()
    dog = examples_coco / "samples" / "000000900005.jpg"
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", dog))
    runs = network_runs(page, "photograph")
    panel = page.get_by_role("tabpanel").filter(visible=True)
    unfold_more_options(panel)
    shows(page, PHOTOGRAPH, panel.get_by_role("checkbox", name="Sharp edges").uncheck)  # as it will be scored
    panel.get_by_role("button", name="Download").click()
    assert panel.get_by_role("button", name="Scores (JSON)").count() == 0
    with page.expect_download() as download:
        panel.get_by_role("button", name="Label map (PNG)").click()
    download.value.save_as(tmp_path / "labels.png")
    panel.get_by_role("button", name="Have the correct answer? Score this photo").click()
    truth = "#photograph-truth-file input[type=file]"

    shows(page, PHOTOGRAPH, lambda: page.set_input_files(truth, tmp_path / "labels.png"))
    assert page.locator(f"{PHOTOGRAPH} figcaption > span").all_inner_texts() == [
        *("Photograph", "Prediction", "Ground truth", "Errors")
    ]
    assert page.inner_text("#photograph-overall [data-score=pixel_accuracy]") == "1.0000"
    assert "Found: dog." in page.inner_text("#photograph-verdict")
    assert "Read as a label map of VOC ids: dog." in page.inner_text("#photograph-read-as")

    Image.new("L", (640, 480)).save(tmp_path / "other.png")
    page.set_input_files(truth, tmp_path / "other.png")
    page.wait_for_selector("#photograph-truth-notice .notice.error")
    said = page.inner_text("#photograph-truth-notice")
    assert said == "the mask is 640 x 480, but the photograph is 512 x 512; give a mask of the photograph's own size"
    assert page.inner_text("#photograph-overall [data-score=pixel_accuracy]") == "1.0000"

    shows(page, PHOTOGRAPH, lambda: panel.get_by_role("radio", name="Binary").check())
    assert page.locator("#photograph-truth-notice .notice").count() == 0
    assert page.inner_text("#photograph-overall").count("IoU of any object") == 1
    assert network_runs(page, "photograph") == runs
    with page.expect_download() as download:
        panel.get_by_role("button", name="Scores (JSON)").click()
    record = json.loads(download.value.path().read_text())
    assert (record["split"], record["mode"], record["pixel_accuracy"]) == ("your own truth", "binary", 1)

    shows(page, PHOTOGRAPH, lambda: panel.get_by_role("button", name="Remove the truth").click())
    assert page.get_attribute(f"{PHOTOGRAPH} .viewer", "data-layout") == "single"
    assert page.locator("#photograph-overall table, #photograph-verdict .verdict").count() == 0


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
