"""How sure the model is at each place of a picture, for the viewer. Nothing here imports Gradio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo.view import pictures
from segcore.inference import upsampling
from segcore.inference.task import Logits, Task

SIDE = 200  # the longer side of the grid on which probabilities are sent; that of the logits is 130 at most
LIKELIEST = 3  # classes at each point of the grid


@dataclass(frozen=True, eq=False)
class Certainty:
    """The network's own probabilities on a grid over the whole picture, in percent. Every task shows the same ones.

    percents: uint8 (all classes, h, w). classes, shares: uint8 (LIKELIEST, h, w), the likeliest classes and their
    percents, the likeliest first.
    """

    percents: np.ndarray
    classes: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, logits: Logits, size_hw: tuple[int, int]) -> Certainty:
        """Compute the probabilities of a picture of that (height, width)."""
        scale = min(1.0, SIDE / max(size_hw))
        height, width = (max(1, round(side * scale)) for side in size_hw)
        probabilities = upsampling.probabilities(logits, (height, width)).reshape(len(logits), -1)
        points = np.arange(probabilities.shape[1])
        percents = np.rint(100 * probabilities).astype(np.uint8)
        classes = np.empty((min(LIKELIEST, len(logits)), len(points)), np.uint8)
        for rank in range(len(classes)):
            classes[rank] = likeliest = probabilities.argmax(axis=0)
            probabilities[likeliest, points] = -1
        shares = percents[classes, points]
        return cls(*(each.reshape(-1, height, width) for each in (percents, classes, shares)))

    def encoded(self, prediction: np.ndarray, task: Task) -> dict:
        """Return the probability of the shown label and the likeliest classes, in the viewer's format.

        prediction: uint8 (H, W) over the same picture, as `task` decided. Sharp edges move the border of a label, but
        not the probabilities on its two sides.
        """
        rows, columns = map(_middles, self.percents.shape[1:], prediction.shape)
        label = prediction[rows[:, None], columns]
        sure = np.rint(100 * task.probability_of(label, self.percents / np.float32(100))).astype(np.uint8)
        return pictures.encode_certainty(sure, self.classes, self.shares, task.categories.friendly)


def _middles(points: int, pixels: int) -> np.ndarray:
    """Return the pixel in the middle of each of `points` equal parts of a line of pixels."""
    return ((np.arange(points) + 0.5) * pixels / points).astype(int)
