"""Evaluation, counted again with scikit-learn over saved label maps and a truth that is built here."""

import contextlib
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image
from pycocotools.coco import COCO
from sklearn.metrics import confusion_matrix

from segcore.evaluation import evaluate
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import loading
from tests.helpers.runs import SHIPPED, make_run, run_command
from tests.helpers.samples import ASTRONAUT, CAT, LIFEBOAT, OFFICER, PIZZA, STOP_SIGN

ROOT = Path(__file__).parents[2]
VOC_ID_OF_CATEGORY = dict(
    zip([5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72], range(1, 21), strict=True)
)
PERSON = 15


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


@pytest.mark.parametrize("class_name", ["cat", "any"])
def test_brier_score_in_binary_mode_is_that_of_the_object(quick, nine_coco, examples_truth, class_name):
    run = make_run(quick, nine_coco, task=Task("binary", class_name), ids=[CAT])
    brier = evaluate.evaluate(run).to_dict()["dataset"]["brier"]

    softmax = upsampled(quick, nine_coco / "samples" / "000000900002.jpg", "squeeze", (520, 520)).softmax(0)
    probability = softmax[VOC_ID_OF_CATEGORY[17]] if class_name == "cat" else 1 - softmax[0]
    target = examples_truth.scored(CAT, "report") > 0  # a cat is all there is
    assert target.any()
    assert brier == pytest.approx(np.square(probability.numpy() - target).mean(), rel=1e-4)
