"""A photograph of one's own, or several, on the page in a real browser: uploads, truth, and downloads."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

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
)

pytestmark = pytest.mark.page

# Drops files on the place for photographs. The browser knows no type for them.
DROP = """files => {
    const transfer = new DataTransfer();
    for (const { name, data } of files) {
        transfer.items.add(new File([Uint8Array.from(atob(data), letter => letter.charCodeAt(0))], name));
    }
    const place = document.querySelector("#photograph-upload button");
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def drop(page, files):
    """Drop files, given as bytes by their names."""
    given = [{"name": name, "data": base64.b64encode(content).decode()} for name, content in files.items()]
    page.evaluate(DROP, given)


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
    assert not box.is_checked() and "not sharpened" in page.inner_text("#truth-provenance")
    own = page.inner_text("#truth-overall [data-score=boundary_iou]")
    shows(page, TRUTH, box.check)
    said = page.inner_text("#truth-provenance")
    assert "sharp edges" in said and "not sharpened" not in said
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
    drop(page, {each.name: each.read_bytes() for each in files})

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
    shows(page, PHOTOGRAPH, lambda: drop(page, {"IMG_0001.HEIC": heic.getvalue()}))
    assert largest_class(page) == "dog"


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


@pytest.mark.parametrize("language", ["en", "de"])
def test_an_overlay_has_the_names_that_are_on_the_screen(open_page, language):
    page = open_page(locale=language)
    viewer, panel = page.locator(PHOTOGRAPH), page.get_by_role("tabpanel").filter(visible=True)
    panel.get_by_role("button", name={"en": "Download", "de": "Herunterladen"}[language]).click()

    def overlay():
        with page.expect_download() as download:
            panel.get_by_role("button", name="JPEG").first.click()
        with Image.open(download.value.path()) as picture:
            return np.asarray(picture).astype(int)

    def behind_names(pixels):
        return abs(pixels - (16, 18, 23)).max(-1) < 8

    viewer.locator("button[data-action=only]").first.click()
    assert viewer.locator(".pill:visible").count() == 1
    named = behind_names(overlay())
    viewer.locator("[data-control=names]").uncheck()
    plain = behind_names(overlay())
    rows, columns = np.nonzero(named & ~plain)
    top, bottom, left, right = *np.percentile(rows, [5, 95]), *np.percentile(columns, [5, 95])
    assert len(rows) > 300 and 5 < bottom - top < 40 and 20 < right - left < 200  # one name

    viewer.locator("button[data-action=toggle]").first.click()  # the only class
    unpainted = overlay()
    viewer.locator("[data-control=names]").check()
    assert viewer.locator(".pill:visible").count() == 0
    assert np.array_equal(overlay(), unpainted)


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


def test_photographs_that_are_dropped_while_others_are_segmented_come_next(open_page, examples_coco):
    page = open_page()
    file = (examples_coco / "samples" / "000000900005.jpg").read_bytes()
    drop(page, {f"a{number}.jpg": file for number in range(5)})
    page.wait_for_selector("#several-stop")
    drop(page, {f"b{number}.jpg": file for number in range(2)})
    page.wait_for_timeout(500)
    assert page.locator("#several-stop").is_visible()
    page.wait_for_function("document.querySelectorAll('#several-gallery button').length === 5")
    page.wait_for_function("document.querySelectorAll('#several-gallery button').length === 2")
