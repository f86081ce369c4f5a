"""A photograph and a label map for tests of pictures."""

from __future__ import annotations

import numpy as np

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
