"""Scores of a label map against ground truth. Pixels are counted as integers first; scores are divided afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classes import BACKGROUND, IGNORE_INDEX, NUM_CLASSES
from ..errors import LabelError, UsageError

OVERALL_KEYS = (
    "pixel_accuracy",
    "mean_iou",
    "classes_counted",
    "foreground_mean_iou",
    "f1_macro",
    "f1_weighted",
    "mse",
    "frequency_weighted_iou",
    "mean_accuracy",
)
PER_CLASS_KEYS = ("iou", "f1", "precision", "recall")


_VALUES = 256  # all uint8 values are counted, so that an invalid label is detected
_CHUNK = 1 << 20  # pixels counted at once, to limit the memory for a large photograph


# ---- counting


def confusion_matrix(target: Any, prediction: Any, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """Count pixels by true and predicted class.

    target, prediction: arrays of the same shape, of any integer dtype or bool, with values 0..num_classes-1.
    `target` may also hold IGNORE_INDEX (255); such pixels are not counted. Returns C, int64 (num_classes,
    num_classes): C[t, p] is the number of pixels of class t in the truth and p in the prediction. Matrices of several
    images can be added. Raises LabelError for different shapes, for other dtypes and for any other value, also for a
    prediction's value at an ignored pixel, and UsageError for a `num_classes` that is not from 2 to 255.
    """
    if not 2 <= num_classes <= IGNORE_INDEX:
        raise UsageError(f"num_classes must be from 2 to {IGNORE_INDEX}, not {num_classes}")
    target, prediction = checked_labels(target, "target"), checked_labels(prediction, "prediction")
    _check_shapes(target.shape, prediction.shape)
    return matrix_of_pairs(count_pairs(target, prediction), num_classes)


def matrix_of_pairs(pairs: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the confusion matrix from the counts of `count_pairs`. Raises LabelError as `confusion_matrix` does."""
    _check_values(np.any(pairs, axis=1), "target", num_classes, IGNORE_INDEX)
    _check_values(np.any(pairs, axis=0), "prediction", num_classes)
    return pairs[:num_classes, :num_classes].copy()


def checked_labels(values: Any, side: str) -> np.ndarray:
    """Convert `values` to a uint8 array of the same shape. Raises LabelError if they cannot be class numbers."""
    array = np.asarray(values)
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise LabelError(f"the {side} must be an array of integers, class numbers; it is of {array.dtype}")
    if array.size and not 0 <= (low := array.min()) <= (high := array.max()) < _VALUES:
        raise LabelError(f"the {side} holds the value {low if low < 0 else high}, which is no class number")
    return array.astype(np.uint8)


def _check_shapes(target: tuple[int, ...], prediction: tuple[int, ...]) -> None:
    if target != prediction:
        raise LabelError(f"target and prediction must be of one shape; they are {target} and {prediction}")


def _check_values(present: np.ndarray, side: str, num_classes: int, ignored: int | None = None) -> None:
    """Raise LabelError if a value occurs that is no class. present: bool (256,), which values occur in `side`."""
    wrong = [value for value in np.flatnonzero(present).tolist() if value >= num_classes and value != ignored]
    if wrong:
        allowed = f"0 to {num_classes - 1}" + ("" if ignored is None else f" and {ignored} (ignored)")
        raise LabelError(f"the {side} holds the value {wrong[0]}; its class numbers may be {allowed}")


def count_pairs(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Count pairs of values: int64 (256, 256) by [target, prediction]. Both arrays are uint8 and of the same shape."""
    target, prediction = target.ravel(), prediction.ravel()
    counts = np.zeros(_VALUES * _VALUES, np.int64)
    for start in range(0, target.size, _CHUNK):
        # 255 is rare in the prediction. As the high byte it keeps the numbers small, and so the array of counts.
        pairs = prediction[start : start + _CHUNK].astype(np.uint16)
        pairs <<= 8
        pairs |= target[start : start + _CHUNK]
        found = _count_values(pairs)
        counts[: found.size] += found
    return counts.reshape(_VALUES, _VALUES).T


def _count_values(values: np.ndarray) -> np.ndarray:
    """Count the values of a uint16 array (n,), n > 0. Returns int64 (highest value + 1,)."""
    changes = values[1:] != values[:-1]
    # Label maps consist of long runs, and counting runs is faster. For noisy maps, counting single pixels is.
    if np.count_nonzero(changes) > values.size // 16:
        return np.bincount(values)
    last_of_run = np.append(np.flatnonzero(changes), values.size - 1)
    run_lengths = np.diff(last_of_run, prepend=-1)
    return np.bincount(values[last_of_run], run_lengths).astype(np.int64)


# ---- dividing


def scores(matrix: Any) -> dict[str, Any]:
    """Compute all scores of a confusion matrix, integers (n, n) as `confusion_matrix` returns them.

    Returns a dictionary that maps OVERALL_KEYS to floats (`classes_counted` to an int) and PER_CLASS_KEYS to float64
    arrays (n,). An undefined score (0/0, or a mean of nothing) is nan and is left out of means. A class that is
    predicted but not in the truth has IoU 0 and F1 0, and counts in means.

    `mse` is the mean squared difference of the one-hot masks, 2 (1 - pixel accuracy) / n: each wrong pixel is wrong in
    two of the n masks. For n = 2 it is also the mean squared difference of the two 0/1 masks.

    Raises LabelError for anything but a square array of counts.
    """
    result = score_arrays(checked_counts(matrix))
    overall = {key: result[key].item() for key in OVERALL_KEYS}
    return overall | {key: result[key] for key in PER_CLASS_KEYS}


def mean_defined(values: Any) -> float:
    """Return the mean of the values that are not nan; nan if there are none."""
    return float(mean_over_defined(np.asarray(values, np.float64).ravel()))


def checked_counts(matrix: Any) -> np.ndarray:
    """Convert `matrix` to int64 (n, n). Raises LabelError unless it is a square array of counts with n >= 2."""
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.shape[0] < 2:
        raise LabelError(f"a confusion matrix must be square, of 2 classes or more; it is {counts.shape}")
    if not np.issubdtype(counts.dtype, np.integer):
        raise LabelError(f"a confusion matrix must hold integers, counts of pixels; it is of {counts.dtype}")
    if counts.min() < 0:
        raise LabelError(f"a confusion matrix must hold counts of pixels; it holds {counts.min()}")
    return counts.astype(np.int64)


def score_arrays(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute `scores` for many matrices at once, integers (..., n, n), without checks.

    Returns a dictionary of arrays: overall scores (...), scores per class (..., n).
    """
    hit = counts.diagonal(axis1=-2, axis2=-1)
    true = counts.sum(axis=-1)
    predicted = counts.sum(axis=-2)
    total = true.sum(axis=-1)

    iou = divide(hit, true + predicted - hit)
    f1 = divide(2 * hit, true + predicted)
    recall = divide(hit, true)
    pixel_accuracy = divide(hit.sum(axis=-1), total)
    return {
        "pixel_accuracy": pixel_accuracy,
        "mean_iou": mean_over_defined(iou),
        "classes_counted": np.count_nonzero(true + predicted, axis=-1),
        "foreground_mean_iou": mean_over_defined(iou[..., BACKGROUND + 1 :]),
        "f1_macro": mean_over_defined(f1),
        "f1_weighted": divide(np.nansum(true * f1, axis=-1), total),
        "mse": 2 * (1 - pixel_accuracy) / counts.shape[-1],
        "frequency_weighted_iou": divide(np.nansum(true * iou, axis=-1), total),
        "mean_accuracy": mean_over_defined(recall),
        "iou": iou,
        "f1": f1,
        "precision": divide(hit, predicted),
        "recall": recall,
    }


def divide(numerator: Any, denominator: Any) -> np.ndarray:
    """Return numerator / denominator as float64; nan where the denominator is 0."""
    quotient = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator != 0)


def mean_over_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis, (..., n) -> float64 (...). nan values are left out; nan if all are nan."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


# ---- binary mode: one class, or any of the 20, against all else


def to_binary(label_map: Any, class_id: int | None, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """Convert a label map to a binary one: 1 for `class_id` (None: any class but the background), else 0; 255 stays.

    label_map: an integer array of any shape, with values under `num_classes` and 255. Returns uint8 of the same shape.
    Raises LabelError for any other value and UsageError for the background or an unknown class.
    """
    labels = checked_labels(label_map, "label map")
    table = np.zeros(_VALUES, np.uint8)
    table[_chosen(class_id, num_classes)] = 1
    table[IGNORE_INDEX] = IGNORE_INDEX
    flat, present = labels.ravel(), np.zeros(_VALUES, bool)
    result = np.empty_like(flat)
    for start in range(0, flat.size, _CHUNK):  # counting and indexing allocate 8 bytes per pixel
        part = flat[start : start + _CHUNK]
        present |= np.bincount(part, minlength=_VALUES) > 0
        result[start : start + _CHUNK] = table[part]
    _check_values(present, "label map", num_classes, IGNORE_INDEX)
    return result.reshape(labels.shape)


def _chosen(class_id: int | None, num_classes: int) -> slice | int:
    """Return the classes that become 1 in binary mode."""
    if class_id is None:
        return slice(BACKGROUND + 1, num_classes)
    if class_id == BACKGROUND:
        raise UsageError(f"the background is no object; choose a class from 1 to {num_classes - 1}, or None for any")
    if not BACKGROUND < class_id < num_classes:
        raise UsageError(f"there is no class {class_id}; choose one from 1 to {num_classes - 1}, or None for any")
    return class_id
