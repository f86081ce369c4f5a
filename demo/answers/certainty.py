"""How sure the model is at each place of a picture, for the viewer. Nothing here imports Gradio."""

from __future__ import annotations

import numpy as np

from demo.view import pictures
from segcore.inference import upsampling
from segcore.inference.task import Logits, Task

SIDE = 200  # the longer side of the grid on which probabilities are sent; that of the logits is 130 at most
LIKELIEST = 3  # classes at each point of the grid


def certainty(logits: Logits, prediction: np.ndarray, task: Task) -> dict:
    """Return the probability of the shown label and the likeliest classes, in the viewer's format.

    prediction: uint8 (H, W), as `task` decided. The probabilities are the network's own: sharp edges move the border of
    a label, but not the probabilities on its two sides.
    """
    height, width = prediction.shape
    scale = min(1.0, SIDE / max(height, width))
    grid = max(1, round(height * scale)), max(1, round(width * scale))
    rows, columns = _middles(grid[0], height), _middles(grid[1], width)
    shown = prediction[rows[:, None], columns]
    count = min(LIKELIEST, len(logits))
    sure = np.empty(grid, np.uint8)
    classes, shares = np.empty((2, count, *grid), np.uint8)
    for place, probabilities in upsampling.probability_stripes(logits, grid):
        sure[place] = _percent(task.probability_of(shown[place], probabilities))
        for rank in range(count):
            likeliest = probabilities.argmax(axis=0)[None]
            classes[rank, *place] = likeliest
            shares[rank, *place] = _percent(np.take_along_axis(probabilities, likeliest, 0))
            np.put_along_axis(probabilities, likeliest, -1, 0)
    return pictures.encode_certainty(sure, classes, shares, task.categories.friendly)


def _middles(points: int, pixels: int) -> np.ndarray:
    """Return the pixel in the middle of each of `points` equal parts of a line of pixels."""
    return ((np.arange(points) + 0.5) * pixels / points).astype(int)


def _percent(shares: np.ndarray) -> np.ndarray:
    return np.rint(100 * shares).astype(np.uint8)
