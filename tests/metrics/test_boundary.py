"""Boundary IoU against its literal definition and pixels counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segcore.classes import IGNORE_INDEX
from segcore.errors import LabelError
from segcore.metrics import boundary
from tests.helpers.label_maps import blobs, with_ignored


def literal_boundary_counts(target, prediction, num_classes):
    distance = max(1, round(0.02 * np.sqrt(target.shape[0] ** 2 + target.shape[1] ** 2)))
    counts = np.zeros((2, num_classes), int)
    valid = target != IGNORE_INDEX
    for number in range(num_classes):
        true, predicted = (
            mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
            for mask in (target == number, (prediction == number) & valid)
        )
        counts[:, number] = (true & predicted).sum(), (true | predicted).sum()
    return counts


@pytest.mark.parametrize("size_hw", [(60, 80), (81, 40), (240, 320), (150, 7), (2, 300), (300, 2), (1, 1)])
def test_boundary_counts_are_those_of_the_definition(size_hw):
    target, prediction = with_ignored(blobs(1, size_hw)), blobs(2, size_hw)
    expected = literal_boundary_counts(target, prediction, 21)
    assert np.array_equal(boundary.boundary_counts(target, prediction), expected)


def test_boundary_counts_by_hand():
    target = np.zeros((9, 9), np.uint8)
    target[2:7, 2:7] = 1
    prediction = np.roll(target, 1, axis=1)
    intersection, union = boundary.boundary_counts(target, prediction, num_classes=2)
    # Two rings of 16 pixels, one column apart, share 4 pixels above, 4 below and none at the sides.
    assert (intersection[1], union[1]) == (8, 24)
    assert boundary.boundary_iou(intersection, union)[1] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("size_hw", "distance"), [((480, 640), 16), ((3, 4), 1), ((375, 500), 12), ((75, 100), 2)])
def test_boundary_distance(size_hw, distance):
    assert boundary.boundary_distance(*size_hw) == distance  # 12.5 and 2.5 go to the even neighbour


def test_boundary_of_a_perfect_prediction():
    target = blobs(1)
    intersection, union = boundary.boundary_counts(target, target)
    assert np.array_equal(intersection, union)
    present = np.unique(target)
    iou = boundary.boundary_iou(intersection, union)
    assert (iou[present] == 1).all()
    assert np.isnan(np.delete(iou, present)).all()


def test_boundary_of_a_perfect_prediction_around_a_hole_that_is_ignored():
    target = np.zeros((100, 100), np.uint8)
    target[10:90, 10:90] = 1
    target[40:60, 40:60] = IGNORE_INDEX
    prediction = np.where(target == IGNORE_INDEX, np.uint8(1), target)
    assert boundary.boundary_iou(*boundary.boundary_counts(target, prediction, num_classes=2)).tolist() == [1, 1]


def test_boundary_where_all_is_ignored():
    intersection, union = boundary.boundary_counts(np.full((9, 9), 255), np.ones((9, 9), int), num_classes=2)
    assert union.tolist() == [0, 0]
    assert np.isnan(boundary.boundary_iou(intersection, union)).all()


def test_boundary_counts_errors():
    with pytest.raises(LabelError, match="prediction holds the value 21"):
        boundary.boundary_counts(np.zeros((3, 3), int), np.full((3, 3), 21))
    with pytest.raises(LabelError, match=r"\(height, width\).*\(9,\)"):
        boundary.boundary_counts(np.zeros(9, int), np.zeros(9, int))
