"""Soft labels: a teacher's probabilities of each class, as bytes on a coarse grid."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..classes import BACKGROUND, IGNORE_INDEX
from ..errors import Cancelled
from ..files.atomic import atomic_write

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter
    from .example import Example

CERTAIN = 255  # stands for the probability 1
CELL = 8  # pixels of the network's input per cell of the grid
_DOUBT = 0.5  # background of an incomplete truth is ignored if the teacher's probability of it is lower
_SAVED_EVERY = 200  # photographs

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the photograph, 0..1


def of_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Convert labels, uint8 (H, W), to one-hot soft labels, uint8 (classes, H, W); all 0 where the label is 255."""
    shares = np.zeros((num_classes, *labels.shape), np.uint8)
    rows, columns = np.nonzero(labels != IGNORE_INDEX)
    shares[labels[rows, columns], rows, columns] = CERTAIN
    return shares


def window(grid: np.ndarray, box: Box, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a part of soft labels, uint8 (classes, h, w), bilinearly to `size_hw`: uint8 (classes, H, W)."""
    classes, rows, columns = grid.shape
    left, top, right, bottom = box
    part = (left * columns, top * rows, right * columns, bottom * rows)
    result = np.zeros((classes, *size_hw), np.uint8)
    for number in np.flatnonzero(grid.any(axis=(1, 2))):
        plane = Image.fromarray(np.ascontiguousarray(grid[number]))
        result[number] = np.asarray(plane.resize(size_hw[::-1], Image.Resampling.BILINEAR, box=part))
    return result


def mixed(labels: np.ndarray, soft: np.ndarray, *, teacher_share: float, incomplete: bool) -> np.ndarray:
    """Mix truth and teacher: uint8 (classes, H, W), in units of 1/255.

    labels: uint8 (H, W); where it is 255, only the teacher counts. soft: the teacher's, uint8 (classes, H, W).
    teacher_share: 0..1, the teacher's weight where the truth is known. incomplete: whether the truth misses objects;
    its background then counts only where the teacher also predicts background.
    """
    known = labels != IGNORE_INDEX
    if incomplete:
        known &= (labels != BACKGROUND) | (soft[BACKGROUND] >= _DOUBT * CERTAIN)
    shares = soft * np.where(known, np.float32(teacher_share), np.float32(1))
    rows, columns = np.nonzero(known)
    shares[labels[rows, columns], rows, columns] += CERTAIN * (1 - teacher_share)
    return np.rint(shares).clip(0, CERTAIN).astype(np.uint8)


class SoftLabels:
    """The soft labels of many photographs in one memory-mapped file. A stopped computation can be resumed.

    folder: where `soft_labels.bin` is kept. Runs with the same photographs and the same teacher can share it.
    segmenter: the teacher. It sees each photograph as it is and mirrored, and the probabilities are averaged.
    """

    def __init__(self, folder: Path, segmenter: Segmenter, examples: Sequence[Example]) -> None:
        self._segmenter, self._examples = segmenter, examples
        side = -(-segmenter.preprocess.size // CELL)
        shape = (len(examples), len(segmenter.categories), side, side)
        names = hashlib.sha256("\n".join(example.path.name for example in examples).encode()).hexdigest()
        self._key = {
            "teacher": segmenter.weights_sha256,
            "resize": segmenter.resize,
            "photographs": names,
            "shape": shape,
        }
        self._state_file = folder / "soft_labels.json"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "soft_labels.bin"
        self._done = self._read_state() if file.exists() else 0
        self._values = np.memmap(file, np.uint8, "r+" if self._done else "w+", shape=shape)
        self._index = {example: number for number, example in enumerate(examples)}

    def _read_state(self) -> int:
        if not self._state_file.exists():
            return 0
        state = json.loads(self._state_file.read_text(encoding="utf-8"))
        return state["done"] if state["key"] == json.loads(json.dumps(self._key)) else 0

    def compute(
        self, progress: Callable[[int, int | None], None] | None = None, cancel: threading.Event | None = None
    ) -> None:
        """Compute the missing soft labels. progress(done, total) counts photographs. Raises Cancelled; results stay."""
        total = len(self._examples)
        for number in range(self._done, total):
            if cancel and cancel.is_set():
                self._save(number)
                raise Cancelled(f"stopped after the soft labels of {number} of {total} photographs; they are kept")
            self._values[number] = self._of(self._examples[number].load()[0])
            if (number + 1) % _SAVED_EVERY == 0 or number + 1 == total:
                self._save(number + 1)
            if progress:
                progress(number + 1, total)

    def _save(self, done: int) -> None:
        self._values.flush()
        self._done = done
        with atomic_write(self._state_file) as file:
            file.write_text(json.dumps({"key": self._key, "done": done}), encoding="utf-8")

    def _of(self, photograph: np.ndarray) -> np.ndarray:
        batch = self._segmenter.preprocess(photograph)
        seen = self._segmenter.predict_logits(torch.cat([batch, batch.flip(-1)]))
        fine = F.interpolate(seen, [2 * side for side in self._values.shape[-2:]], mode="bilinear").softmax(1)
        mean = (fine[:1] + fine[1:].flip(-1)) / 2
        return (F.avg_pool2d(mean, 2)[0] * CERTAIN).round().to(torch.uint8).numpy()

    def __getitem__(self, example: Example) -> np.ndarray:
        """Return the soft labels of a photograph, uint8 (classes, h, w). Raises KeyError for an unknown example."""
        return self._values[self._index[example]]
