"""The images behind a cell of the confusion matrix and behind a class are those that a reader would pick by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from segcore.evaluation import evaluate
from segcore.evaluation.origins import NAMED, origins
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.truth.coco import CocoDataset

NAMES = ("background", "cat", "dog")
MATRICES = [  # of the images a to d: rows are truth, columns prediction
    [[90, 0, 0], [0, 10, 0], [0, 0, 0]],
    [[80, 5, 0], [0, 5, 10], [0, 0, 0]],
    [[50, 0, 0], [10, 20, 20], [0, 0, 0]],
    [[99, 0, 1], [0, 0, 0], [0, 0, 0]],
]


@pytest.fixture(scope="module")
def behind():
    return origins([SimpleNamespace(id=letter) for letter in "abcd"], np.array(MATRICES), NAMES)


def cell(behind, truth, prediction):
    [found] = [each for each in behind["confusion"] if (each["truth"], each["prediction"]) == (truth, prediction)]
    return found


def test_a_wrong_cell_has_the_images_with_the_most_pixels_in_it_first(behind):
    assert cell(behind, "cat", "dog") == {
        "truth": "cat",
        "prediction": "dog",
        "pixels": 30,
        "images": 2,
        "worst": [
            {"image_id": "c", "pixels": 20, "share": 0.4},
            {"image_id": "b", "pixels": 10, "share": pytest.approx(2 / 3)},
        ],
    }
    assert [each["image_id"] for each in cell(behind, "background", "dog")["worst"]] == ["d"]


def test_a_right_cell_has_the_images_with_the_smallest_share_first(behind):
    assert [(each["image_id"], each["share"]) for each in cell(behind, "cat", "cat")["worst"]] == [
        *(("b", pytest.approx(1 / 3)), ("c", 0.4), ("a", 1.0))
    ]


def test_only_cells_with_pixels_are_listed(behind):
    assert {(each["truth"], each["prediction"]) for each in behind["confusion"]} == {
        *(("background", "background"), ("background", "cat"), ("background", "dog")),
        *(("cat", "background"), ("cat", "cat"), ("cat", "dog")),
    }


def test_a_class_has_the_images_with_the_most_wrong_pixels_first(behind):
    cat = behind["per_class"]["cat"]
    assert cat["images"] == 3
    assert cat["worst"] == [
        {"image_id": "c", "wrong_pixels": 30, "iou": 0.4},
        {"image_id": "b", "wrong_pixels": 15, "iou": 0.25},
        {"image_id": "a", "wrong_pixels": 0, "iou": 1.0},
    ]
    dog = behind["per_class"]["dog"]["worst"]  # called, and nowhere true
    assert [(each["image_id"], each["iou"]) for each in dog] == [("c", 0.0), ("b", 0.0), ("d", 0.0)]


def test_a_class_that_is_nowhere_has_no_images():
    nothing = origins([SimpleNamespace(id=1)], np.array([[[9, 0, 0], [0, 0, 0], [0, 0, 0]]]), NAMES)
    assert nothing["per_class"]["cat"] == {"images": 0, "worst": []}
    assert origins([], np.zeros((0, 3, 3), np.int64), NAMES)["confusion"] == []


def test_few_images_are_named_however_many_there_are():
    matrices = np.zeros((NAMED + 5, 2, 2), np.int64)
    matrices[:, 1, 0] = np.arange(1, NAMED + 6)
    images = [SimpleNamespace(id=number) for number in range(NAMED + 5)]
    [missed] = origins(images, matrices, ("background", "any"))["confusion"]
    assert missed["images"] == NAMED + 5
    assert [each["image_id"] for each in missed["worst"]] == list(range(NAMED + 4, 4, -1))


def test_pixels_of_all_cells_are_the_confusion_matrix(nine_coco, quick):
    dataset = CocoDataset.open(nine_coco, "samples")
    run = evaluate.Run(quick, dataset, protocol("report"), Task(), dataset.images[:3])
    record = evaluate.evaluate(run).to_dict()
    matrix, names = np.zeros((21, 21), int), list(record["per_class"])
    for each in record["origins"]["confusion"]:
        matrix[names.index(each["truth"]), names.index(each["prediction"])] = each["pixels"]
        assert sum(row["pixels"] for row in each["worst"]) == each["pixels"]  # three images are all named
    assert matrix.tolist() == record["confusion"]
