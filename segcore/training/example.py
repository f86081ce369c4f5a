"""One photograph of the training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Example:
    """One photograph of the training data.

    classes: the object classes in it. load: returns the photograph, uint8 (H, W, 3), and its label map, uint8 (H, W),
    255 for unknown. masks: returns the class and the mask, bool (H, W), of each object, if objects are separated.
    soft: returns the soft labels that a model saved for it, or None. incomplete: whether its label map misses objects.
    """

    path: Path
    size_hw: tuple[int, int]
    classes: tuple[int, ...]
    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    masks: Callable[[], Iterable[tuple[int, np.ndarray]]] = tuple
    soft: Callable[[], np.ndarray] | None = None
    incomplete: bool = False
