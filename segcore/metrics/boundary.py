"""Boundary IoU: how well the edges of a label map fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classes import IGNORE_INDEX, NUM_CLASSES
from ..errors import LabelError
from .confusion import checked_labels, confusion_matrix, count_pairs, divide


def boundary_counts(target: Any, prediction: Any, num_classes: int = NUM_CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in the intersection and in the union of the true and the predicted boundary bands of each class.

    Boundary IoU (Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR
    2021). The band of a class is its mask without the mask eroded d times by 3 x 3 of ones, with zeros beyond
    the image, so that the image's border counts; d is `boundary_distance`. Pixels whose truth is 255 belong to no
    mask of either side before the erosion, so that a perfect prediction scores exactly 1.

    `target` and `prediction` are (H, W) and otherwise as in `confusion_matrix`, errors included. Returns two
    int64 arrays (num_classes,), which may be added over images.
    """
    confusion_matrix(target, prediction, num_classes)  # for its checks of both label maps
    target, prediction = checked_labels(target, "target"), checked_labels(prediction, "prediction")
    if target.ndim != 2:
        raise LabelError(f"boundaries need label maps of shape (height, width); these are {target.shape}")
    distance = boundary_distance(*target.shape)
    prediction = np.where(target == IGNORE_INDEX, np.uint8(IGNORE_INDEX), prediction)
    pairs = count_pairs(
        *(np.where(_interior(each, distance), np.uint8(IGNORE_INDEX), each) for each in (target, prediction))
    )
    intersection = pairs.diagonal()[:num_classes].copy()
    union = pairs.sum(axis=1)[:num_classes] + pairs.sum(axis=0)[:num_classes] - intersection
    return intersection, union


def boundary_iou(intersection: Any, union: Any) -> np.ndarray:
    """float64 (n,): the boundary IoU per class from `boundary_counts`, nan for a class on neither side."""
    return divide(np.asarray(intersection), np.asarray(union))


def boundary_distance(height: int, width: int) -> int:
    """How many pixels wide the boundary bands of an image are: d = max(1, round(0.02 x diagonal in pixels)).

    Python's `round`, as in the authors' code: a half goes to the even neighbour.
    """
    return max(1, round(0.02 * float(np.hypot(height, width))))


def _interior(labels: np.ndarray, distance: int) -> np.ndarray:
    """bool (H, W): whether the square of side 2 `distance` + 1 around a pixel is in the image and of one label.

    Eroding a mask `distance` times by 3 x 3 is eroding it once by that square, and a pixel survives the erosion
    of its own class's mask exactly then: one pass serves all classes.
    """
    height, width = labels.shape
    side = 2 * distance + 1
    interior = np.zeros((height, width), bool)
    if height < side or width < side:
        return interior
    lowest = _slide(_slide(labels, side, np.minimum).T, side, np.minimum).T
    highest = _slide(_slide(labels, side, np.maximum).T, side, np.maximum).T
    interior[distance : height - distance, distance : width - distance] = lowest == highest
    return interior


def _slide(array: np.ndarray, length: int, extreme: np.ufunc) -> np.ndarray:
    """The extreme of every `length` consecutive rows: (n, m) -> (n - length + 1, m)."""
    reach = 1
    while reach < length:  # windows of `reach` rows, two of which make a wider one
        step = min(reach, length - reach)
        array = extreme(array[:-step], array[step:])
        reach += step
    return array
