"""Whether a score is good: the words beside it, and the pictures of the Guide."""

from __future__ import annotations

import re

import numpy as np
import pytest

from demo.answers import ground_truth
from demo.answers.model_pool import ModelPool
from demo.answers.overlaps import overlaps
from demo.markup import good_enough, tables
from segcore.inference.task import Task
from segcore.models import catalogue
from segcore.report import terms
from segcore.truth.coco import CocoDataset
from tests.helpers.samples import DOG


@pytest.mark.parametrize(
    ("key", "value", "floor", "published", "words"),
    [
        ("pixel_accuracy", 0.97, 0.62, 0.924, "better than all background (0.62); above the published 0.92"),
        ("pixel_accuracy", 0.91, 0.62, 0.924, "better than all background (0.62); close to the published 0.92"),
        ("mean_iou", 0.51, 0.31, 0.674, "<b>rough</b>; better than all background (0.31); below the published 0.67"),
        ("foreground_mean_iou", 0.93, 0.0, None, "<b>excellent</b>; better than all background (0.00)"),
        ("foreground_mean_iou", 0.0, 0.0, None, "<b>poor</b>; no better than all background (0.00)"),
        ("mse", 0.01, 0.04, None, "better than all background (0.04)"),
        ("brier", 0.05, 0.04, None, "no better than all background (0.04)"),
        ("boundary_iou", 0.5, None, None, ""),
        ("f1_macro", 0.5, float("nan"), None, ""),
        ("mean_iou", None, 0.3, 0.6, ""),
    ],
)
def test_a_score_says_how_it_compares(key, value, floor, published, words):
    assert good_enough.comparison(key, value, floor, published) == words


@pytest.mark.parametrize(("iou", "word"), [(1, "excellent"), (0.9, "excellent"), (0.89, "good"), (0.75, "good"),
                                           (0.6, "rough"), (0.5, "rough"), (0.49, "poor"), (0, "poor")])  # fmt: skip
def test_words_for_an_iou(iou, word):
    assert terms.iou_word(iou) == word


def test_published_scores_are_those_of_torchvision():
    from segcore.models.loading import facts

    for name in catalogue.CATALOGUE:
        known = facts(name)
        if known.mean_iou is None:
            assert good_enough.published_scores(name) == good_enough.published_scores(catalogue.PREFERRED)
            continue
        assert catalogue.PUBLISHED[name] == pytest.approx(
            {"mean_iou": known.mean_iou, "pixel_accuracy": known.pixel_accuracy}
        )


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task(), Task("binary", "dog")], ids=str)
def test_the_table_compares_with_an_answer_of_nothing_but_background(no_downloads, examples_coco, task):
    dataset, pool = CocoDataset.open(examples_coco), ModelPool(offline=True)
    compared = ground_truth.compare(pool, None, dataset, DOG, "auto", "original", "squeeze")
    view = ground_truth.view_compared(compared, task, "original")
    truth = task.truth(dataset.truth(DOG))
    share = (truth == 0).sum() / (truth != 255).sum()
    said = dict(re.findall(r'data-key="(\w+)".*?<td>([^<>]*(?:<b>\w+</b>)?[^<>]*)</td></tr>', tables.overall(view)))
    assert said["pixel_accuracy"].startswith(f"better than all background ({share:.2f})")
    assert f"({share / 2:.2f})" in said["mean_iou"]  # over background and dog
    assert ("the published" in said["mean_iou"]) == (not task.binary)
    assert view.all_background["foreground_mean_iou"] == 0


def test_pictures_of_the_guide_have_the_ious_that_they_say(examples_coco):
    shown = overlaps(CocoDataset.open(examples_coco), good_enough.IOUS)
    assert [each.iou for each in shown.predictions] == pytest.approx([0.9, 0.75, 0.5], abs=0.02)
    truth = filled(shown.truth, shown.size)
    for each in shown.predictions:
        moved = filled(each.path, shown.size)
        assert moved.sum() == truth.sum()  # nothing has left the picture
        assert (truth & moved).sum() / (truth | moved).sum() == pytest.approx(each.iou)


def filled(path: str, size: tuple[int, int]) -> np.ndarray:
    """Fill an SVG path of straight lines by the even-odd rule, bool (H, W): crossings to the left of each pixel."""
    width, height = size
    crossings = np.zeros((height, width + 1), int)
    for ring in re.findall(r"M([^MZ]*)Z", path):
        corners = [tuple(map(float, corner.split())) for corner in ring.split("L")]
        for (x, y), (to_x, to_y) in zip(corners, corners[1:] + corners[:1], strict=True):
            if x == to_x:
                crossings[int(min(y, to_y)) : int(max(y, to_y)), int(x)] += 1
    return crossings.cumsum(axis=1)[:, :width] % 2 == 1
