"""Pictures of what an IoU looks like: the outline of a sample's object, and the same outline moved aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from demo.view import pictures
from segcore.categories import VOC
from segcore.imaging import outlines, reading
from segcore.truth.dataset import Dataset, ImageId

SIDE = 320  # pixels: the longer side of the masks; one pixel changes the IoU by about 0.01
PHOTO_SIDE = 360
TRAIN = 565778, VOC.number("train")  # a sample with one object that can be moved without leaving the picture


@dataclass(frozen=True)
class Overlap:
    """A prediction that is the truth moved aside. iou: of the two. path: the prediction's outline, SVG's `d`."""

    iou: float
    path: str


@dataclass(frozen=True)
class Overlaps:
    """A photograph as a data URI, the (width, height) in which the paths are, the truth's path and the predictions."""

    photo: str
    size: tuple[int, int]
    truth: str
    predictions: Sequence[Overlap]


def overlaps(
    dataset: Dataset, levels: Sequence[float], image_id: ImageId = TRAIN[0], number: int | None = TRAIN[1]
) -> Overlaps:
    """Move the objects of class `number` so that the IoU with their truth is each of `levels`, or slightly more."""
    photograph, labels = dataset.read_image(image_id), dataset.truth(image_id)
    scale = SIDE / max(labels.shape)
    size = max(1, round(labels.shape[1] * scale)), max(1, round(labels.shape[0] * scale))
    mask = np.asarray(Image.fromarray(labels == number).resize(size, Image.Resampling.NEAREST))
    moved = [_moved(mask, by) for by in range(size[0] // 2)]
    ious = np.array([iou(mask, each) for each in moved])
    nearest = [int(np.flatnonzero(ious >= level)[-1]) for level in levels]
    photo = pictures.encode_photo(reading.fit_within(photograph, PHOTO_SIDE), quality=75)["src"]
    return Overlaps(photo, size, _path(mask), [Overlap(float(ious[each]), _path(moved[each])) for each in nearest])


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two bool masks."""
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def _moved(mask: np.ndarray, by: int) -> np.ndarray:
    """Return the mask moved to the right. What leaves the picture is lost."""
    moved = np.zeros_like(mask)
    moved[:, by:] = mask[:, : mask.shape[1] - by]
    return moved


def _path(mask: np.ndarray) -> str:
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in ring) + "Z" for ring in outlines.rings(mask))
