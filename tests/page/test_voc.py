"""A folder in PASCAL VOC's layout on the page: its images with their truth, its classes, the whole set."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from PIL import Image

from demo.answers import ground_truth, whole_set
from demo.answers.datasets import SAMPLES, Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Thumbnails
from demo.answers.whole_set import Wanted, evaluate_set
from demo.markup import set_tables
from segcore.cli import main
from segcore.errors import AnnotationError
from segcore.inference.task import Task
from segcore.report import terms
from tests.helpers.browser import TRUTH, drawn, panel_of, row, shows
from tests.helpers.page_server import running_page
from tests.helpers.voc_folder import boxes, label_file, write_voc

CAT, PERSON = 8, 15
A, B, C = "2007_000042", "2007_000061", "2008_000009"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, examples_coco):
    """A sample of a cat and one of a person with made-up label maps, and one that has none."""
    folder = tmp_path_factory.mktemp("page") / "voc"
    wide = boxes((160, 240), (CAT, 15, 25, 140, 190), (255, 138, 20, 145, 195))
    write_voc(folder, {A: wide, B: boxes((128, 128), (PERSON, 20, 30, 128, 100)), C: boxes((50, 40))})
    for name, number, size in ((A, 2, (240, 160)), (B, 1, (128, 128))):
        photograph = Image.open(examples_coco / "samples" / f"00000090000{number}.jpg").resize(size)
        photograph.save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
    label_file(folder, C).unlink()
    return folder


@pytest.fixture(scope="module")
def pool(no_downloads):
    return ModelPool(offline=True)


@pytest.fixture(scope="module")
def datasets(folder, examples_coco, tmp_path_factory):
    return Datasets(folder, examples_coco, tmp_path_factory.mktemp("none"))


@pytest.fixture
def record(folder, tmp_path, capsys):
    """What the command line says of the first two images."""
    file = tmp_path / "scores.json"
    assert main.main(["evaluate", "--dataset", str(folder), "--limit", "2", "--json", str(file)]) == 0
    return json.loads(file.read_text())


@pytest.mark.slow
def test_one_image_is_scored_as_on_the_command_line(pool, datasets, record):
    compared = ground_truth.compare(pool, None, datasets.get("own:val"), A, "auto", "original", "squeeze")
    view = ground_truth.view_compared(compared, Task(), "original")
    [expected, _] = record["per_image"]
    del expected["brightness"]  # it tells the images of a set apart
    assert {key: view.record[key] for key in expected} == expected
    assert view.record["objects"] is None
    assert view.verdict.startswith("Found") and "object" not in view.verdict
    assert view.warning == terms.NO_OBJECTS
    np.testing.assert_array_equal(view.truth, np.asarray(Image.open(label_file(compared.dataset.folder, A))))


def test_a_broken_truth_is_told_when_it_is_picked_and_hides_nothing_else(pool, datasets):
    dataset = datasets.get("own:val")
    thumbnails = Thumbnails(datasets.get(SAMPLES))
    captions = [thumbnails.sample(dataset, image).caption for image in dataset.images]
    assert captions == ["cat", "person", "its truth cannot be read"]
    with pytest.raises(AnnotationError, match=f"there is no SegmentationClass/{C}.png"):
        ground_truth.compare(pool, None, dataset, C, "auto", "original", "squeeze")


@pytest.mark.slow
def test_a_whole_set_says_why_objects_are_not_counted(pool, datasets, record, tmp_path):
    wanted = Wanted("own:val", 3, Task(), "original", "squeeze", "auto")
    *_, outcome = evaluate_set(pool, datasets, wanted, tmp_path / "kept", threading.Event())
    assert outcome.record["confusion"] == record["confusion"] and outcome.record["objects"] is None
    assert [each["image_id"] for each in outcome.record["skipped"]] == [C]
    shown = set_tables.summary(outcome) + set_tables.charts(outcome)
    assert terms.NO_OBJECTS in shown
    for told in ("Objects found", "Which objects are found", "0 of 0"):
        assert told not in shown
    for suffix in whole_set.DOWNLOADS:
        text = whole_set.write_download(pool, datasets, outcome, suffix, tmp_path).read_text(encoding="utf-8")
        assert A in text and "0 of 0" not in text


@pytest.mark.slow
def test_other_protocols_and_binary_mode(pool, datasets):
    for name, size_hw in (("report", (520, 520)), ("torchvision", (520, 780))):
        compared = ground_truth.compare(pool, None, datasets.get("own:val"), A, "auto", name, "squeeze")
        view = ground_truth.view_compared(compared, Task("binary", "cat"), name)
        assert view.truth.shape == size_hw and view.record["objects"] is None


@pytest.fixture(scope="module")
def page_url(folder, no_downloads):
    """Where a page answers whose images are the folder's."""
    with running_page("--dataset", str(folder)) as page:
        yield page.url
        assert "Traceback" not in page.log() and "Warning" not in page.log()


@pytest.mark.page
def test_in_a_browser(record, open_page):
    page = open_page()
    panel = panel_of(page, "PASCAL VOC with ground truth")
    drawn(page, TRUTH)
    assert "val (voc)" in panel.get_by_label("Images from").input_value()
    assert page.locator("#truth-gallery button").count() == 3
    assert row(page, "truth-per-class", "cat")[1] != "N/A"
    assert terms.NO_OBJECTS in page.inner_text("#truth-warning")

    panel.get_by_label("Images with").click()
    page.get_by_role("option", name="person").click()
    page.wait_for_function("document.querySelectorAll('#truth-gallery button').length === 1")
    shows(page, TRUTH, lambda: page.locator("#truth-gallery button").first.click())
    assert row(page, "truth-per-class", "person")[1] == f"{record['per_class']['person']['iou']:.4f}"

    panel_of(page, "A whole set")
    page.click("#set-start")
    page.wait_for_selector("#set-summary .report")
    told = page.inner_text("#set-summary")
    assert terms.NO_OBJECTS in told and f"{record['dataset']['foreground_mean_iou']:.2f}" in told
    assert "1 image could not be read" in told


def test_the_endpoint_takes_names(record, page_url):
    client = pytest.importorskip("gradio_client").Client(page_url, verbose=False)
    *pictures, result = client.predict(A, api_name="/evaluate_coco")
    assert len(pictures) == 3 and result["image_id"] == A and result["objects"] is None
    assert result["pixel_accuracy"] == record["per_image"][0]["pixel_accuracy"]
    with pytest.raises(Exception, match="no image '2007' in val; its 3 names go from"):
        client.predict("2007", api_name="/evaluate_coco")
