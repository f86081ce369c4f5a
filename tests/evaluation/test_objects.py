"""Objects found and missed, on pictures small enough to be judged by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from segcore.classes import CLASSES, VOC_NAMES
from segcore.evaluation.objects import ObjectOutcome, judge_objects, objects_record
from segcore.inference.task import Task
from segcore.truth.coco import CocoDataset

CAT, CHAIR, DOG, PERSON = 8, 9, 12, 15
COCO_NAMES = {each.coco for each in CLASSES}
CATEGORIES = {1: "person", 17: "cat", 18: "dog", 62: "chair", 25: "giraffe"}


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def make_dataset(tmp_path):
    """One picture of the given size (width, height) with objects: (category, segmentation, iscrowd)."""

    def make(size, *objects):
        width, height = size
        annotations = [
            {"id": number, "image_id": 1, "category_id": category, "segmentation": where, "iscrowd": crowd, "area": 1}
            for number, (category, where, crowd) in enumerate(objects, 101)
        ]
        document = {
            "images": [{"id": 1, "file_name": "1.png", "width": width, "height": height}],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
        }
        (tmp_path / "annotations").mkdir()
        (tmp_path / "annotations" / "instances_hand.json").write_text(json.dumps(document))
        return CocoDataset.open(tmp_path)

    return make


def test_half_of_the_pixels_make_an_object_found(make_dataset):
    dataset = make_dataset((8, 4), (1, rectangle(0, 0, 4, 2), 0), (1, rectangle(4, 0, 8, 2), 0))
    prediction = np.zeros((4, 8), np.uint8)
    prediction[0, 0:4] = PERSON  # 4 of the first one's 8 pixels
    prediction[0, 4:7] = PERSON  # 3 of the second one's
    prediction[1, 4:6] = CHAIR

    first, second = judge_objects(dataset, 1, prediction, Task())

    assert first == ObjectOutcome(101, PERSON, 8, True, PERSON)
    assert second == ObjectOutcome(102, PERSON, 8, False, 0)  # 3 pixels of background against 2 of a chair


def test_missed_objects_are_taken_for_what_most_other_pixels_are_called(make_dataset):
    dataset = make_dataset((6, 1), (17, rectangle(0, 0, 6, 1), 0))
    outcome = judge_objects(dataset, 1, np.array([[CAT, CAT, DOG, DOG, DOG, 0]], np.uint8), Task())
    assert outcome == (ObjectOutcome(101, CAT, 6, False, DOG),)


def test_overlapping_objects_are_judged_each_by_its_own_mask(make_dataset):
    """In the truth their shared pixels are left out of the scores; both may still be found."""
    dataset = make_dataset((4, 1), (1, rectangle(0, 0, 3, 1), 0), (18, rectangle(1, 0, 4, 1), 0))
    assert (dataset.truth(1) == [[PERSON, 255, 255, DOG]]).all()
    outcomes = judge_objects(dataset, 1, np.array([[PERSON, PERSON, DOG, DOG]], np.uint8), Task())
    assert [each.found for each in outcomes] == [True, True]


def test_crowds_and_other_categories_are_no_objects(make_dataset):
    crowd = {"size": [2, 2], "counts": [0, 4]}
    dataset = make_dataset((2, 2), (1, crowd, 1), (25, rectangle(0, 0, 2, 2), 0), (62, rectangle(0, 0, 1, 1), 0))
    assert [each.class_id for each in judge_objects(dataset, 1, np.zeros((2, 2), np.uint8), Task())] == [CHAIR]


def test_binary_mode_judges_the_class_or_all(make_dataset):
    dataset = make_dataset((4, 1), (1, rectangle(0, 0, 2, 1), 0), (18, rectangle(2, 0, 4, 1), 0))
    prediction = np.array([[0, 0, 1, 1]], np.uint8)
    outcomes = judge_objects(dataset, 1, prediction, Task("binary"))
    assert [(each.class_id, each.found, each.taken_for) for each in outcomes] == [(PERSON, False, 0), (DOG, True, DOG)]
    (dog,) = judge_objects(dataset, 1, prediction, Task("binary", "dog"))
    assert dog.class_id == DOG and dog.found


def test_at_another_size_masks_are_resized_and_vanished_objects_left_out(make_dataset):
    dataset = make_dataset((40, 40), (17, rectangle(0, 0, 20, 40), 0), (18, rectangle(39, 0, 40, 1), 0))
    prediction = np.full((4, 4), DOG, np.uint8)
    prediction[:, :2] = CAT
    assert judge_objects(dataset, 1, prediction, Task()) == (ObjectOutcome(101, CAT, 800, True, CAT),)


def test_real_objects_as_pycocotools_draws_them(examples_coco):
    from pycocotools.coco import COCO

    dataset = CocoDataset.open(examples_coco)
    truth = COCO(str(examples_coco / "annotations" / "instances_samples.json"))
    for image in dataset.images:
        expected = {
            each["id"]: int(truth.annToMask(each).sum())
            for each in truth.imgToAnns[image.id]
            if not each["iscrowd"] and truth.cats[each["category_id"]]["name"] in COCO_NAMES
        }
        outcomes = judge_objects(dataset, image.id, dataset.truth(image.id, "torchvision"), Task())
        assert {each.id: each.area for each in outcomes} == expected
        with Image.open(dataset.path(image.id)) as photograph:
            assert photograph.size == (image.width, image.height)


@pytest.mark.parametrize(("area", "size"), [(1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")])
def test_sizes_are_cocos(area, size):
    assert ObjectOutcome(1, CAT, area, True, CAT).size == size


def test_record_counts_by_class_and_size():
    outcomes = [
        ObjectOutcome(1, CAT, 500, False, 0),
        ObjectOutcome(2, CAT, 50_000, True, CAT),
        ObjectOutcome(3, CAT, 2_000, False, DOG),
        ObjectOutcome(4, PERSON, 2_000, True, PERSON),
        ObjectOutcome(5, CAT, 700, False, DOG),
    ]
    record = objects_record(outcomes, VOC_NAMES)
    assert (record["total"], record["found"]) == (5, 2)
    assert record["by_size"] == {
        "small": {"total": 2, "found": 0},
        "medium": {"total": 2, "found": 1},
        "large": {"total": 1, "found": 1},
    }
    assert list(record["per_class"]) == ["cat", "person"]
    cat = record["per_class"]["cat"]
    assert (cat["total"], cat["found"], cat["taken_for"]) == (4, 1, {"dog": 2, "background": 1})
    assert cat["by_size"]["medium"] == {"total": 1, "found": 0}
    assert objects_record([], VOC_NAMES)["per_class"] == {}
