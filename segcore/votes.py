"""Labels that need not be certain: of each pixel the two likeliest classes and their shares, in four bytes."""

from __future__ import annotations

import numpy as np

from .classes import IGNORE_INDEX

CERTAIN = 255  # the share, in 255ths, of a class that is known
NO_VOTE = (IGNORE_INDEX, IGNORE_INDEX, 0, 0)


def of_labels(labels: np.ndarray) -> np.ndarray:
    """uint8 (H, W), with 255 for what is left out -> uint8 (H, W, 4): class, second class, and the share of each."""
    votes = np.empty((*labels.shape, 4), np.uint8)
    votes[:] = NO_VOTE
    votes[..., 0] = labels
    votes[..., 2] = np.where(labels == IGNORE_INDEX, 0, CERTAIN)
    return votes


def of_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """float (classes, H, W), at least two classes -> uint8 (H, W, 4) as above: what is left for others is nobody's."""
    ranked = np.argpartition(probabilities, -2, axis=0)[-2:]
    shares = np.take_along_axis(probabilities, ranked, axis=0)
    first = shares.argmax(axis=0)[None]
    order = np.concatenate([first, 1 - first])
    ranked, shares = (np.take_along_axis(each, order, axis=0) for each in (ranked, shares))
    return np.concatenate([ranked, np.rint(shares * CERTAIN)]).astype(np.uint8).transpose(1, 2, 0)
