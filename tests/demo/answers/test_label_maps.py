"""A visitor's ZIP of label maps is scored in the place of a model: without one, and without what its names may want."""

import io
import json
import shutil
import threading
import zipfile
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from demo.answers import whole_set
from demo.answers.datasets import SAMPLES, Datasets
from demo.answers.label_maps import GONE
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Thumbnails
from demo.markup import set_tables
from demo.server.files import Sweeper
from demo.tabs.set_pictures import SetPictures
from demo.waiting.turns import never
from segcore.errors import UsageError
from segcore.inference.task import Task
from segcore.truth.coco import CocoDataset

WANTED = whole_set.Wanted(SAMPLES, 3, Task(), "original", "squeeze", "auto")


class NoNetwork(ModelPool):
    def network(self, model, resize):
        raise AssertionError("label maps need no network")


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def perfect(nine_coco):
    """The truth of the first three samples as label maps, by file name; ignored pixels have class 0."""
    dataset = CocoDataset.open(nine_coco)
    maps = {}
    for image in dataset.images[:3]:
        labels = dataset.truth(image.id)
        maps[image.file_name.replace(".jpg", ".png")] = png(np.where(labels == 255, 0, labels).astype(np.uint8))
    return maps


@pytest.fixture
def upload(tmp_path):
    """Puts files into a ZIP where the page keeps uploads; returns the ZIP."""

    def upload(files):
        archive = tmp_path / "uploads" / "0a1b" / "rival.zip"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive, "w") as opened:
            for name, content in files.items():
                opened.writestr(name, content)
        return archive

    return upload


@pytest.fixture
def ask(nine_coco, tmp_path):
    pool, datasets = NoNetwork(offline=True), Datasets(nine_coco, nine_coco, tmp_path / "none")

    def ask(archive, has_left=never, **changes):
        wanted, stop = replace(WANTED, archive=archive, **changes), threading.Event()
        *_, outcome = whole_set.evaluate_set(pool, datasets, wanted, tmp_path / "kept", stop, has_left=has_left)
        return outcome, lambda suffix: whole_set.write_download(pool, datasets, outcome, suffix, tmp_path / "files")

    return ask


def test_scoring_ends_when_the_visitor_has_left(ask, upload, perfect):
    outcome, _ = ask(upload(perfect), has_left=lambda: True)
    assert outcome.record["images"] == 1 and outcome.stopped


def test_label_maps_doubt_no_truth(ask, upload, perfect, nine_coco, tmp_path):
    outcome, _ = ask(upload(perfect))
    with gr.Blocks():
        pictures = SetPictures(Datasets(nine_coco, nine_coco, tmp_path), Thumbnails(CocoDataset.open(nine_coco)))
    updates = pictures.updates(outcome)
    assert [updates[each]["visible"] for each in (pictures.doubtful, pictures.doubt)] == [False, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["person", ""])
def test_the_choice_of_a_class_says_that_the_images_are_gone(ask, upload, perfect, nine_coco, tmp_path, name):
    outcome, _ = ask(upload(perfect))
    folder = shutil.copytree(nine_coco, tmp_path / "here")
    with gr.Blocks():
        pictures = SetPictures(Datasets(folder, folder, tmp_path), Thumbnails(CocoDataset.open(folder)))
    pictured = pictures.updates(outcome)[pictures.pictured]
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(gr.Error, match="These images are no longer here; choose others"):
        pictures.on_class(outcome, name, None, pictured)


@pytest.mark.slow
def test_label_maps_are_scored_and_every_misfit_is_named(ask, upload, perfect, tmp_path):
    *right, wrong = perfect
    files = {f"preds/{name}": perfect[name] for name in right}
    outcome, download = ask(upload(files | {wrong: png(np.zeros((5, 7), np.uint8)), "other.png": b""}))
    record = outcome.record
    assert (record["images"], record["dataset"]["mean_iou"], record["dataset"]["brier"]) == (2, 1.0, None)
    assert record["model"] == "label maps in rival.zip"
    summary = set_tables.summary(outcome)
    assert "Left out: 1 image" in summary and f"{wrong} is 7 x 5, but must be" in summary
    assert "Left out of the ZIP, since no photograph of the set has this name: &#x27;other.png&#x27;." in summary
    report = download(".html").read_text(encoding="utf-8")
    assert "label maps in rival.zip" in report and report.count("data:image/png;base64,") == 2
    assert str(tmp_path) not in report + summary + json.dumps(record)  # nobody learns where the server keeps files


def test_masks_are_scored_in_binary_mode(ask, upload, perfect):
    masks = {}
    for name, data in perfect.items():
        labels = np.asarray(Image.open(io.BytesIO(data)))
        masks[name] = png(np.where(labels > 0, 255, 0).astype(np.uint8))
    outcome, _ = ask(upload(masks), task=Task("binary"))
    assert outcome.record["dataset"]["pixel_accuracy"] == 1.0
    assert outcome.record["threshold_curve"] is None
    with pytest.raises(UsageError, match="A threshold needs probabilities"):
        ask(upload(masks), task=Task("binary", threshold=0.5))


def test_what_cannot_be_scored_is_said_and_leaves_nothing(ask, upload, tmp_path):
    archive = upload({"other.png": b""})
    with pytest.raises(UsageError, match="^rival.zip holds no label map of these photographs; expected 0000"):
        ask(archive)
    archive.write_bytes(b"no archive")
    with pytest.raises(UsageError, match="rival.zip is no ZIP archive"):
        ask(archive)
    assert list(archive.parent.iterdir()) == [archive]
    archive.unlink()
    with pytest.raises(UsageError, match=GONE):
        ask(archive)


def test_label_maps_are_deleted_as_other_uploads_are(ask, upload, perfect, tmp_path):
    outcome, download = ask(upload(perfect))
    assert len(list(outcome.maps.unpacked.folder.iterdir())) == 3
    sweeper = Sweeper(tmp_path / "uploads", keep_seconds=60)
    for now in range(0, 600, 61):  # files, and then the folders that have become empty
        sweeper.sweep(now)
    assert list((tmp_path / "uploads").iterdir()) == []
    with pytest.raises(UsageError, match=GONE):
        download(".html")
    assert json.loads(download(".json").read_text())["images"] == 3  # the scores are still there


def test_a_label_map_larger_than_any_photograph_is_not_decoded(ask, upload, perfect):
    """It would take the page's memory; such a PNG is small."""
    name, *rest = perfect
    large = Image.new("1", (30_000, 3_000))
    file = io.BytesIO()
    large.save(file, "PNG")
    outcome, _ = ask(upload({name: file.getvalue()} | {other: perfect[other] for other in rest}), task=Task("binary"))
    [left_out] = outcome.record["skipped"]
    assert "30000 x 3000 = 90.0 megapixels, and" in left_out["reason"]
