"""Objects, not only pixels: which of the annotated ones a prediction found, and what it took the others for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..inference.task import Task
from ..truth.dataset import Dataset, ImageId

FOUND_FROM_SHARE = 0.5  # of an object's own pixels
SIZES = {"small": 32**2, "medium": 96**2, "large": None}  # COCO's: an area in pixels under this one


class ObjectOutcome(NamedTuple):
    """What became of one object: its annotation's id, its class 1..20, its area in pixels of the photograph, whether
    it was found, and the label 0..20 that it was taken for (its own class where it was found).
    """

    id: int
    class_id: int
    area: int
    found: bool
    taken_for: int

    @property
    def size(self) -> str:
        """COCO's word for its size, by the area of its mask."""
        return next(name for name, limit in SIZES.items() if limit is None or self.area < limit)


def judge_objects(
    dataset: Dataset, image_id: ImageId, prediction: np.ndarray, task: Task
) -> tuple[ObjectOutcome, ...] | None:
    """Every object of an image that the task asks for, in the order of the annotations; None where they are not known.

    prediction: uint8 (H, W) as `task.predict` gives, at the photograph's size or another, to which the objects' masks
    are then resized (Pillow nearest). An object is found if at least half of its mask's pixels carry its class, be
    they counted in the scores or not; else it was taken for the label that most of its other pixels have. Crowd
    regions are no objects, and neither is one that has no pixel left at that size.

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
    """How many were found: in all, by size, and of each class that there is, with what the missed were taken for.

    names: of the classes, by their numbers.
    """
    per_class = {}
    for number in sorted({each.class_id for each in outcomes}):
        ours = [each for each in outcomes if each.class_id == number]
        mistaken = Counter(each.taken_for for each in ours if not each.found)
        taken_for = {names[label]: times for label, times in mistaken.most_common()}
        per_class[names[number]] = _found_of(ours) | {"taken_for": taken_for, "by_size": _by_size(ours)}
    return _found_of(outcomes) | {"by_size": _by_size(outcomes), "per_class": per_class}


def found_of(outcomes: Sequence[ObjectOutcome] | None) -> dict[str, int | None]:
    """How many objects an image has, and how many were found, as an image's row has them; None where not known."""
    if outcomes is None:
        return {"objects_total": None, "objects_found": None}
    return {"objects_total": len(outcomes), "objects_found": sum(each.found for each in outcomes)}


def _by_size(outcomes: Iterable[ObjectOutcome]) -> dict[str, dict[str, int]]:
    return {size: _found_of([each for each in outcomes if each.size == size]) for size in SIZES}


def _found_of(outcomes: Sequence[ObjectOutcome]) -> dict[str, int]:
    return {"total": len(outcomes), "found": sum(each.found for each in outcomes)}
