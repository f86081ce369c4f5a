"""Targets that read COCO annotations: of a folder, and those that a visitor brings."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from segcore.categories import VOC, Categories
from segcore.classes import IGNORE_INDEX
from segcore.evaluation import protocols
from segcore.evaluation.objects import judge_objects
from segcore.inference.task import Task
from segcore.models.transforms import Preprocess
from segcore.truth import supplied
from segcore.truth.coco import CocoDataset
from tests.fuzz.mutations import mutated_bytes, written_documents
from tests.fuzz.oracle import Target, attempted
from tests.fuzz.pictures import check_truth

HEIGHT, WIDTH = 6, 9
_MASK = np.asfortranarray(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 5 < 2, np.uint8)


def _annotated(number: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 7, "category_id": category, "segmentation": segmentation, "area": 1} | more


@cache
def documents() -> list[dict[str, Any]]:
    """Annotation files that are right: polygons and both kinds of run lengths, crowds, several images."""
    images = [
        {"id": 7, "file_name": "photo.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 9, "file_name": "sub/nine.png", "width": 5, "height": 4},
    ]
    names = {1: "person", 18: "dog", 25: "giraffe", 62: "chair"}
    categories = [{"id": number, "name": name, "supercategory": "thing"} for number, name in names.items()]
    runs = _runs(_MASK)
    compressed = rle_tools.encode(_MASK)
    annotations = [
        _annotated(1, 1, [[0, 0, 4, 0, 4, 5, 0, 5], [5.5, 1.25, 8, 1, 7, 3]]),
        _annotated(2, 18, {"size": [HEIGHT, WIDTH], "counts": runs}, iscrowd=1),
        _annotated(3, 62, {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}, iscrowd=0),
        _annotated(4, 25, [[0, 0, 4, 0, 4, 5]]),
        _annotated(5, 18, [[1, 1, 6, 1, 6, 4]], bbox=[1, 1, 5, 3]),
    ]
    alone = {"images": images[:1], "annotations": annotations[:3], "categories": categories[:2] + categories[3:]}
    return [{"images": images, "annotations": annotations, "categories": categories}, alone]


def _runs(mask: np.ndarray) -> list[int]:
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def files() -> list[bytes]:
    """The same as files."""
    return [json.dumps(each).encode() for each in documents()]


CASES = written_documents(documents) | mutated_bytes(files)


def check_folder(data: bytes) -> None:
    """Any bytes are a split's annotations, whose label maps and objects hold what pycocotools says, or are refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "annotations", "instances_tiny.json")
        path.parent.mkdir()
        path.write_bytes(data)
        attempted(CocoDataset.open, folder, categories=Categories.of("giraffe", "Dog"))
        attempted(CocoDataset.open, folder, problems=[])
        dataset, error = attempted(CocoDataset.open, folder)
        if error is None:
            for each in dataset.images[:3]:
                if each.width * each.height <= 10_000:
                    _check_image(dataset, each.id)


def _check_image(dataset: CocoDataset, image_id: int) -> None:
    each = dataset.image(image_id)
    size_hw = each.height, each.width
    for policy in ("original", "torchvision"):
        labels, _ = attempted(dataset.truth, image_id, policy)
        assert labels.dtype == np.uint8 and labels.shape == size_hw
        assert set(np.unique(labels)) <= {*range(len(VOC)), IGNORE_INDEX}
    (labels, union), _ = attempted(_labels_and_masks, dataset, image_id)
    assert ((labels > 0) == union).all()
    json.dumps(dataset.other_categories(image_id)).encode()
    for sentence in dataset.other_categories(image_id):
        sentence.encode("utf-8")
    for name in ("original", "report"):
        chosen = protocols.protocol(name)
        scored, _ = attempted(chosen.truth_at_scored_size, dataset, image_id, Preprocess(size=8))
        outcomes, _ = attempted(judge_objects, dataset, image_id, scored, Task())
        assert all(outcome.area > 0 or not outcome.found for outcome in outcomes)


def _labels_and_masks(dataset: CocoDataset, image_id: int) -> tuple[np.ndarray, np.ndarray]:
    """The label map, and where pycocotools draws any object or crowd region."""
    labels = dataset.truth(image_id)
    union = np.zeros(labels.shape, bool)
    for each in dataset.objects.get(image_id, ()):
        drawn = each.segmentation
        if isinstance(drawn, tuple):
            drawn = rle_tools.merge(rle_tools.frPyObjects([list(part) for part in drawn], *labels.shape))
        elif isinstance(drawn["counts"], list):
            drawn = rle_tools.frPyObjects(drawn, *labels.shape)
        decoded = rle_tools.decode(drawn)
        assert np.array_equal(rle_tools.decode(rle_tools.encode(decoded)), decoded)
        union |= decoded.astype(bool)
    return labels, union


def check_own_truth(data: bytes) -> None:
    """Any bytes are the annotations of a visitor's photograph, or are refused."""
    with tempfile.TemporaryDirectory() as folder:
        path, photograph = Path(folder, "truth.json"), Path(folder, "photo.jpg")
        path.write_bytes(data)
        Image.new("RGB", (WIDTH, HEIGHT)).save(photograph)
        truth, error = attempted(supplied.read_truth, path, photograph, (HEIGHT, WIDTH))
    if error is None:
        check_truth(truth, (HEIGHT, WIDTH))
        for name in truth.others:
            name.encode("utf-8")


TARGETS = (
    Target("coco", CASES, check_folder, files),
    Target("own_truth", CASES, check_own_truth, files),
)
