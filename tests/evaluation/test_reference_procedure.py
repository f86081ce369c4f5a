"""The procedure behind torchvision's published scores, rebuilt from its definition, against the protocol `torchvision`.

The definition is that of torchvision's segmentation references at evaluation. Of an image's annotations those of the
20 categories are drawn, crowds like all others; a pixel in one object has its class, in more than one 255. Photograph
and target are resized to a shorter side of 520. The model's own output, upsampled by the model, decides. Images without
objects are left out of training, never of evaluation. Here it is made of pycocotools, torchvision and torch alone.
"""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from pycocotools.coco import COCO
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import loading
from segcore.truth.coco import CocoDataset
from tests.helpers.samples import LIFEBOAT, PIZZA, STOP_SIGN

pytestmark = pytest.mark.slow

SHIPPED = "deeplabv3_mobilenet_v2"
CATEGORIES = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
NEAR_TIE = 1e-4  # between two logits, which batch norm folded into the convolutions rounds differently

CROWDS = (87038, 329323, 463730)
OVERLAPS = (22892, 106235, 491497)  # of one class and of two
NO_OBJECTS = (802, 58636, 553664)  # of the 20 categories: other objects, nothing at all, a crowd of others


class Reference:
    """The published procedure for the images of one split."""

    def __init__(self, folder, split):
        self.photographs = folder / split
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = COCO(str(folder / "annotations" / f"instances_{split}.json"))
        self.transforms = torchvision.models.get_weight(
            "DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1"
        ).transforms()
        self.model = loading.load(SHIPPED)

    def target(self, image_id):
        """int64 (h, w), resized."""
        image = self.coco.imgs[image_id]
        objects = [each for each in self.coco.imgToAnns[image_id] if each["category_id"] in CATEGORIES]
        masks = np.zeros((len(objects) + 1, image["height"], image["width"]), np.uint8)  # the first is background
        numbers = np.zeros(len(masks), np.uint8)
        for row, each in enumerate(objects, start=1):
            masks[row] = self.coco.annToMask(each)
            numbers[row] = CATEGORIES.index(each["category_id"])
        labels = (masks * numbers[:, None, None]).max(axis=0)
        labels[masks.sum(axis=0) > 1] = 255
        resized = TF.resize(Image.fromarray(labels), 520, interpolation=InterpolationMode.NEAREST)
        return TF.pil_to_tensor(resized)[0].to(torch.int64)

    def output(self, image_id):
        """Logits, float32 (21, h, w), of the size that the photograph was resized to."""
        photograph = Image.open(self.photographs / self.coco.imgs[image_id]["file_name"]).convert("RGB")
        with torch.inference_mode():
            return self.model(self.transforms(photograph)[None])["out"][0]


def counted(target, prediction):
    """The references' confusion matrix, int64 (21, 21): truth outside 0..20 is left out."""
    valid = (target >= 0) & (target < 21)
    return torch.bincount(21 * target[valid] + prediction[valid], minlength=21 * 21).reshape(21, 21)


class Compared(NamedTuple):
    matrix: np.ndarray  # of `evaluate`
    expected: np.ndarray  # of the reference
    differing: int  # pixels with another label
    largest_gap: float  # between the two highest logits of those pixels
    ignored: int  # pixels whose truth is 255
    images: int


def compare(folder, split, image_ids):
    """The same images by `evaluate` in the protocol `torchvision` and by the reference."""
    reference, dataset = Reference(folder, split), CocoDataset.open(folder, split)
    segmenter = Segmenter(SHIPPED, device="cpu", precision="float32")
    images = evaluate.choose_images(dataset, image_ids=image_ids)
    run = evaluate.Run(segmenter, dataset, protocol("torchvision"), Task(), images)
    samples = {}
    evaluation = evaluate.evaluate(run, on_image=lambda sample: samples.update({sample.image.id: sample}))

    expected, differing, gaps, ignored = torch.zeros((21, 21), dtype=torch.int64), 0, [0.0], 0
    for image_id, sample in samples.items():
        target, output = reference.target(image_id), reference.output(image_id)
        np.testing.assert_array_equal(sample.truth, target.numpy(), err_msg=f"truth of image {image_id}")
        prediction = output.argmax(0)
        expected += counted(target, prediction)
        other = torch.from_numpy(sample.prediction) != prediction
        first, second = output.topk(2, dim=0).values[:, other]
        differing += int(other.sum())
        gaps += (first - second).tolist()
        ignored += int((target == 255).sum())
    record = evaluation.to_dict()
    return Compared(np.array(record["confusion"]), expected.numpy(), differing, max(gaps), ignored, record["images"])


def assert_the_same(compared):
    assert compared.largest_gap < NEAR_TIE
    assert compared.differing <= 10
    assert np.abs(compared.matrix - compared.expected).sum() <= 2 * compared.differing
    assert compared.matrix.sum() == compared.expected.sum() > 0


def test_hard_images_of_coco_are_counted_as_published(shared_coco):
    compared = compare(shared_coco, "val2017", CROWDS + OVERLAPS)
    assert compared.ignored > 0
    assert_the_same(compared)


def test_images_without_objects_count(shared_coco):
    compared = compare(shared_coco, "val2017", NO_OBJECTS)
    assert compared.images == len(NO_OBJECTS)
    assert compared.matrix[0].sum() == compared.matrix.sum() > len(NO_OBJECTS) * 520 * 520
    assert_the_same(compared)


def test_samples_are_counted_as_published(examples_coco):
    compared = compare(examples_coco, "samples", (PIZZA, LIFEBOAT, STOP_SIGN))  # many classes, a crowd, none
    assert compared.ignored > 0
    assert_the_same(compared)
