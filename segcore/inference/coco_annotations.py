"""Converts a label map to annotations in COCO's format, for annotation tools and pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..categories import VOC, Categories
from ..classes import BACKGROUND, CLASSES
from ..imaging import outlines
from ..imaging.drawing import pixels_per_label
from .export import encode_rle


def coco_document(
    labels: np.ndarray, categories: Categories, *, file_name: str, image_id: int, as_polygons: bool
) -> dict[str, list[dict[str, Any]]]:
    """Return a document with one image, one annotation for each class in `labels`, uint8 (H, W), and all categories.

    "segmentation" is a compressed run-length encoding, or a list of polygons [x0, y0, x1, y1, ...] without holes.
    """
    height, width = labels.shape
    present = [number for number in np.flatnonzero(pixels_per_label(labels)).tolist() if number != BACKGROUND]
    return {
        "images": [{"id": image_id, "file_name": file_name, "width": width, "height": height}],
        "annotations": [
            {"id": place, "image_id": image_id, "category_id": _category_id(number, categories), "iscrowd": 0}
            | _region(labels == number, as_polygons)
            for place, number in enumerate(present, start=1)
        ],
        "categories": [
            {"id": _category_id(number, categories), "name": _category_name(number, categories)}
            for number in range(BACKGROUND + 1, len(categories))
        ],
    }


def _region(mask: np.ndarray, as_polygons: bool) -> dict[str, Any]:
    """Return "segmentation", "area" in pixels and "bbox" [x, y, width, height] of a mask, bool (H, W), not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    segmentation: Any = encode_rle(mask)
    if as_polygons:
        segmentation = [ring.ravel().tolist() for ring in outlines.polygons(mask)]
    return {
        "segmentation": segmentation,
        "area": int(np.count_nonzero(mask)),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
    }


def _category_id(number: int, categories: Categories) -> int:
    return CLASSES[number].coco_id if categories == VOC else number


def _category_name(number: int, categories: Categories) -> str:
    return CLASSES[number].coco if categories == VOC else categories.names[number]
