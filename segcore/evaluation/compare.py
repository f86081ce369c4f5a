"""Compares two models, or two settings of one model, on the same images by paired differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError
from ..metrics.confusion import mean_defined
from .bootstrap import SETTINGS, interval, resampled
from .counts import OVERALL_KEYS, PER_CLASS_KEYS, Counts, json_number
from .results import RANKED_BY, Evaluation
from .run import SCHEMA, Run


def compare(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """Compute the differences second - first of all scores, with 95 % intervals, over the images that both counted.

    Each resample draws the same images for both runs, so the difficulty of an image cancels out. Returns {"schema",
    "first" and "second" (their settings), "images", "level", "resamples", "seed", "dataset": {key: {"first", "second",
    "difference", "low", "high"}}, "image_mean": {the same}, "per_class": {name: {key: {the same}}}, "per_image":
    [{"image_id", "file_name", "first", "second", "difference"}]}; undefined values are None. `per_image` has the
    foreground mean IoU of each image (1 if truth and prediction are empty), the largest difference first.

    Raises UsageError for runs with different classes, splits or ground truths, or without a common image.
    """
    _check_comparable(first.run, second.run)
    names = first.run.task.names
    images, ours, theirs = _paired(first, second)
    if not images:
        raise UsageError("the two runs have no image in common; score both on the same images")
    totals = [each.total().scores() for each in (ours, theirs)]
    samples, mean_samples = zip(*(resampled(each) for each in (ours, theirs)), strict=True)
    by_image = [each.scores() for each in (ours, theirs)]
    means = [{key: mean_defined(scores[key]) for key in OVERALL_KEYS} for scores in by_image]
    columns = [each["per_class"] for each in samples]
    return {
        "schema": SCHEMA,
        "first": first.run.record(),
        "second": second.run.record(),
        "images": len(images),
        **SETTINGS,
        "dataset": {key: _difference(*(each[key] for each in (*totals, *samples))) for key in OVERALL_KEYS},
        "image_mean": {key: _difference(*(each[key] for each in (*means, *mean_samples))) for key in OVERALL_KEYS},
        "per_class": {
            name: {
                key: _difference(
                    *(each["per_class"][key][row] for each in totals), *(each[key][:, row] for each in columns)
                )
                for key in PER_CLASS_KEYS
            }
            for row, name in enumerate(names)
        },
        "per_image": _ranked(images, *(each[RANKED_BY] for each in by_image)),
    }


def _check_comparable(first: Run, second: Run) -> None:
    for what, one, other in (
        ("classes", first.task.names, second.task.names),
        ("splits", first.dataset.split, second.dataset.split),
        ("ground truths", first.protocol.truth, second.protocol.truth),
    ):
        if one != other:
            raise UsageError(f"runs with different {what} cannot be compared: {one} and {other}")


def _paired(first: Evaluation, second: Evaluation) -> tuple[list, Counts, Counts]:
    """Return the images that both runs counted, by id, and each run's counts of them along a first axis."""
    counted = [{each.image.id: each for each in evaluation.counted} for evaluation in (first, second)]
    ids = [number for number in counted[0] if number in counted[1]]
    num_classes = first.run.task.num_classes
    chosen = ([each[number].counts for number in ids] for each in counted)
    ours, theirs = (Counts.stacked(filter(None, each), num_classes) for each in chosen)
    return [counted[0][number].image for number in ids], ours, theirs


def _difference(first: float, second: float, firsts: np.ndarray, seconds: np.ndarray) -> dict[str, float | None]:
    low, high = interval(seconds - firsts) or (None, None)
    numbers = {"first": first, "second": second, "difference": second - first}
    return {key: json_number(value) for key, value in numbers.items()} | {"low": low, "high": high}


def _ranked(images: list, firsts: np.ndarray, seconds: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for image, *pair in zip(images, np.nan_to_num(firsts, nan=1), np.nan_to_num(seconds, nan=1), strict=True):
        one, other = map(float, pair)
        named = {"image_id": image.id, "file_name": image.file_name}
        rows.append(named | {"first": one, "second": other, "difference": other - one})
    return sorted(rows, key=lambda row: -abs(row["difference"]))
