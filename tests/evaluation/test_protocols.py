"""Each protocol's ground truth, by hand and drawn a second time with pycocotools and torchvision."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from segcore.errors import UsageError
from segcore.evaluation.protocols import PROTOCOLS, protocol
from segcore.models.transforms import Preprocess
from segcore.truth.coco import CocoDataset

CAT, PERSON = 8, 15


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One picture of 40 x 20: two persons that overlap, a cat over one of them, a crowd of persons, a cup."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "annotations").mkdir()
    categories = {1: "person", 17: "cat", 47: "cup"}
    last_five_columns = {"size": [20, 40], "counts": [35 * 20, 5 * 20]}
    objects = [
        (1, box(0, 0, 10, 20), 0),
        (1, box(5, 0, 15, 20), 0),
        (17, box(12, 0, 20, 20), 0),
        (1, last_five_columns, 1),
        (47, box(25, 0, 30, 20), 0),
    ]
    document = {
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 20}],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
        "annotations": [
            {"id": 1 + n, "image_id": 1, "category_id": category, "segmentation": shape, "iscrowd": crowd, "area": 1}
            for n, (category, shape, crowd) in enumerate(objects)
        ],
    }
    (folder / "annotations" / "instances_tiny.json").write_text(json.dumps(document))
    return CocoDataset.open(folder)


def columns(*spans):
    """A row of labels from (first column after, label) pairs."""
    row, start = [], 0
    for stop, label in spans:
        row += [label] * (stop - start)
        start = stop
    return row


def test_each_protocol_by_hand(tiny):
    truth = {
        name: protocol(name).truth_at_scored_size(tiny, 1, Preprocess(size=20, resize=resize, max_size=None))
        for name, resize in (("original", "squeeze"), ("torchvision", "torchvision"), ("report", "squeeze"))
    }
    original = columns((12, PERSON), (15, 255), (20, CAT), (35, 0), (40, 255))
    published = columns((5, PERSON), (10, 255), (12, PERSON), (15, 255), (20, CAT), (35, 0), (40, PERSON))

    np.testing.assert_array_equal(truth["original"], [original] * 20)
    np.testing.assert_array_equal(truth["torchvision"], [published] * 20)
    assert truth["report"].shape == (20, 20)
    np.testing.assert_array_equal(truth["report"], np.array([published] * 20)[:, 1::2])  # centres lie on odd columns


@pytest.mark.parametrize(("name", "resize"), [("torchvision", "torchvision"), ("report", "squeeze")])
def test_truth_is_resized_as_torchvision_does(examples_coco, name, resize):
    dataset = CocoDataset.open(examples_coco)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(examples_coco / "annotations" / "instances_samples.json"))
    classes = {17: 8, 16: 3}  # the cat, the parrot
    for image_id in (900002, 900006):
        drawn = np.zeros((coco.imgs[image_id]["height"], coco.imgs[image_id]["width"]), np.uint8)
        for annotation in coco.imgToAnns[image_id]:
            drawn[coco.annToMask(annotation) == 1] = classes.get(annotation["category_id"], 0)
        wanted = 520 if resize == "torchvision" else [520, 520]
        expected = TF.resize(Image.fromarray(drawn), wanted, interpolation=InterpolationMode.NEAREST)

        truth = protocol(name).truth_at_scored_size(dataset, image_id, Preprocess(resize=resize))

        np.testing.assert_array_equal(truth, np.asarray(expected))
        assert truth.any()


def test_only_the_original_protocol_leaves_the_resize_open():
    assert {name: each.resize_for("aspect") for name, each in PROTOCOLS.items()} == {
        "original": "aspect",
        "torchvision": "torchvision",
        "report": "squeeze",
    }


def test_protocol_errors(tiny):
    with pytest.raises(UsageError, match="'voc'.*original, torchvision, report"):
        protocol("voc")
    with pytest.raises(UsageError, match="no image 2"):
        protocol("original").truth_at_scored_size(tiny, 2, Preprocess())
