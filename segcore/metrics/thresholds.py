"""Precision, recall, F1 and IoU of a class at every threshold of its probability, from counts in steps of 1/256."""

from __future__ import annotations

from typing import Any

import numpy as np

from .confusion import divide

STEPS = 256  # a power of two, so that a float32 probability times STEPS is exact
KEYS = ("precision", "recall", "f1", "iou")


def curve(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores at the thresholds 0, 1/256, ..., 1.

    pixels: int64 (2, STEPS + 1), the pixels of the other classes and those of the class, by floor(256 P) of the class's
    probability P. A pixel is called the class if P >= threshold, so the scores at these thresholds are exact.
    Returns "thresholds" and KEYS, float64 (STEPS + 1,); nan for 0/0.
    """
    false, hit = np.cumsum(pixels[:, ::-1], axis=1)[:, ::-1]  # FP and TP at each threshold
    true = pixels[1].sum()
    return {
        "thresholds": np.arange(STEPS + 1) / STEPS,
        "precision": divide(hit, hit + false),
        "recall": divide(hit, np.broadcast_to(true, hit.shape)),
        "f1": divide(2 * hit, true + hit + false),
        "iou": divide(hit, true + false),
    }


def best(scores: dict[str, np.ndarray]) -> int | None:
    """Return the index of the threshold with the highest F1 of `curve`; None if the class is nowhere found.

    It has the highest IoU too, because IoU = F1 / (2 - F1). Of equals it is the nearest to 0.5.
    """
    f1 = np.nan_to_num(scores["f1"])
    if not f1.any():
        return None
    highest = np.flatnonzero(f1 == f1.max())
    return int(highest[np.abs(highest - STEPS // 2).argmin()])


def record(pixels: np.ndarray) -> dict[str, Any] | None:
    """Return `curve` and its best threshold as JSON values, undefined as None; None if no pixel has a probability."""
    if not pixels.any():
        return None
    scores = curve(pixels)
    chosen = best(scores)
    lists: dict[str, Any] = {
        key: [float(value) if np.isfinite(value) else None for value in values] for key, values in scores.items()
    }
    at_best = None if chosen is None else {key: lists[key][chosen] for key in KEYS}
    return lists | {"best": at_best and {"threshold": lists["thresholds"][chosen]} | at_best}
