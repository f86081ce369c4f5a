"""The tab for a whole set in a real browser, as a visitor uses it."""

from __future__ import annotations

import io
import json
import re
import shutil
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from demo.answers import whole_set
from segcore.cli import main
from segcore.errors import WeightsError
from segcore.models import loading
from segcore.truth.coco import CocoDataset
from tests.helpers.browser import (
    LONG,
    PHOTOGRAPH,
    TRUTH,
    ask_for,
    drawn,
    hold_the_answer,
    panel_of,
    shows,
    unfold_more_options,
)
from tests.helpers.misbehaving_server import MisbehavingServer
from tests.helpers.page_server import page_here, running_page

pytestmark = pytest.mark.page

SUMMARY = "#set-summary .report"


@pytest.fixture
def open_set(open_page):
    """Open the tab for a new visitor: the page, and the tab's panel."""

    def open_one(**options):
        page = open_page(**options)
        return page, panel_of(page, "A whole set")

    return open_one


def score(page):
    page.click("#set-start")
    page.wait_for_selector(SUMMARY, timeout=LONG)
    page.wait_for_selector("#set-start:not([disabled])")


def card(page, name):
    """The number on one of the cards above the findings."""
    return page.locator(f"{SUMMARY} .cards > div", has_text=name).locator("b").inner_text()


def score_row(page, name):
    """The numbers in the table of scores."""
    cells = page.locator("#set-charts tr", has=page.locator("th", has_text=re.compile(f"^{name}")))
    return cells.first.locator("td").all_inner_texts()


def test_scores_of_a_set_are_those_of_the_command_line(open_set, examples_coco, tmp_path):
    page, panel = open_set()
    assert "How good is the model on many images?" in page.inner_text("#set-summary")
    ask_for(panel, 3)
    score(page)

    file = tmp_path / "scores.json"
    assert main.main(["evaluate", "--dataset", str(examples_coco), "--limit", "3", "--json", str(file)]) == 0
    record = json.loads(file.read_text())
    low, high = record["intervals"]["dataset"]["pixel_accuracy"]
    assert score_row(page, "Pixel accuracy")[:2] == [
        f"{record['dataset']['pixel_accuracy']:.4f}",
        f"{low:.4f}\u00a0to\u00a0{high:.4f}",
    ]
    assert card(page, "Mean IoU of the objects") == f"{record['dataset']['foreground_mean_iou']:.2f}"
    objects = record["objects"]
    assert f"{objects['found']} of {objects['total']}" in page.inner_text(SUMMARY)
    assert page.locator("#set-charts svg").count() == 4
    for suffix, label in ((".csv", "Scores (CSV)"), (".json", "Scores (JSON)"), (".html", "Report (HTML)")):
        if suffix == ".csv":
            panel.get_by_role("button", name="Download").click()
        with page.expect_download() as download:
            panel.get_by_role("button", name=label).click()
        assert download.value.suggested_filename == f"samples_deeplabv3_mobilenet_v2{suffix}"


def test_an_image_of_the_set_opens_where_it_can_be_looked_at(open_set):
    page, panel = open_set()
    ask_for(panel, 3)
    panel.get_by_role("radio", name="Binary").check()
    score(page)
    assert card(page, "IoU of any object")
    worst = page.locator("#set-worst button")
    assert worst.count() == 3

    worst.first.click()
    drawn(page, TRUTH)
    truth = page.get_by_role("tabpanel").filter(visible=True)
    assert truth.get_by_role("radio", name="Binary").is_checked()
    iou = page.inner_text("#truth-overall [data-score=foreground_mean_iou]")
    shown = page.evaluate("document.querySelector('#set-worst .caption-label').textContent")
    assert f"{float(iou):.2f} ·" in shown
    page.get_by_role("tab", name="A whole set").click()
    shows(page, TRUTH, lambda: worst.nth(1).click())
    page.get_by_role("tab", name="A whole set").click()
    doubtful = page.locator("#set-doubtful button")
    qualities = [
        float(each.partition(" ·")[0]) for each in page.locator("#set-doubtful .caption-label").all_inner_texts()
    ]
    assert len(qualities) == 3 and qualities == sorted(qualities)
    shows(page, TRUTH, lambda: doubtful.first.click())

    page.get_by_role("tab", name="A whole set").click()
    choose(page, panel, "Images behind the score of", "any object")
    gallery_says(page, "Most wrong pixels of any object")
    choose(page, panel, "Taken for", "background")
    gallery_says(page, "Most any object taken for background")
    assert re.fullmatch(r"[\d,]+ pixels? · .+", page.locator("#set-worst .caption-label").first.inner_text())
    shows(page, TRUTH, lambda: worst.first.click())
    page.get_by_role("tab", name="A whole set").click()
    choose(page, panel, "Images behind the score of", "All classes")
    gallery_says(page, "The worst: pick one to see why")
    assert page.evaluate("document.querySelector('#set-worst .caption-label').textContent") == shown


def test_a_zip_of_label_maps_is_scored_instead_of_the_model(open_set, examples_coco, tmp_path):
    dataset = CocoDataset.open(examples_coco)
    file = tmp_path / "rival.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for image in dataset.images[:2]:
            labels = dataset.truth(image.id)
            picture = io.BytesIO()
            Image.fromarray(np.where(labels == 255, 0, labels).astype(np.uint8)).save(picture, "PNG")
            archive.writestr(image.file_name.replace(".jpg", ".png"), picture.getvalue())
    page, panel = open_set()
    ask_for(panel, 3)
    panel.get_by_role("button", name="Score label maps of another program").click()
    page.set_input_files("#set-label-maps input[type=file]", file)
    panel.locator("#set-label-maps", has_text="rival").wait_for()
    score(page)
    assert "label maps in rival.zip" in page.inner_text("#set-provenance")
    assert score_row(page, "Pixel accuracy")[0] == "1.0000"
    page.locator("#set-summary summary", has_text="Left out: 1 image").click()
    assert "there is no file" in page.inner_text("#set-summary details")
    gallery_says(page, "The worst: pick one to see its truth and what the model makes of it")
    page.locator("#set-worst button").first.click()
    drawn(page, TRUTH)


def choose(page, panel, label, option):
    panel.get_by_label(label, exact=True).click()
    page.wait_for_function("document.querySelectorAll('[role=listbox]').length === 1")  # the last one has closed
    page.get_by_role("option", name=option, exact=True).click()


def gallery_says(page, label):
    page.locator("#set-worst", has_text=label).wait_for()


def test_stopped_it_shows_what_is_done_and_goes_on_from_there(open_set):
    page, panel = open_set()
    unfold_more_options(panel)
    panel.get_by_role("radio", name="Keep the shape").check()
    ask_for(panel, 9)
    page.click("#set-start")
    page.click("#set-stop")
    page.wait_for_selector(f"{SUMMARY}, #set-notice .notice", timeout=LONG)
    said = page.inner_text("#set-summary") + page.inner_text("#set-notice")
    assert re.search(r"Stopped: this is of \d images? of 9|Stopped before any image was scored", said)
    page.wait_for_selector("#set-stop", state="hidden")
    page.click("#set-start")
    page.wait_for_function("document.querySelector('#set-summary').innerText.includes('With 9 images')", timeout=LONG)
    assert "Stopped" not in page.inner_text("#set-summary")


def test_photographs_are_answered_while_a_set_is_scored(open_page, open_set):
    page, panel = open_set()
    unfold_more_options(panel)
    panel.get_by_role("radio", name="torchvision's").check()
    ask_for(panel, 9)
    other = open_page()
    page.dblclick("#set-start")
    shows(other, PHOTOGRAPH, lambda: other.locator("#photograph-samples button").nth(3).click())
    page.wait_for_selector(SUMMARY, timeout=LONG)


@pytest.fixture(scope="module")
def more_than_the_samples(examples_coco, tmp_path_factory):
    """A folder in COCO's layout with three images more than the samples, and how many the samples are."""
    folder = tmp_path_factory.mktemp("more")
    document = json.loads((examples_coco / "annotations" / "instances_samples.json").read_text())
    samples = len(document["images"])
    shutil.copytree(examples_coco / "samples", folder / "samples")
    for each in document["images"][:3]:
        copy = each | {"id": each["id"] + 10**6, "file_name": f"copy_of_{each['file_name']}"}
        shutil.copy(folder / "samples" / each["file_name"], folder / "samples" / copy["file_name"])
        document["images"].append(copy)
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_samples.json").write_text(json.dumps(document))
    return folder, samples


def test_a_click_that_overtakes_the_answer_to_the_click_before_is_answered(open_page, more_than_the_samples):
    folder, samples = more_than_the_samples
    with running_page("--dataset", str(folder)) as running:
        page = open_page(url=running.url)
        panel = panel_of(page, "A whole set")
        number = panel.get_by_label("number input for How many", exact=True)
        assert number.input_value() == str(samples + 3)
        held = hold_the_answer(page, "on_dataset")
        panel.get_by_label("Images", exact=True).click()
        page.get_by_role("option", name="The samples").click()
        held.wait()
        score(page)
        assert f"{samples} images" in page.inner_text(SUMMARY)
        held.release()
        page.wait_for_function("([it, most]) => it.value === most", arg=[number.element_handle(), str(samples)])
        page.context.close()
        assert "Traceback" not in running.log()


class Held:
    """Takes the place of scoring: lasts until it is let go, and then fails."""

    def __init__(self):
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, *_):
        yield whole_set.Progress("a model", 1, 4, None)
        self.begun.set()
        assert self.released.wait(600)
        raise RuntimeError("out of memory")


def ended_with(page, sentence):
    """What was asked for came to its end with a sentence, and all can be asked for again."""
    page.locator("#set-notice .notice", has_text=sentence).wait_for()
    page.wait_for_selector("#set-start:not([disabled])")
    page.wait_for_selector("#set-stop", state="hidden")
    assert page.locator("#set-progress progress").count() == 0


def test_a_scoring_in_the_line_says_where_it_is_and_is_stopped(open_page, no_downloads, tmp_path, monkeypatch):
    monkeypatch.setattr(whole_set, "evaluate_set", held := Held())
    with page_here(tmp_path) as url:
        first, second = open_page(url=url), open_page(url=url)
        for page in (first, second):
            panel_of(page, "A whole set")
        first.click("#set-start")
        assert held.begun.wait(600)
        second.click("#set-start")
        waiting = second.locator("#set-progress", has_text="Waiting for other evaluations: 1 ahead of you, about")
        waiting.wait_for()
        second.click("#set-stop")
        ended_with(second, "Stopped before any image was scored.")
        assert first.locator("#set-stop").is_visible() and first.locator("#set-start").is_disabled()
        held.released.set()
        ended_with(first, "The scoring has failed. The scores so far are kept")
        for page in (first, second):
            page.context.close()


def test_a_scoring_that_is_refused_says_so(chromium, page_url):
    page = chromium.new_page()
    page.set_default_timeout(LONG)
    page.goto(page_url)
    drawn(page, PHOTOGRAPH)
    panel_of(page, "A whole set")
    full = {"status": 503, "json": {"detail": "Queue is full. Max size is 8 and size is 8."}}
    page.route("**/queue/join*", lambda route: route.fulfill(**full))
    page.click("#set-start")
    ended_with(page, "The scoring has failed.")
    page.get_by_text("This application is currently busy. Please try again.").wait_for()
    page.close()


def test_a_model_is_not_compared_with_itself(open_set):
    page, panel = open_set()
    panel.get_by_label("Compare with").click()
    page.get_by_role("option", name="DeepLabV3+, MobileNetV2").click()
    page.click("#set-start")
    page.wait_for_selector("#set-notice .notice.error")
    assert "Both models are DeepLabV3+, MobileNetV2" in page.inner_text("#set-notice")


def test_a_model_that_is_not_here_is_fetched_when_it_is_chosen_and_the_page_says_so(
    open_page, no_downloads, tmp_path, monkeypatch
):
    asked, end = [], threading.Event()

    def fetch_weights(name, *, progress):
        asked.append(name)
        end.wait(LONG / 1000)
        raise WeightsError("stopped")

    monkeypatch.setattr(loading, "fetch_weights", fetch_weights)
    with page_here(tmp_path, SEGCORE_OFFLINE="") as url:
        page = open_page(url)
        panel = panel_of(page, "A whole set")
        panel.get_by_label("Compare with").click()
        option = page.get_by_role("option", name="DeepLabV3, ResNet-50 (not here yet")
        assert option.evaluate("(it) => getComputedStyle(it).fontStyle") == "italic"
        option.click()
        page.locator("#set-notice").get_by_text("DeepLabV3, ResNet-50 is being downloaded").wait_for()
        assert "deeplabv3_resnet50" in asked

        panel.get_by_label("Compare with").click()
        page.get_by_role("option", name="Nothing").click()
        page.wait_for_function("!document.querySelector('#set-notice').innerText.trim()")
        page.close()  # it asks for the download's progress, which the page will soon not answer
        end.set()


def test_a_download_that_is_tried_again_is_followed_again(open_page, no_downloads, tmp_path, monkeypatch):
    end, calls = threading.Event(), []

    def fetch_weights(name, *, progress):
        calls.append(name)
        if len(calls) > 1:
            progress(50_000_000, 200_000_000)
            end.wait(LONG / 1000)
        raise WeightsError("stopped")

    monkeypatch.setattr(loading, "fetch_weights", fetch_weights)
    with page_here(tmp_path, SEGCORE_OFFLINE="") as url:
        page = open_page(url)
        page.locator("#banner").get_by_text("could not be downloaded").wait_for()
        panel_of(page, "A whole set").get_by_label("Compare with").click()
        page.get_by_role("option", name="DeepLabV3, ResNet-101 (not here yet").click()
        page.locator("#banner").get_by_text("is being downloaded: 25% of 200 MB").wait_for()
        page.close()
        end.set()


def test_fits_a_phone(open_set):
    page, panel = open_set(viewport={"width": 390, "height": 844})
    ask_for(panel, 2)
    score(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_offline_there_is_nothing_to_fetch(open_set):
    page, panel = open_set()
    panel.get_by_role("button", name="Get more images from COCO").click()
    panel.get_by_text("This page is set to stay offline, so it cannot fetch any.").wait_for()
    assert panel.get_by_role("button", name="Get them").is_disabled()


def test_fetch_photographs_from_coco_and_score_them(open_page, examples_coco):
    document = json.loads((examples_coco / "annotations" / "instances_samples.json").read_text())
    files = {"/annotations/instances_val2017.json": json.dumps(document).encode()}
    for image in document["images"]:
        photograph = (examples_coco / "samples" / image["file_name"]).read_bytes()
        files[f"/val2017/{image['file_name']}"] = photograph
    with MisbehavingServer(files) as server:
        env = {
            "SEGCORE_OFFLINE": "0",
            "SEGCORE_COCO_URL": server.url,
            "HTTPS_PROXY": "http://127.0.0.1:9",  # nothing is there: the big model's weights stay where they are
        }
        with running_page(env=env) as running:
            page = open_page(url=running.url)
            panel = panel_of(page, "A whole set")
            panel.get_by_role("button", name="Get more images from COCO").click()
            panel.get_by_label("With", exact=True).click()
            page.get_by_role("option", name="Dog").click()
            panel.get_by_role("button", name="Get them").click()
            page.wait_for_function("document.querySelector('#set-fetching').innerText.includes('are here')")
            assert "1 photograph" in page.inner_text("#set-fetching")

            panel.get_by_label("Images", exact=True).click()
            page.get_by_role("option", name="COCO val2017, fetched here").click()
            score(page)
            assert "1 image" in page.inner_text(SUMMARY)
            page.context.close()
            assert "Traceback" not in running.log()


def test_the_number_of_images_stays_when_the_answer_to_another_set_comes_late(open_page, more_than_the_samples):
    folder, samples = more_than_the_samples
    with running_page("--dataset", str(folder)) as running:
        page = open_page(url=running.url)
        panel = panel_of(page, "A whole set")
        ask_for(panel, 10)
        held = hold_the_answer(page, "on_dataset")
        panel.get_by_label("Images", exact=True).click()
        page.get_by_role("option", name="The samples").click()
        held.wait()
        ask_for(panel, 5)
        held.release()
        panel.locator(f"input[type=range][max='{samples}']").first.wait_for(state="attached")
        assert panel.get_by_label("number input for How many", exact=True).input_value() == "5"
        page.context.close()
