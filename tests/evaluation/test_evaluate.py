"""Evaluation: counted again with scikit-learn over saved label maps and a truth built here; interrupted and resumed.

What the network sees does not matter to the second half of the tests; there a quick stand-in takes its place.
"""

import contextlib
import copy
import csv
import io
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools.coco import COCO
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from segcore.cli import main
from segcore.errors import Cancelled, UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.evaluate import Evaluation, Run
from segcore.evaluation.journal import Journal
from segcore.evaluation.protocols import protocol
from segcore.inference.refine import Edges
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.metrics import confusion
from segcore.models import loading
from segcore.report import headlines
from segcore.truth.coco import CocoDataset
from tests.helpers.samples import ASTRONAUT, CAT, DOG, LIFEBOAT, NINE, OFFICER, PIZZA, STOP_SIGN

ROOT = Path(__file__).parents[2]
SHIPPED = "deeplabv3_mobilenet_v2"
VOC_ID_OF_CATEGORY = dict(
    zip([5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72], range(1, 21), strict=True)
)
PERSON = 15

OVERALL = {
    "pixel_accuracy",
    "mean_iou",
    "classes_counted",
    "foreground_mean_iou",
    "f1_macro",
    "f1_weighted",
    "mse",
    "brier",
    "frequency_weighted_iou",
    "mean_accuracy",
    "boundary_iou",
}
IMAGE = {"image_id", "file_name", "label_quality", "objects_total", "objects_found"}
PER_CLASS = {"iou", "f1", "precision", "recall", "boundary_iou"}
RECORD = {
    *("schema", "model", "weights_sha256", "protocol", "resize", "mode", "class", "threshold", "split", "images"),
    *("skipped", "device", "precision", "engine", "tta", "careful", "calibration", "refine", "seconds", "confusion"),
    *("dataset", "image_mean", "per_class", "per_image"),
    *("intervals", "reliability", "objects", "categories"),
}


# ------------------------------------------------------------------- the same once more, without segcore


class Truth:
    """Ground truth of a COCO folder, with pycocotools and Pillow alone."""

    def __init__(self, folder, split):
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = COCO(str(folder / "annotations" / f"instances_{split}.json"))

    def objects(self, image_id):
        """(VOC id, bool mask, is a crowd) of each object of the 20 classes."""
        return [
            (VOC_ID_OF_CATEGORY[each["category_id"]], self.coco.annToMask(each) == 1, each["iscrowd"])
            for each in self.coco.imgToAnns[image_id]
            if each["category_id"] in VOC_ID_OF_CATEGORY
        ]

    def size_hw(self, image_id):
        return self.coco.imgs[image_id]["height"], self.coco.imgs[image_id]["width"]

    def original(self, image_id):
        objects = self.objects(image_id)
        votes = np.zeros((21, *self.size_hw(image_id)), bool)
        for number, mask, crowd in objects:
            if not crowd:
                votes[number] |= mask
        labels = np.where(votes.sum(0) > 1, 255, votes.argmax(0))
        for _, mask, crowd in objects:
            if crowd:
                labels[mask] = 255
        return labels.astype(np.uint8)

    def published(self, image_id):
        labels, layers = np.zeros(self.size_hw(image_id), np.uint8), np.zeros(self.size_hw(image_id), int)
        for number, mask, _ in self.objects(image_id):
            labels = np.maximum(labels, mask * np.uint8(number))
            layers += mask
        return np.where(layers > 1, 255, labels).astype(np.uint8)

    def scored(self, image_id, protocol):
        if protocol == "original":
            return self.original(image_id)
        labels = self.published(image_id)
        height, width = labels.shape
        size = (520, 520)
        if protocol == "torchvision":
            size = (520, int(520 * height / width)) if width < height else (int(520 * width / height), 520)
        return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))

    def hard_ids(self, count):
        """The first images with crowd regions of the 20 classes, and the first with overlapping objects of them."""
        annotations = [each for each in self.coco.anns.values() if each["category_id"] in VOC_ID_OF_CATEGORY]
        crowded = sorted({each["image_id"] for each in annotations if each["iscrowd"]})[: count // 2]
        others = (number for number in sorted(self.coco.imgs) if number not in crowded)
        overlapping = (number for number in others if (self.published(number) == 255).any())
        return sorted([*crowded, *itertools.islice(overlapping, count - len(crowded))])


def counted_by_sklearn(folder, truth, record, to_truth=lambda labels: labels):
    """The confusion matrix over the saved label maps, with pixels whose truth is 255 left out."""
    classes = range(len(record["confusion"]))
    total = np.zeros((len(classes), len(classes)), np.int64)
    for row in record["per_image"]:
        prediction = np.asarray(Image.open(folder / Path(row["file_name"]).with_suffix(".png")))
        target = to_truth(truth.scored(row["image_id"], record["protocol"]))
        assert prediction.shape == target.shape
        counted = target != 255
        total += confusion_matrix(target[counted], prediction[counted], labels=classes)
    return total


def run_command(folder, tmp_path, *arguments):
    """`evaluate` with the shipped model -> its status, its JSON and the folder of label maps."""
    common = ["evaluate", "--dataset", str(folder), "--model", SHIPPED, "--device", "cpu"]
    outputs = ["--json", str(tmp_path / "scores.json"), "--save-labels", str(tmp_path / "labels")]
    status = main.main([*common, *outputs, *map(str, arguments)])
    return status, json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")), tmp_path / "labels"


# ------------------------------------------------------------------- with the shipped model


@pytest.fixture(scope="module")
def examples_truth(nine_coco):
    return Truth(nine_coco, "samples")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["original", "torchvision", "report"])
def test_confusion_matrix_is_scikit_learns_on_the_examples(nine_coco, examples_truth, name, tmp_path):
    ids = f"{ASTRONAUT},{PIZZA},{LIFEBOAT},{STOP_SIGN}"  # a crowd region and none of the classes among them
    status, record, labels = run_command(nine_coco, tmp_path, "--protocol", name, "--image-ids", ids)

    assert status == 0 and record["images"] == 4 and record["protocol"] == name
    np.testing.assert_array_equal(record["confusion"], counted_by_sklearn(labels, examples_truth, record))
    assert np.trace(record["confusion"][1:]) < np.sum(record["confusion"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["original", "torchvision"])
def test_confusion_matrix_is_scikit_learns_on_coco(shared_coco, name, tmp_path):
    truth = Truth(shared_coco, "val2017")
    ids = ",".join(map(str, truth.hard_ids(4)))
    status, record, labels = run_command(
        shared_coco, tmp_path, "--split", "val2017", "--protocol", name, "--image-ids", ids
    )
    assert status == 0 and record["images"] == 4
    np.testing.assert_array_equal(record["confusion"], counted_by_sklearn(labels, truth, record))
    ignored = sum((truth.scored(row["image_id"], name) == 255).sum() for row in record["per_image"])
    assert ignored > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("class_name", "threshold"), [("person", "auto"), ("person", "0.3"), ("any", "auto"), ("any", "0.3")]
)
def test_binary_confusion_matrix_is_scikit_learns(nine_coco, examples_truth, class_name, threshold, tmp_path):
    def to_binary(labels):
        chosen = labels == PERSON if class_name == "person" else labels > 0
        return np.where(labels == 255, 255, chosen).astype(np.uint8)

    status, record, labels = run_command(
        *(nine_coco, tmp_path, "--mode", "binary", "--class", class_name, "--threshold", threshold),
        *("--image-ids", str(OFFICER)),
    )
    assert status == 0
    assert (record["mode"], record["class"]) == ("binary", class_name)
    assert record["threshold"] == (threshold if threshold == "auto" else 0.3)
    assert list(record["per_class"]) == ["background", class_name]
    np.testing.assert_array_equal(record["confusion"], counted_by_sklearn(labels, examples_truth, record, to_binary))


def upsampled(segmenter, path, resize, size_hw):
    """Logits at another size in double precision, by torch."""
    preprocess = loading.preprocess_for(segmenter.model, resize)
    logits = segmenter.predict_logits(preprocess(np.asarray(Image.open(path).convert("RGB"))))
    return F.interpolate(logits.double(), size_hw, mode="bilinear", align_corners=False)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "resize"), [("original", "aspect"), ("report", "squeeze")])
def test_saved_labels_and_brier_score_are_the_networks(nine_coco, examples_truth, name, resize, tmp_path):
    segmenter = Segmenter(SHIPPED, device="cpu", precision="float32")
    _, record, labels = run_command(nine_coco, tmp_path, "--protocol", name, "--resize", resize, "--image-ids", CAT)
    truth = examples_truth.scored(CAT, name)
    assert record["resize"] == resize and record["precision"] == "float32"
    logits = upsampled(segmenter, nine_coco / "samples" / "000000900002.jpg", resize, truth.shape)
    saved = np.asarray(Image.open(labels / "000000900002.png"))
    assert (saved == logits.argmax(0).numpy()).mean() > 0.9999

    one_hot = np.eye(21)[np.where(truth == 255, 0, truth)].transpose(2, 0, 1)
    error = (logits.softmax(0).numpy() - one_hot)[:, truth != 255]
    assert record["dataset"]["brier"] == pytest.approx(np.square(error).mean(), rel=1e-4)


@pytest.mark.slow
def test_batches_of_any_size_count_the_same(nine_coco):
    """In float32; the last bits of the logits may differ, and with them a pixel in a hundred thousand."""
    segmenter = Segmenter(SHIPPED, device="cpu", precision="float32")
    dataset = CocoDataset.open(nine_coco)
    images = evaluate.choose_images(dataset, limit=2)
    one, several = (
        evaluate.evaluate(Run(segmenter, dataset, protocol("torchvision"), Task(), images, size))
        .per_image.total()
        .matrix
        for size in (1, 2)
    )
    assert one.sum() == several.sum()
    assert np.abs(one - several).sum() <= 2e-5 * one.sum()


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_scores(nine_coco, tmp_path):
    settings = ["--batch-size", "2", "--limit", "6", "--protocol", "report"]
    arguments = [*settings, "--resume", str(tmp_path / "resume")]
    command = [sys.executable, "-m", "segcore", "evaluate", "--dataset", str(nine_coco), "--model", SHIPPED]
    process = subprocess.Popen([*command, "--device", "cpu", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    journal, deadline = tmp_path / "resume" / "progress.jsonl", time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert journal.read_bytes().count(b"\n") < 7  # it was not done

    status, resumed, _ = run_command(nine_coco, tmp_path, *arguments)
    assert status == 0 and resumed["images"] == 6
    _, whole, _ = run_command(nine_coco, tmp_path, *settings)
    assert without_seconds(resumed) == without_seconds(whole)


# ------------------------------------------------------------------- with a quick stand-in for the network


class QuickNetwork:
    """Logits from the colours of a picture, alike in any batch; says which batches it was given."""

    device, precision = "cpu", "float32"
    weights = torch.randn(21, 3, 1, 1, generator=torch.Generator().manual_seed(5)) * 4

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        self.batches.append(len(batch))
        return (F.avg_pool2d(batch, 40)[:, None] * self.weights).sum(dim=2)


@pytest.fixture
def quick():
    segmenter = object.__new__(Segmenter)
    segmenter.model, segmenter.resize, segmenter.weights_sha256 = SHIPPED, "squeeze", "0" * 64
    segmenter._source = SHIPPED
    segmenter.predict_logits = QuickNetwork()
    segmenter.on_device = None  # the stand-in has no card to count on, whatever device it names
    segmenter.device, segmenter.precision, segmenter.engine = "cpu", "float32", "torch"
    segmenter.tta, segmenter.calibration, segmenter.refine = False, None, None
    segmenter.temperature = None
    return segmenter


def refining(segmenter):
    """The same with borders that follow the photographs."""
    other = copy.copy(segmenter)
    other.refine = "edges"
    return other


@pytest.fixture
def small_coco(nine_coco, tmp_path):
    """The examples, a copy that may be damaged."""
    folder = tmp_path / "coco"
    shutil.copytree(nine_coco / "annotations", folder / "annotations")
    shutil.copytree(nine_coco / "samples", folder / "samples")
    return folder


def make_run(segmenter, folder, *, batch_size=1, task=Task(), name="report", ids=None):  # noqa: B008 (it is frozen)
    dataset = CocoDataset.open(folder)
    images = evaluate.choose_images(dataset, image_ids=ids)
    return Run(segmenter, dataset, protocol(name), task, images, batch_size)


def without_seconds(record):
    return {key: value for key, value in record.items() if key != "seconds"}


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task(), Task("binary"), Task("binary", "person", 0.05)], ids=str)
@pytest.mark.parametrize("name", ["original", "report"])
def test_refined_predictions_are_scored_and_the_record_says_so(quick, small_coco, name, task):
    pytest.importorskip("cv2")
    samples = []
    run = make_run(refining(quick), small_coco, name=name, task=task, ids=[LIFEBOAT, DOG])
    record = evaluate.evaluate(run, on_image=samples.append).to_dict()

    assert record["refine"] == "edges" and "edges refined" in run.caption(run.images[0])
    matrix = np.zeros(np.shape(record["confusion"]), int)
    for sample in samples:
        logits = quick.predict_logits(loading.preprocess_for(SHIPPED, "squeeze")(sample.photograph))[0]
        decided = task.predict(logits, sample.truth.shape, Edges(logits, sample.photograph))
        np.testing.assert_array_equal(sample.prediction, decided)
        matrix += confusion.confusion_matrix(sample.truth, decided, num_classes=len(matrix))
    np.testing.assert_array_equal(record["confusion"], matrix)
    plain = evaluate.evaluate(make_run(quick, small_coco, name=name, task=task, ids=[LIFEBOAT, DOG])).to_dict()
    assert plain["refine"] is None and plain["confusion"] != record["confusion"]
    assert record["skipped"] == plain["skipped"] == []


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("task", [Task(), Task("binary", "cat", 0.3)])
def test_record_has_the_keys_of_the_contract(quick, nine_coco, task):
    record = evaluate.evaluate(make_run(quick, nine_coco, task=task)).to_dict()

    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) == RECORD
    assert record["schema"] == 1 and record["images"] == 9 and record["skipped"] == []
    assert set(record["dataset"]) == set(record["image_mean"]) == OVERALL
    assert all(set(row) == OVERALL | IMAGE for row in record["per_image"])
    assert [row["image_id"] for row in record["per_image"]] == list(NINE)
    assert tuple(record["per_class"]) == task.names
    assert all(set(row) == PER_CLASS for row in record["per_class"].values())
    assert np.shape(record["confusion"]) == (task.num_classes,) * 2


def test_dataset_scores_come_from_the_matrix_and_image_means_from_the_images(quick, nine_coco):
    record = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()

    matrix = np.array(record["confusion"])
    target, prediction = np.indices(matrix.shape).reshape(2, -1)
    weights = {"sample_weight": matrix.ravel()}
    present = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    dataset = record["dataset"]
    iou = jaccard_score(target, prediction, labels=present, average=None, zero_division=0, **weights)
    assert dataset["pixel_accuracy"] == pytest.approx(accuracy_score(target, prediction, **weights))
    assert dataset["mean_iou"] == pytest.approx(iou.mean()) and dataset["classes_counted"] == len(present)
    assert dataset["foreground_mean_iou"] == pytest.approx(iou[present > 0].mean())
    f1 = f1_score(target, prediction, labels=present, average="macro", zero_division=0, **weights)
    assert dataset["f1_macro"] == pytest.approx(f1)
    by_class = [row["iou"] for row in record["per_class"].values()]
    assert [number for number, value in enumerate(by_class) if value is not None] == present.tolist()
    assert [by_class[number] for number in present] == pytest.approx(iou)

    for key, mean in record["image_mean"].items():
        values = [row[key] for row in record["per_image"] if row[key] is not None]
        assert mean == pytest.approx(np.mean(values))
    assert record["image_mean"]["mean_iou"] != pytest.approx(dataset["mean_iou"], abs=1e-3)


@pytest.mark.parametrize("class_name", ["cat", "any"])
def test_brier_score_in_binary_mode_is_that_of_the_object(quick, nine_coco, examples_truth, class_name):
    run = make_run(quick, nine_coco, task=Task("binary", class_name), ids=[CAT])
    brier = evaluate.evaluate(run).to_dict()["dataset"]["brier"]

    softmax = upsampled(quick, nine_coco / "samples" / "000000900002.jpg", "squeeze", (520, 520)).softmax(0)
    probability = softmax[VOC_ID_OF_CATEGORY[17]] if class_name == "cat" else 1 - softmax[0]
    target = examples_truth.scored(CAT, "report") > 0  # a cat is all there is
    assert target.any()
    assert brier == pytest.approx(np.square(probability.numpy() - target).mean(), rel=1e-4)


def test_table_holds_the_same_numbers(quick, nine_coco):
    record = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()
    rows = list(csv.DictReader(io.StringIO(evaluate.to_csv(record))))

    def numbers(row, keys):
        return {key: None if row[key] == "" else float(row[key]) for key in keys}

    scopes = [row["scope"] for row in rows]
    assert scopes == ["dataset", "image_mean", *["class"] * 21, *["image"] * 9]
    assert numbers(rows[0], OVERALL) == record["dataset"]
    assert numbers(rows[1], OVERALL) == record["image_mean"]
    for row, (name, scores) in zip(rows[2:23], record["per_class"].items(), strict=True):
        assert row["name"] == name and numbers(row, PER_CLASS) == scores
    for row, scores in zip(rows[23:], record["per_image"], strict=True):
        assert (row["image_id"], row["name"]) == (str(scores["image_id"]), scores["file_name"])
        assert numbers(row, OVERALL) == {key: scores[key] for key in OVERALL}
    for row in rows:
        assert (row["model"], row["protocol"], row["resize"]) == (SHIPPED, "report", "squeeze")
        assert (row["weights_sha256"], row["arithmetic"]) == ("0" * 64, "float32")


def test_images_that_cannot_be_read_are_named_and_left_out(quick, small_coco):
    truncate(small_coco / "samples" / "000000204805.jpg")
    (small_coco / "samples" / "000000900005.jpg").unlink()
    record = evaluate.evaluate(make_run(quick, small_coco, batch_size=2)).to_dict()

    cut, absent = record["skipped"]
    assert (cut["image_id"], cut["file_name"]) == (LIFEBOAT, "000000204805.jpg") and "cut short" in cut["reason"]
    assert absent["image_id"] == DOG and "no file" in absent["reason"]
    assert record["images"] == len(record["per_image"]) == 7
    others = [each for each in NINE if each not in (LIFEBOAT, DOG)]
    alone = evaluate.evaluate(make_run(quick, small_coco, ids=others)).to_dict()
    assert record["confusion"] == alone["confusion"] and record["per_image"] == alone["per_image"]


def test_nothing_left_to_score(quick, small_coco):
    shutil.rmtree(small_coco / "samples")
    evaluation = evaluate.evaluate(make_run(quick, small_coco))
    record = evaluation.to_dict()
    assert record["images"] == 0 and len(record["skipped"]) == 9
    assert record["dataset"]["mean_iou"] is None and record["image_mean"]["mean_iou"] is None
    assert "0 images" in headlines.of_evaluation(record) and evaluation.to_csv().startswith("scope,")


def test_headline_shows_both_summaries_and_how_they_were_taken(quick, nine_coco):
    record = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()
    text = headlines.of_evaluation(record)
    for word in ("9 images of samples", SHIPPED, "00000000", "protocol report", "squeeze", "float32", "image mean"):
        assert word in text
    for summary in ("dataset", "image_mean"):
        assert f"{record[summary]['mean_iou']:.4f}" in text


def test_progress_counts_images(quick, nine_coco):
    seen = []
    evaluate.evaluate(make_run(quick, nine_coco, batch_size=4), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 9) for done in range(10)]


def test_images_of_one_size_share_a_batch(quick, nine_coco):
    evaluate.evaluate(make_run(quick, nine_coco, batch_size=4))
    assert quick.predict_logits.batches == [4, 4, 1]
    quick.predict_logits.batches.clear()
    evaluate.evaluate(make_run(quick, nine_coco, batch_size=4, name="torchvision"))
    assert quick.predict_logits.batches == [
        1,
        1,
        1,
        1,
        2,
        1,
        1,
        1,
    ]  # ASTRONAUT and DOG are square


def stop_after(images, how):
    def progress(done, total):
        if done >= images:
            how()

    return progress


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("way", ["cancelled", "interrupted"])
def test_resuming_gives_the_same_record(quick, nine_coco, tmp_path, batch_size, way, device):
    quick.device = device  # beside an accelerator, some images are on their way when it stops
    whole = evaluate.evaluate(make_run(quick, nine_coco, batch_size=batch_size)).to_dict()
    cancel = threading.Event()
    how, error = (cancel.set, Cancelled) if way == "cancelled" else (interrupt, KeyboardInterrupt)
    run = make_run(quick, nine_coco, batch_size=batch_size)
    with pytest.raises(error):
        evaluate.evaluate(run, resume=tmp_path, progress=stop_after(4, how), cancel=cancel)

    seen, counted = [], []
    resumed = evaluate.evaluate(
        make_run(quick, nine_coco, batch_size=batch_size),
        resume=tmp_path,
        on_image=lambda sample: seen.append(sample.image.id),
        progress=lambda done, total: counted.append(done),
    )
    assert without_seconds(resumed.to_dict()) == without_seconds(whole)
    assert seen == list(NINE[-len(seen) :]) and len(seen) <= 5
    assert counted[0] == 0 and counted[-1] == 9

    seen.clear()
    again = evaluate.evaluate(run, resume=tmp_path, on_image=lambda sample: seen.append(sample.image.id))
    assert without_seconds(again.to_dict()) == without_seconds(whole) and seen == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 300, "into the second line of a batch", "into the first line"])
def test_a_torn_last_line_is_counted_again(quick, nine_coco, tmp_path, cut):
    run = make_run(quick, nine_coco, batch_size=2)
    whole = evaluate.evaluate(run, resume=tmp_path).to_dict()
    journal = tmp_path / "progress.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 10
    if cut == "into the first line":
        journal.write_bytes(lines[0][:40])
    elif cut == "into the second line of a batch":
        journal.write_bytes(b"".join(lines[:6]) + lines[6][:80])
    else:
        journal.write_bytes(b"".join(lines)[:-cut])

    for _ in range(2):
        assert without_seconds(evaluate.evaluate(run, resume=tmp_path).to_dict()) == without_seconds(whole)


def test_a_mended_image_is_scored_on_resuming(quick, small_coco, nine_coco, tmp_path):
    truncate(small_coco / "samples" / "000000900002.jpg")
    resume = tmp_path / "resume"
    first = evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume).to_dict()
    assert first["images"] == 8
    again = evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume).to_dict()
    assert without_seconds(again) == without_seconds(first)

    shutil.copy(nine_coco / "samples" / "000000900002.jpg", small_coco / "samples")
    mended = evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume).to_dict()
    whole = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()
    assert without_seconds(mended) == without_seconds(whole)


def test_a_journal_that_calls_tta_careful_is_resumed_with_a_notice(quick, small_coco, tmp_path, caplog):
    first = evaluate.evaluate(make_run(quick, small_coco), resume=tmp_path).to_dict()
    journal = tmp_path / "progress.jsonl"
    header, *lines = journal.read_text().splitlines(keepends=True)
    settings = json.loads(header)
    del settings["tta"]
    journal.write_text("".join([json.dumps(settings) + "\n", *lines]))
    caplog.clear()
    again = evaluate.evaluate(make_run(quick, small_coco), resume=tmp_path, on_image=lambda sample: pytest.fail("anew"))
    assert without_seconds(again.to_dict()) == without_seconds(first)
    assert "calls tta by its old name careful" in caplog.text

    journal.write_text("".join([json.dumps(settings | {"careful": True}) + "\n", *lines]))
    with pytest.raises(UsageError, match="other settings"):
        evaluate.evaluate(make_run(quick, small_coco), resume=tmp_path)


def other_annotations(folder):
    file = folder / "annotations" / "instances_samples.json"
    document = json.loads(file.read_text())
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] != DOG]
    file.write_text(json.dumps(document))


def test_resume_errors(quick, small_coco, tmp_path):
    resume, ids = tmp_path / "resume", NINE[:2]
    evaluate.evaluate(make_run(quick, small_coco, ids=ids), resume=resume)
    for other in (
        make_run(quick, small_coco, ids=ids, name="original"),
        make_run(quick, small_coco, ids=ids, task=Task("binary")),
        make_run(quick, small_coco, ids=ids, batch_size=2),
        make_run(refining(quick), small_coco, ids=ids),
    ):
        with pytest.raises(UsageError, match="progress.jsonl belongs to a run with other settings.*another folder"):
            evaluate.evaluate(other, resume=resume)

    resume = tmp_path / "batches"
    evaluate.evaluate(make_run(quick, small_coco, ids=ids, batch_size=2), resume=resume)
    with pytest.raises(UsageError, match="other settings or images"):
        evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume)

    folder = tmp_path / "held"
    with Journal(folder, make_run(quick, small_coco)).held():
        with pytest.raises(UsageError, match="another evaluation is writing to .*progress.jsonl; wait"):
            evaluate.evaluate(make_run(quick, small_coco), resume=folder)


def test_an_image_is_scored_anew_where_its_truth_has_changed(quick, small_coco, tmp_path):
    resume, seen = tmp_path / "resume", []
    evaluate.evaluate(make_run(quick, small_coco), resume=resume)
    other_annotations(small_coco)
    resumed = evaluate.evaluate(
        make_run(quick, small_coco), resume=resume, on_image=lambda sample: seen.append(sample.image.id)
    )
    assert seen == [DOG]
    assert without_seconds(resumed.to_dict()) == without_seconds(
        evaluate.evaluate(make_run(quick, small_coco)).to_dict()
    )


@pytest.mark.slow
def test_a_run_in_parts_and_in_any_order_is_the_same(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco, name="original")
    whole = evaluate.evaluate(run)
    record = without_seconds(whole.to_dict())

    parts = [
        evaluate.evaluate(make_run(quick, nine_coco, name="original", ids=ids)).scored
        for ids in (NINE[1::7], [*NINE[:1], *NINE[2:8]])
    ]
    assert without_seconds(Evaluation(run, parts[1] + parts[0], 0).to_dict()) == record
    assert without_seconds(Evaluation(run, whole.scored[::-1], 0).to_dict()) == record

    first = make_run(quick, nine_coco, name="original", ids=NINE[:2])
    evaluate.evaluate(first, resume=tmp_path)
    seen = []
    grown = evaluate.evaluate(run, resume=tmp_path, on_image=lambda sample: seen.append(sample.image.id))
    assert seen == list(NINE[2:]) and without_seconds(grown.to_dict()) == record
    shrunk = evaluate.evaluate(first, resume=tmp_path)
    assert [each.image.id for each in shrunk.counted] == list(NINE[:2])


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2])
def test_beside_an_accelerator_it_counts_the_same(quick, nine_coco, batch_size, tmp_path):
    beside_a_cpu = evaluate.evaluate(make_run(quick, nine_coco, batch_size=batch_size)).to_dict()
    quick.device = "cuda"
    seen = []
    beside_a_gpu = evaluate.evaluate(
        make_run(quick, nine_coco, batch_size=batch_size),
        resume=tmp_path,
        on_image=lambda sample: seen.append(sample.image.id),
    ).to_dict()
    assert seen == list(NINE)
    assert without_seconds(beside_a_gpu) == without_seconds(beside_a_cpu) | {"device": "cuda"}
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 10


def test_who_stops_listening_keeps_what_came_until_then(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco)
    images = evaluate.score_images(run, resume=tmp_path)
    heard = [next(images) for _ in range(3)]
    images.close()
    assert [each.image.id for each in heard] == list(NINE[:3])
    assert Evaluation(run, tuple(heard), 0).to_dict()["images"] == 3
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    "damage", [b"\0" * 50, b"{}", b'{"image_id": 7}', b"[]", b'{"image_id": 122745, "matrix": 3}', b"[" * 100_000]
)
def test_a_damaged_journal_is_refused(quick, nine_coco, tmp_path, damage):
    run = make_run(quick, nine_coco, ids=NINE[:2])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    journal.write_bytes(journal.read_bytes() + damage + b"\n")
    with pytest.raises(UsageError, match="damaged in line 4; give --resume another folder"):
        evaluate.evaluate(run, resume=tmp_path)


def test_a_journal_with_a_byte_that_is_no_text_is_refused(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco, ids=NINE[:2])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"truth":"', b'"truth":"\x87'))
    with pytest.raises(UsageError, match="damaged in line 2"):
        evaluate.evaluate(run, resume=tmp_path)


@pytest.mark.parametrize(
    "outcome",
    [[1, "12", 30, True, 12], [1, 12, "30", True, 12], [1, 12, 30, 1, 12], [1, 12, 30, True, 21], [[], 12, 3]],
)
def test_a_journal_of_objects_that_cannot_be_is_refused(quick, nine_coco, tmp_path, outcome):
    run = make_run(quick, nine_coco, ids=NINE[:2])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    header, first, last = journal.read_text().splitlines()
    changed = json.dumps(json.loads(last) | {"objects": [outcome]})
    journal.write_text("\n".join([header, first, changed]) + "\n")
    with pytest.raises(UsageError, match="damaged in line 3"):
        evaluate.evaluate(run, resume=tmp_path)


def test_cancelled_before_it_began(quick, nine_coco):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled, match="stopped"):
        evaluate.evaluate(make_run(quick, nine_coco), cancel=cancel)
    assert quick.predict_logits.batches == []


def test_choose_images(nine_coco):
    dataset = CocoDataset.open(nine_coco)
    assert evaluate.choose_images(dataset) == dataset.images
    assert [each.id for each in evaluate.choose_images(dataset, limit=2)] == list(NINE[:2])
    assert [each.id for each in evaluate.choose_images(dataset, limit=99)][-1] == NINE[-1]
    chosen = evaluate.choose_images(dataset, image_ids=[DOG, LIFEBOAT, DOG, PIZZA], limit=2)
    assert [each.id for each in chosen] == [PIZZA, LIFEBOAT]


def test_choose_images_errors(quick, nine_coco):
    dataset = CocoDataset.open(nine_coco)
    with pytest.raises(UsageError, match="at least 1 image, got 0"):
        evaluate.choose_images(dataset, limit=0)
    with pytest.raises(UsageError, match="no image 5 in samples"):
        evaluate.choose_images(dataset, image_ids=[5])
    with pytest.raises(UsageError, match="at least 1 image, got 0"):
        make_run(quick, nine_coco, batch_size=0)
