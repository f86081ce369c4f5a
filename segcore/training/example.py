"""One photograph to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Example:
    """One photograph to learn from.

    classes: the object classes it holds. load: gives the photograph, uint8 (H, W, 3), and its label map, uint8 (H, W),
    255 where nothing is known. masks: gives the class and the mask, bool (H, W), of each of its objects, where these
    are known one by one. soft: gives the labelling model's own soft labels, where it left them.
    incomplete: whether its label map leaves objects out.
    """

    path: Path
    size_hw: tuple[int, int]
    classes: tuple[int, ...]
    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    masks: Callable[[], Iterable[tuple[int, np.ndarray]]] = tuple
    soft: Callable[[], np.ndarray] | None = None
    incomplete: bool = False
