"""How far probabilities are from how often they are right."""

from __future__ import annotations

import numpy as np

from .confusion import divide


def calibration_error(pixels: np.ndarray, right: np.ndarray, confidences: np.ndarray) -> float:
    """The expected calibration error: the mean over the pixels of |accuracy - confidence| of their bins.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. For each bin of confidence its pixels, how many
    of them are right, and the sum of their confidences: (b,). nan without pixels.
    """
    return float(divide(np.abs(right - confidences).sum(), pixels.sum()))
