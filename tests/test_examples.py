"""The sample dataset is sound: its photographs, annotations and table of sources agree with one another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

EXAMPLES = Path(__file__).parents[1] / "examples"
DATASET = json.loads((EXAMPLES / "annotations" / "instances_samples.json").read_text(encoding="utf-8"))
IMAGES = {image["id"]: image for image in DATASET["images"]}
VOC_IN_COCO = {5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72}

each_image = pytest.mark.parametrize("image", DATASET["images"], ids=lambda image: image["file_name"])
each_annotation = pytest.mark.parametrize(
    "annotation", DATASET["annotations"], ids=lambda a: f"annotation{a['id']}"
)


def decode(annotation: dict) -> np.ndarray:
    """The annotation's mask, bool (height, width), by pycocotools alone."""
    image = IMAGES[annotation["image_id"]]
    rle = coco_mask.frPyObjects(annotation["segmentation"], image["height"], image["width"])
    if isinstance(rle, list):
        rle = coco_mask.merge(rle)
    return coco_mask.decode(rle).astype(bool)


def voc_classes(image: dict) -> set[int]:
    marked = {each["category_id"] for each in DATASET["annotations"] if each["image_id"] == image["id"]}
    return marked & VOC_IN_COCO


@each_image
def test_photograph_is_as_declared(image):
    path = EXAMPLES / "samples" / image["file_name"]
    assert path.name == f"{image['id']:012d}.jpg"
    with Image.open(path) as photograph:
        photograph.load()
        assert photograph.format == "JPEG"
        assert photograph.mode == "RGB"
        assert photograph.size == (image["width"], image["height"])
        assert max(photograph.size) <= 900


@each_image
def test_photograph_carries_no_metadata(image):
    with Image.open(EXAMPLES / "samples" / image["file_name"]) as photograph:
        assert not dict(photograph.getexif())
        assert not {"exif", "xmp", "photoshop", "comment"} & set(photograph.info)


@each_image
def test_photograph_states_its_source_and_a_public_licence(image):
    names = {licence["id"]: licence["name"] for licence in DATASET["licenses"]}
    name = names[image["license"]]
    assert name.startswith(("CC0", "Public domain"))
    assert image["source"]
    (row,) = [
        line
        for line in (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and image["file_name"] in line
    ]
    assert name.split()[0].casefold() in row.split("|")[-2].casefold()


@each_annotation
def test_mask_fills_its_area_and_box(annotation):
    mask = decode(annotation)
    image = IMAGES[annotation["image_id"]]
    assert mask.shape == (image["height"], image["width"])
    assert mask.sum() == annotation["area"] > 0
    rows, columns = np.nonzero(mask)
    left, top, width, height = annotation["bbox"]
    assert (left, top) == (columns.min(), rows.min())
    assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)


@each_annotation
def test_outline_stays_inside_the_photograph(annotation):
    if annotation["iscrowd"]:
        assert isinstance(annotation["segmentation"], dict), "COCO gives its crowd regions as RLE"
    if isinstance(annotation["segmentation"], list):
        image = IMAGES[annotation["image_id"]]
        for outline in annotation["segmentation"]:
            points = np.reshape(outline, (-1, 2))
            assert len(points) >= 3
            assert (points >= 0).all()
            assert (points <= (image["width"], image["height"])).all()


def test_files_and_records_are_the_same_set():
    assert {path.name for path in (EXAMPLES / "samples").iterdir()} == {
        i["file_name"] for i in IMAGES.values()
    }
    assert len(IMAGES) == len(DATASET["images"]) >= 6
    ids = [annotation["id"] for annotation in DATASET["annotations"]]
    assert len(set(ids)) == len(ids)


def test_categories_are_those_of_coco():
    names = {category["id"]: category["name"] for category in DATASET["categories"]}
    assert len(names) == len(DATASET["categories"]) == 80
    assert (names[1], names[44], names[67], names[90]) == ("person", "bottle", "dining table", "toothbrush")
    assert VOC_IN_COCO < set(names)
    assert {annotation["category_id"] for annotation in DATASET["annotations"]} <= set(names)


def test_dataset_shows_what_the_product_needs_to_show():
    outlined = {each["category_id"] for each in DATASET["annotations"] if not each["iscrowd"]}
    assert len(outlined & VOC_IN_COCO) >= 5
    assert set() in [voc_classes(image) for image in DATASET["images"]], (
        "none of the 20 classes in one photograph"
    )
    assert len({(image["width"], image["height"]) for image in DATASET["images"]}) > 1
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*.jpg")) < 1_500_000


def test_dataset_has_every_kind_of_segmentation():
    kinds = {(type(each["segmentation"]), each["iscrowd"]) for each in DATASET["annotations"]}
    assert kinds == {(list, 0), (dict, 0), (dict, 1)}


def test_rle_that_is_no_crowd_has_a_hole():
    (annotation,) = [
        each
        for each in DATASET["annotations"]
        if isinstance(each["segmentation"], dict) and not each["iscrowd"]
    ]
    mask = decode(annotation)
    height, width = mask.shape
    middle = mask[height // 2]
    assert middle[0] and middle[-1] and not middle[width // 2]
