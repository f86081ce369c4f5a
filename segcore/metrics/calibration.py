"""Calibration: how far predicted probabilities are from the observed accuracy."""

from __future__ import annotations

import numpy as np

from .confusion import divide


def calibration_error(pixels: np.ndarray, right: np.ndarray, confidences: np.ndarray) -> float:
    """Return the expected calibration error: |accuracy - confidence| of each bin, averaged with its pixels as weights.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Arguments, each (b,), one value for each bin of
    confidence: the number of pixels, the number of correct pixels, the sum of confidences. nan without pixels.
    """
    return float(divide(np.abs(right - confidences).sum(), pixels.sum()))
