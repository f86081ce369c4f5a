"""How well a truth agrees with a model, to find images whose annotation may be wrong."""

from __future__ import annotations

import numpy as np

from .confusion import divide

TEMPERATURE = 0.1


def softmin_weights(probabilities: np.ndarray) -> np.ndarray:
    """Return each pixel's weight in the label quality: exp(-p / 0.1), of the shape and dtype of `probabilities`.

    probabilities: of the annotated classes.
    """
    return np.exp(probabilities / -TEMPERATURE)


def label_quality(weighted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the label quality 0..1: the softmin over pixels of the probability of the annotated class.

    weighted: the sum over pixels of probability x weight. weights: the sum of `softmin_weights`. Both can be arrays of
    images. Without pixels it is nan. The lower it is, the larger the part of the image where model and truth disagree.

    Lad and Mueller 2023, "Estimating label quality and errors in semantic segmentation data via any model",
    arXiv 2307.05080, equation 3.
    """
    return divide(weighted, weights)
