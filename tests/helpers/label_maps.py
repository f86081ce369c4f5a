"""Photographs and label maps for tests of pictures and scores."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from segcore.classes import IGNORE_INDEX

RNG = np.random.default_rng(0)
PHOTOGRAPH = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def patches(height: int = 40, width: int = 50) -> np.ndarray:
    """A label map with background, ignored pixels, touching classes and a single pixel."""
    labels = np.zeros((height, width), np.uint8)
    labels[5:20, 5:25] = 15
    labels[12:30, 20:45] = 9
    labels[0:3, 0:50] = 255
    labels[35, 10] = 3
    return labels


def blobs(seed: int, size_hw: tuple[int, int] = (60, 80), classes: tuple[int, ...] = (0, 0, 5, 15, 20)) -> np.ndarray:
    """A label map of smooth regions: uint8 (H, W)."""
    noise = np.random.default_rng(seed).random((len(classes), *size_hw))
    smooth = [ndimage.gaussian_filter(plane, min(size_hw) / 8) for plane in noise]
    return np.array(classes, np.uint8)[np.argmax(smooth, axis=0)]


def with_ignored(labels: np.ndarray) -> np.ndarray:
    labels = labels.copy()
    labels[5:20, 30:50] = IGNORE_INDEX
    return labels
