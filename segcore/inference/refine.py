"""The optional last step: probabilities are smoothed along the photograph's edges, and only then decided.

The network decides on a grid of 8 or 16 pixels, so its borders are smooth where the object's are not. The fast global
smoother (Min et al., "Fast Global Image Smoothing Based on Weighted Least Squares", IEEE TIP 2014) averages each
class's probability over neighbours of similar colour, and the border moves to where the colour changes.

All of it happens at the photograph's own size, or, where that has more than MAX_PIXELS, at the largest size within
them: any other size is interpolated from there. So memory is bounded, and a border on the screen is the same in a file
of full size.
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
MAX_PIXELS = 1_000_000  # of the size that is smoothed: 4 MB a class
SMOOTHNESS = 2000.0  # the smoother's lambda, for a photograph of _SMOOTHNESS_PIXELS
SIGMA_COLOR = 2.0  # of 255: colours that differ by much more are on two sides of an edge
GRAIN = 5  # pixels, the side of the median that takes grain out of the photograph, and leaves edges where they are
_SMOOTHNESS_PIXELS = 640 * 480  # lambda is an area: so the reach grows like the picture
_LEAST_LOGIT = -60.0  # below the highest one of its cell; exp of less could be 0 for all classes between two cells
_REMEMBERED_PIXELS = 4 * MAX_PIXELS  # of a label map that is kept for the next question, 1 byte each


def check_refine(refine: str | None) -> None:
    """Raises UsageError for a refinement that does not exist, and where its package is not installed."""
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
    """What must be the same on two machines for the same borders. Raises UsageError where it is not installed."""
    return _opencv().__version__


_room = threading.BoundedSemaphore(os.cpu_count() or 1)  # more at a time would take memory, and be no sooner done
_lock = threading.Lock()
_inside, _threads_before = 0, 0


@contextmanager
def _one_thread(cv2: ModuleType) -> Iterator[None]:
    """Let OpenCV use one thread: the smoother rounds otherwise with another number of them, and takes no longer.

    The number is the process's, so it is put back as it was found once nobody is inside.
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
    """What logits say of a photograph, decided along its edges. May be used from several threads.

    logits: float (classes, h, w), as in `upsampling`; photograph: uint8 (H, W, 3), of which those are.

    The last label map of screen size and the last class's probability are kept for the next question: 8 MB at most.
    Raises UsageError where OpenCV is not installed, ImageError and LabelError for arrays of another kind.
    """

    def __init__(self, logits: Any, photograph: np.ndarray) -> None:
        check_refine(EDGES)
        upsampling.checked(logits)
        self._logits = np.asarray(logits)  # in its own type, which may be half as large
        self._guide = np.ascontiguousarray(fit_within(photograph, _working_side(photograph)))
        self._last_labels: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None
        self._last_plane: tuple[int, np.ndarray] | None = None

    def label_map(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The likeliest class of every pixel: uint8 (H, W). No class appears that the logits alone find nowhere."""
        return self.labels_with_confidence(size_hw)[0]

    def binary_mask(
        self, size_hw: tuple[int, int], object_id: int | None, threshold: float | None = None
    ) -> np.ndarray:
        """As `upsampling.binary_mask`: bool (H, W)."""
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
        """Yield ((rows, columns), P(object)) some rows at a time: float32 (rows, columns).

        P(object) is the smoothed probability of the class, or 1 - that of the background for None.
        """
        number = BACKGROUND if object_id is None else object_id
        last = self._last_plane  # another thread may replace it meanwhile
        if last is None or last[0] != number:
            self._last_plane = last = number, self.smoothed([number])
        for place, (stripe,) in upsampling.resized_stripes(last[1], size_hw):
            yield place, 1 - stripe if object_id is None else stripe

    def labels_with_confidence(self, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The label map, uint8 (H, W), and the mean smoothed probability of each class over its own pixels.

        float64 (classes,), nan for a class without pixels; in the background's place is that of any object, 1 - the
        background's probability, over the pixels of all objects.
        """
        last = self._last_labels
        if last is None or last[0] != size_hw:
            last = size_hw, *self._decide(size_hw)
            if math.prod(size_hw) > _REMEMBERED_PIXELS:
                return last[1:]
            self._last_labels = last
        _, labels, confidence = last
        return labels.copy(), confidence.copy()

    def mean_confidence(self, labels: np.ndarray) -> np.ndarray:
        """As `upsampling.mean_confidence`, of the smoothed probabilities: float64 (classes,)."""
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
        """The smoothed probabilities of some classes, at the size that is smoothed: float32 (len(classes), h, w), 0..1.

        Those of all classes add up to 1, as the smoother gives every class the same weights.
        """
        cv2 = _opencv()
        height, width = self._guide.shape[:2]
        logits = self._logits.astype(np.float32, copy=False)
        # Only differences count, so that the highest may be 0 at the corners of each cell, and nothing overflows.
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
    """The longer side, in pixels, of the size that is smoothed."""
    height, width = photograph.shape[:2]
    return max(1, round(max(height, width) * min(1.0, math.sqrt(MAX_PIXELS / max(1, height * width)))))
