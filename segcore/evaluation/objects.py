"""Counts objects instead of pixels: which annotated objects were found, and for what the others were taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..inference.task import Task
from ..truth.dataset import Dataset, ImageId

FOUND_FROM_SHARE = 0.5  # an object is found if this share of its pixels has its class
SIZES = {"small": 32**2, "medium": 96**2, "large": None}  # COCO's sizes: upper limits of the area in pixels


class ObjectOutcome(NamedTuple):
    """The result for one object.

    id: its annotation's. class_id: 1..20. area: in pixels of the photograph. taken_for: the label 0..20 that it was
    taken for; its own class if it was found.
    """

    id: int
    class_id: int
    area: int
    found: bool
    taken_for: int

    @property
    def size(self) -> str:
        """COCO's size category of the object, by the area of its mask."""
        return next(name for name, limit in SIZES.items() if limit is None or self.area < limit)


def judge_objects(
    dataset: Dataset, image_id: ImageId, prediction: np.ndarray, task: Task
) -> tuple[ObjectOutcome, ...] | None:
    """Judge the objects of an image whose class the task includes, in the order of the annotations.

    Returns None if the truth does not separate objects. prediction: uint8 (H, W), the result of `task.predict`. The
    objects' masks are resized to its size (Pillow nearest). An object is found if at least half of its mask's pixels
    have its class, also pixels that the scores ignore. Otherwise it was taken for the most frequent other label. Crowd
    regions and objects that have no pixel at the prediction's size are left out.

    Raises UsageError for an unknown image.
    """
    if not dataset.has_objects:
        return None
    outcomes = []
    for each, mask in dataset.masks(image_id):
        if task.binary and task.object_id not in (None, each.class_id):
            continue
        area = int(np.count_nonzero(mask))
        if mask.shape != prediction.shape:
            size = prediction.shape[::-1]
            mask = np.asarray(Image.fromarray(mask.view(np.uint8)).resize(size, Image.Resampling.NEAREST)).view(bool)
        labels = np.bincount(prediction[mask], minlength=len(task.categories))
        if not labels.any():
            continue
        own = 1 if task.binary else each.class_id
        found = bool(labels[own] >= FOUND_FROM_SHARE * labels.sum())
        labels[own] = 0
        taken_for = each.class_id if found else int(labels.argmax())
        outcomes.append(ObjectOutcome(each.id, each.class_id, area, found, taken_for))
    return tuple(outcomes)


def objects_record(outcomes: Sequence[ObjectOutcome], names: Sequence[str]) -> dict[str, Any]:
    """Count the found objects: in total, by size, and by class with the labels that missed objects were taken for.

    names: the classes' names by number.
    """
    per_class = {}
    for number in sorted({each.class_id for each in outcomes}):
        ours = [each for each in outcomes if each.class_id == number]
        mistaken = Counter(each.taken_for for each in ours if not each.found)
        taken_for = {names[label]: times for label, times in mistaken.most_common()}
        per_class[names[number]] = _found_of(ours) | {"taken_for": taken_for, "by_size": _by_size(ours)}
    return _found_of(outcomes) | {"by_size": _by_size(outcomes), "per_class": per_class}


def found_of(outcomes: Sequence[ObjectOutcome] | None) -> dict[str, int | None]:
    """Return the numbers of an image's objects and found objects, for its row; None if the truth has no objects."""
    if outcomes is None:
        return {"objects_total": None, "objects_found": None}
    return {"objects_total": len(outcomes), "objects_found": sum(each.found for each in outcomes)}


def _by_size(outcomes: Iterable[ObjectOutcome]) -> dict[str, dict[str, int]]:
    return {size: _found_of([each for each in outcomes if each.size == size]) for size in SIZES}


def _found_of(outcomes: Sequence[ObjectOutcome]) -> dict[str, int]:
    return {"total": len(outcomes), "found": sum(each.found for each in outcomes)}
