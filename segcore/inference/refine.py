"""Optional refinement: smooths probabilities along the photograph's edges before the arg-max.

The network's logits have a stride of 8 or 16 pixels, so its borders are smoother than the object's. The fast global
smoother (Min et al., "Fast Global Image Smoothing Based on Weighted Least Squares", IEEE TIP 2014) averages each
class's probability over neighbours of similar colour, so that borders move to where the colour changes.

The smoothing runs at the photograph's size, or at the largest size with at most MAX_PIXELS pixels. Other sizes are
interpolated from the result. So memory is bounded, and borders on the screen and in files of full size are the same.
"""

from __future__ import annotations

import importlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from ..classes import BACKGROUND
from ..errors import UsageError
from ..imaging.reading import fit_within
from . import upsampling
from .upsampling import Place

EDGES = "edges"
MAX_PIXELS = 1_000_000  # maximum size at which probabilities are smoothed: 4 MB per class
SMOOTHNESS = 2000.0  # the smoother's lambda, for a photograph of _SMOOTHNESS_PIXELS
SIGMA_COLOR = 2.0  # of 255: colours that differ by much more are on different sides of an edge
GRAIN = 5  # side, in pixels, of the median filter that removes grain from the photograph and keeps edges
_SMOOTHNESS_PIXELS = 640 * 480  # lambda is an area, so it is scaled with the photograph's size
_LEAST_LOGIT = -60.0  # relative to the cell's highest logit; exp of less could be 0 for all classes between two cells
_REMEMBERED_PIXELS = 4 * MAX_PIXELS  # maximum size of a cached label map, 1 byte per pixel


def check_refine(refine: str | None) -> None:
    """Raise UsageError for an unknown refinement, or if its package is not installed."""
    if refine is None:
        return
    if refine != EDGES:
        raise UsageError(f"there is no refinement {refine!r}; choose {EDGES!r}, or none")
    _opencv()


def _opencv() -> ModuleType:
    """OpenCV with its contributed modules. Imported here alone, since it is optional."""
    cv2: ModuleType | None
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        cv2 = None
    if cv2 is None or not hasattr(cv2, "ximgproc"):  # opencv-python, which is also called cv2, is without
        raise UsageError(
            "refining edges needs OpenCV's ximgproc module, which is not installed here: "
            "pip install opencv-contrib-python-headless"
        )
    return cv2


def opencv_version() -> str:
    """Return OpenCV's version. Equal versions give equal borders. Raises UsageError if it is not installed."""
    return _opencv().__version__


_room = threading.BoundedSemaphore(os.cpu_count() or 1)  # more at once would need more memory and not be faster
_lock = threading.Lock()
_inside, _threads_before = 0, 0


@contextmanager
def _one_thread(cv2: ModuleType) -> Iterator[None]:
    """Let OpenCV use one thread, because the smoother's rounding depends on the number of threads. It is as fast.

    The number is global to the process. It is restored when the last user leaves the block.
    """
    global _inside, _threads_before
    with _lock:
        if not _inside:
            _threads_before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                cv2.setNumThreads(_threads_before)


class Edges:
    """Labels and probabilities of a photograph, with borders that follow its edges. It is thread-safe.

    logits: float (classes, h, w), as in `upsampling`. photograph: uint8 (H, W, 3), the one they belong to.

    The last label maps of two sizes up to 4 megapixels, such as the screen's and the photograph's, and the last class's
    probability are cached, 12 MB at most.
    Raises UsageError if OpenCV is not installed, ImageError and LabelError for arrays of another type or shape.
    """

    def __init__(self, logits: Any, photograph: np.ndarray) -> None:
        check_refine(EDGES)
        upsampling.checked(logits)
        self._logits = np.asarray(logits)  # not converted: float16 takes half the memory
        self._guide = np.ascontiguousarray(fit_within(photograph, _working_side(photograph)))
        self._last_labels: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}  # by size, the newest at the end
        self._last_plane: tuple[int, np.ndarray] | None = None

    def label_map(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Return the label map, uint8 (H, W). It holds only classes that also occur without refinement."""
        return self.labels_with_confidence(size_hw)[0]

    def binary_mask(
        self, size_hw: tuple[int, int], object_id: int | None, threshold: float | None = None
    ) -> np.ndarray:
        """Return the binary mask, bool (H, W), as `upsampling.binary_mask` does."""
        if threshold is None:
            labels = self.label_map(size_hw)
            return labels != BACKGROUND if object_id is None else labels == object_id
        upsampling.check_threshold(threshold)
        mask = np.empty(size_hw, bool)
        for place, stripe in self.probability_stripes(size_hw, object_id):
            mask[place] = stripe >= np.float32(threshold)
        return mask

    def probability_stripes(
        self, size_hw: tuple[int, int], object_id: int | None
    ) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield ((rows, columns), P(object)) in stripes: float32 (rows, columns).

        P(object) is the smoothed probability of the class, or 1 - P(background) for None.
        """
        number = BACKGROUND if object_id is None else object_id
        last = self._last_plane  # another thread may replace it meanwhile
        if last is None or last[0] != number:
            self._last_plane = last = number, self.smoothed([number])
        for place, (stripe,) in upsampling.resized_stripes(last[1], size_hw):
            yield place, 1 - stripe if object_id is None else stripe

    def labels_with_confidence(self, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the label map, uint8 (H, W), and the mean smoothed probability of each class over its pixels.

        The means are float64 (classes,), nan for a class without pixels. The entry of the background is the mean of
        1 - P(background) over the pixels of all objects.
        """
        last = self._last_labels  # another thread may replace it meanwhile
        if size_hw not in last:
            found = self._decide(size_hw)
            if math.prod(size_hw) > _REMEMBERED_PIXELS:
                return found
            self._last_labels = last = dict([*last.items()][-1:]) | {size_hw: found}
        labels, confidence = last[size_hw]
        return labels.copy(), confidence.copy()

    def mean_confidence(self, labels: np.ndarray) -> np.ndarray:
        """Return the mean smoothed probabilities, float64 (classes,), as `upsampling.mean_confidence` does."""
        result = np.full(len(self._logits), np.nan)
        for number in np.setdiff1d(labels, BACKGROUND):
            total = 0.0
            for place, stripe in self.probability_stripes(labels.shape, int(number)):
                total += np.sum(stripe, where=labels[place] == number, dtype=np.float64)
            result[number] = total / np.count_nonzero(labels == number)
        return result

    def _decide(self, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        present = np.union1d(BACKGROUND, upsampling.label_map(self._logits, self._guide.shape[:2])).astype(np.uint8)
        labels = np.full(size_hw, BACKGROUND, np.uint8)
        total, pixels = np.zeros(len(self._logits)), np.zeros(len(self._logits), np.int64)
        any_object = 0.0
        if len(present) > 1:
            for place, stripe in upsampling.resized_stripes(self.smoothed(present), size_hw):
                likeliest = stripe.argmax(axis=0)
                own = labels[place] = present[likeliest]
                total += np.bincount(own.ravel(), stripe.max(axis=0).ravel(), len(total))
                any_object += np.sum(1 - stripe[0], where=own != BACKGROUND, dtype=np.float64)
                pixels += np.bincount(own.ravel(), minlength=len(total))
        total[BACKGROUND], pixels[BACKGROUND] = any_object, pixels[BACKGROUND + 1 :].sum()
        return labels, np.divide(total, pixels, out=np.full(len(total), np.nan), where=pixels > 0)

    def smoothed(self, classes: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return smoothed probabilities of some classes, float32 (len(classes), h, w), 0..1, at the working size.

        The probabilities of all classes add up to 1, because the smoother's weights are the same for every class.
        """
        cv2 = _opencv()
        height, width = self._guide.shape[:2]
        logits = self._logits.astype(np.float32, copy=False)
        # Softmax depends only on differences. Subtracting the maximum avoids an overflow of exp.
        logits = np.maximum(logits - logits.max(axis=0), np.float32(_LEAST_LOGIT))
        rows = {int(number): row for row, number in enumerate(classes)}
        with _room, _one_thread(cv2):
            planes, total = np.empty((len(rows), height, width), np.float32), np.zeros((height, width), np.float32)
            for number, coarse in enumerate(logits):
                plane = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
                total += np.exp(plane, out=plane)
                if number in rows:
                    planes[rows[number]] = plane
            smoothness = SMOOTHNESS * height * width / _SMOOTHNESS_PIXELS
            guide = cv2.medianBlur(self._guide, GRAIN)
            smoother = cv2.ximgproc.createFastGlobalSmootherFilter(guide, smoothness, SIGMA_COLOR)
            for plane in planes:
                plane[:] = smoother.filter(plane / total)
        return np.clip(planes, 0, 1, out=planes)


def _working_side(photograph: np.ndarray) -> int:
    """Return the longer side, in pixels, of the working size."""
    height, width = photograph.shape[:2]
    return max(1, round(max(height, width) * min(1.0, math.sqrt(MAX_PIXELS / max(1, height * width)))))
