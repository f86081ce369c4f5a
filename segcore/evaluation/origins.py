"""Where a score comes from: the images behind each cell of the confusion matrix and behind each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics.confusion import divide
from ..truth.dataset import ImageRecord
from .counts import json_number

NAMED = 8  # images named for a cell or a class, so that a record does not grow with the data set


def origins(images: Sequence[ImageRecord], matrices: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Find the images behind each score, from the confusion matrices of N images, int64 (N, n, n).

    Returns {"confusion": [{"truth", "prediction", "pixels", "images", "worst": [{"image_id", "pixels", "share"}]}],
    "per_class": {name: {"images", "worst": [{"image_id", "wrong_pixels", "iou"}]}}} as JSON values. "images" is their
    number; "worst" has at most NAMED of them, the worst first.

    A cell is listed if it has pixels. share: of the image's true pixels of the class. The worst images of a wrong cell
    have the most pixels in it; those of a right cell have the lowest share. The images of a class are those with the
    class in truth or prediction; the worst have the most wrong pixels, FP + FN.
    """
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)  # (N, n)
    ids = [image.id for image in images]
    return {
        "confusion": [
            {"truth": names[row], "prediction": names[column]}
            | _cell(ids, matrices[:, row, column], true[:, row], right=row == column)
            for row, column in np.argwhere(matrices.sum(axis=0))
        ],
        "per_class": {
            name: _class(ids, matrices[:, row, row], true[:, row] + predicted[:, row]) for row, name in enumerate(names)
        },
    }


def _cell(ids: Sequence[Any], pixels: np.ndarray, true: np.ndarray, *, right: bool) -> dict[str, Any]:
    """pixels, true: int64 (N,), each image's pixels in the cell, and its true pixels of the class."""
    share = divide(pixels, true)
    behind = np.flatnonzero(pixels)
    worst = behind[np.argsort(share[behind] if right else -pixels[behind], kind="stable")[:NAMED]]
    return {
        "pixels": int(pixels.sum()),
        "images": len(behind),
        "worst": [{"image_id": ids[at], "pixels": int(pixels[at]), "share": float(share[at])} for at in worst],
    }


def _class(ids: Sequence[Any], hit: np.ndarray, either: np.ndarray) -> dict[str, Any]:
    """hit, either: int64 (N,), each image's TP, and its true and predicted pixels added."""
    wrong, iou = either - 2 * hit, divide(hit, either - hit)
    behind = np.flatnonzero(either)
    worst = behind[np.argsort(-wrong[behind], kind="stable")[:NAMED]]
    return {
        "images": len(behind),
        "worst": [{"image_id": ids[at], "wrong_pixels": int(wrong[at]), "iou": json_number(iou[at])} for at in worst],
    }
