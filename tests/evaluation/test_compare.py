"""Two runs on the same images: paired differences."""

import dataclasses

import numpy as np
import pytest

from segcore.errors import UsageError
from segcore.evaluation.compare import compare
from segcore.evaluation.evaluate import Evaluation, Run, Scored
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.report import headlines
from segcore.truth.coco_json import CocoImage
from tests.evaluation.test_bootstrap import counts_of


@dataclasses.dataclass
class Named:
    """What a run's record needs of a segmenter, or of a dataset."""

    model: str = "a"
    split: str = "hand"
    weights_sha256: str = "0" * 64
    resize: str = "squeeze"
    device: str = "cpu"
    precision: str = "float32"
    engine: str = "torch"
    tta: bool = False
    calibration: None = None
    refine: None = None
    temperature: None = None
    has_objects: bool = False


def evaluation(model, matrices, *, ids=None, task=Task("binary", "cat"), name="original", split="hand"):  # noqa: B008
    ids = ids or range(1, len(matrices) + 1)
    images = tuple(CocoImage(number, f"{number}.jpg", 10, 10) for number in ids)
    run = Run(Named(model), Named(split=split), protocol(name), task, images)
    scored = [Scored(image, counts_of(matrix)) for image, matrix in zip(images, matrices, strict=True)]
    return Evaluation(run, tuple(scored), 0.0)


def matrix(right, wrong):
    return [[60, wrong], [0, right]]


def test_differences_are_those_of_the_scores():
    rng = np.random.default_rng(0)
    hard = rng.integers(1, 60, 40)
    first = evaluation("a", [matrix(20, each) for each in hard])
    second = evaluation("b", [matrix(20, max(0, each - 2)) for each in hard])
    record = compare(first, second)

    one, other = first.to_dict(), second.to_dict()
    assert record["images"] == 40 and (record["first"]["model"], record["second"]["model"]) == ("a", "b")
    for scope in ("dataset", "image_mean"):
        row = record[scope]["foreground_mean_iou"]
        assert row["first"] == one[scope]["foreground_mean_iou"]
        assert row["difference"] == pytest.approx(other[scope]["foreground_mean_iou"] - row["first"])
        assert row["low"] <= row["difference"] <= row["high"]
    iou = record["per_class"]["cat"]["iou"]
    assert iou["difference"] == pytest.approx(other["per_class"]["cat"]["iou"] - one["per_class"]["cat"]["iou"])


def test_what_makes_an_image_hard_for_both_cancels_out():
    """Each model's own interval is wide, and that of their difference is not: the second is surely better."""
    hard = np.random.default_rng(0).integers(1, 200, 30)
    first = evaluation("a", [matrix(20, each) for each in hard])
    second = evaluation("b", [matrix(20, each - 1) for each in hard])
    row = compare(first, second)["dataset"]["pixel_accuracy"]
    low, high = first.to_dict()["intervals"]["dataset"]["pixel_accuracy"]
    assert low < row["second"] < high
    assert 0 < row["low"] < row["high"] < 0.1 * (high - low)


def test_only_images_that_both_have_count_and_the_largest_difference_comes_first():
    first = evaluation("a", [matrix(10, 10), matrix(10, 30), matrix(10, 0)], ids=[1, 2, 3])
    second = evaluation("b", [matrix(10, 0), matrix(10, 0), matrix(0, 0)], ids=[2, 3, 4])
    record = compare(first, second)
    assert record["images"] == 2
    assert [(row["image_id"], row["first"], row["second"]) for row in record["per_image"]] == [
        (2, pytest.approx(0.25), 1),
        (3, 1, 1),
    ]


def test_headline_names_both_models():
    text = headlines.of_comparison(compare(evaluation("a", [matrix(1, 1)]), evaluation("b", [matrix(1, 0)])))
    assert "first:  1 image of hand - a (" in text and "second: 1 image of hand - b (" in text
    assert "+0.0000" not in [line.split()[3] for line in text.splitlines() if line.startswith("pixel_accuracy")]


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"task": Task("binary", "dog")}, "different classes"),
        ({"name": "report"}, "different ground truths"),
        ({"split": "other"}, "different splits"),
        ({"ids": [9]}, "no image in common"),
    ],
)
def test_errors(other, problem):
    with pytest.raises(UsageError, match=problem):
        compare(evaluation("a", [matrix(1, 1)]), evaluation("b", [matrix(1, 1)], **other))
