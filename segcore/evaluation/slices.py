"""Scores of parts of a data set: by the objects' size and number, by brightness, and by tags that a person gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..truth.tags import Tags
from .bootstrap import interval, resampled
from .counts import Counts, json_number
from .objects import SIZES
from .run import Scored

NO_OBJECT = "no object"
NUMBERS = {"no object": 0, "1 object": 1, "2 to 4 objects": 4, "5 objects and more": None}  # upper limits, included
BRIGHTNESS = {"dark": 90, "medium": 140, "bright": None}  # upper limits of the mean luma 0..255, not included
SCORES = ("mean_iou", "foreground_mean_iou")


def brightness(photograph: np.ndarray) -> float:
    """Return the mean luma of a photograph, uint8 RGB (H, W, 3): 0 (black) to 255. ITU-R BT.601, as Pillow's "L"."""
    return round(float(np.asarray(Image.fromarray(photograph).convert("L")).mean()), 3)


def slices(scored: Sequence[Scored], per_image: Counts, tags: Tags | None, *, has_objects: bool) -> dict[str, Any]:
    """Compute the dataset scores of parts of N images, as JSON values.

    scored: the images that were counted. per_image: their counts along the first axis. has_objects: whether the truth
    separates objects. Returns {"object_size", "objects", "brightness": [part], "tags": {column: [part]}} with part =
    {"name", "images", "mean_iou", "foreground_mean_iou", "intervals": {the two scores: [low, high] or None}}. Parts
    without images are left out, and so are images without a tag from a tag's parts. "object_size" and "objects" are
    None if the truth does not separate objects.

    object_size: COCO's size of the image's largest object. objects: the number of objects. brightness: `brightness` of
    the photograph. In binary mode only objects of the class count. The intervals are those of `bootstrap`.
    """

    def parts(names: Iterable[str], name_of: Callable[[Scored], str | None]) -> list[dict[str, Any]]:
        of_images = [name_of(each) for each in scored]
        return [
            _part(name, per_image.of(np.array([each == name for each in of_images])))
            for name in names
            if name in of_images
        ]

    columns = tags.columns if tags else {}
    return {
        "object_size": parts((NO_OBJECT, *SIZES), _largest) if has_objects else None,
        "objects": parts(NUMBERS, _number) if has_objects else None,
        "brightness": parts(BRIGHTNESS, _brightness),
        "tags": {name: parts(sorted(set(tagged.values())), _tag_in(tagged)) for name, tagged in columns.items()},
    }


def _part(name: str, counts: Counts) -> dict[str, Any]:
    scores, (samples, _) = counts.total().scores(), resampled(counts)
    return {
        "name": name,
        "images": len(counts.matrix),
        **{key: json_number(scores[key]) for key in SCORES},
        "intervals": {key: interval(samples[key]) for key in SCORES},
    }


def _largest(scored: Scored) -> str:
    largest = max(scored.objects or (), key=lambda each: each.area, default=None)
    return NO_OBJECT if largest is None else largest.size


def _number(scored: Scored) -> str:
    number = len(scored.objects or ())
    return next(name for name, most in NUMBERS.items() if most is None or number <= most)


def _brightness(scored: Scored) -> str | None:
    if scored.brightness is None:
        return None
    return next(name for name, limit in BRIGHTNESS.items() if limit is None or scored.brightness < limit)


def _tag_in(tagged: Mapping[Any, str]) -> Callable[[Scored], str | None]:
    return lambda scored: tagged.get(scored.image.id)
