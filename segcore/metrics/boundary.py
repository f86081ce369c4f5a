"""Boundary IoU: how well the borders of a label map match the ground truth's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classes import IGNORE_INDEX, NUM_CLASSES
from ..errors import LabelError
from .confusion import checked_labels, confusion_matrix, count_pairs, divide


def boundary_counts(target: Any, prediction: Any, num_classes: int = NUM_CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each class, the pixels in the intersection and the union of the true and predicted boundary bands.

    Boundary IoU (Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR
    2021). The band of a class is its mask minus the mask eroded d times by a 3 x 3 kernel of ones. Pixels outside the
    image count as 0, so the image's border belongs to the boundary; d is `boundary_distance`. Pixels whose truth is 255
    are removed from both masks before the erosion, so that a perfect prediction scores exactly 1.

    target, prediction: (H, W); types, values and errors as in `confusion_matrix`. Returns two int64 arrays
    (num_classes,), which can be added over images.
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
    """Return the boundary IoU per class, float64 (n,), from `boundary_counts`; nan for a class without a boundary."""
    return divide(np.asarray(intersection), np.asarray(union))


def boundary_distance(height: int, width: int) -> int:
    """Return the width of an image's boundary bands, in pixels: d = max(1, round(0.02 x diagonal in pixels)).

    Rounds halves to even (Python's `round`), as the authors' code does.
    """
    return max(1, round(0.02 * float(np.hypot(height, width))))


def _interior(labels: np.ndarray, distance: int) -> np.ndarray:
    """Return bool (H, W): whether the square of side 2 `distance` + 1 around a pixel has one label, inside the image.

    Eroding a mask `distance` times by 3 x 3 equals eroding it once by this square. A pixel survives the erosion of its
    class's mask exactly if the square has one label, so one pass handles all classes.
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
    """Return the minimum or maximum of every `length` consecutive rows: (n, m) -> (n - length + 1, m)."""
    reach = 1
    while reach < length:  # `array` holds windows of `reach` rows; two windows make a wider one
        step = min(reach, length - reach)
        array = extreme(array[:-step], array[step:])
        reach += step
    return array
