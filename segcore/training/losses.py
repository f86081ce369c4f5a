"""Loss functions on logits and soft labels: cross entropy, plain or class-balanced, and Dice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..classes import IGNORE_INDEX

_MOST = 10.0  # maximum weight of a rare class


def cross_entropy(logits: Tensor, shares: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy over the labelled pixels; 0, with a gradient of 0, if there are none.

    logits: float (N, classes, h, w). shares: float (N, classes, h, w), at least 0: the share of each class at each
    pixel; all 0 for an ignored pixel. class_weights: float (classes,). For shares of 0 and 1 it is the usual cross
    entropy.
    """
    if class_weights is not None:
        shares = shares * class_weights[:, None, None]
    return -(logits.log_softmax(1) * shares).sum() / shares.sum().clamp(min=1e-6)


def hard_labels(shares: Tensor) -> Tensor:
    """Return the class with the largest share: (N, classes, h, w) -> int64 (N, h, w); 255 for ignored pixels."""
    most, labels = shares.max(1)
    return labels.where(most > 0, IGNORE_INDEX)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the Dice loss: 1 - the mean of 2 |A B| / (|A| + |B|) over the classes in the batch's truth.

    A is the truth and B are probabilities: Milletari et al. 2016, with the plain sums of Sudre et al. 2017.
    logits: float (N, classes, h, w). labels: int64 (N, h, w), 255 is ignored.
    """
    counted = (labels != IGNORE_INDEX)[:, None]
    truth = F.one_hot(labels.where(labels != IGNORE_INDEX, 0), logits.shape[1]).permute(0, 3, 1, 2) * counted
    probability = logits.softmax(1) * counted
    over = (0, 2, 3)
    overlap, size = (truth * probability).sum(over), (truth + probability).sum(over)
    here = truth.sum(over) > 0
    return 1 - (2 * overlap[here] / size[here]).sum() / here.sum().clamp(min=1)


def balancing_weights(pixels: Tensor) -> Tensor:
    """Return weights that balance rare and frequent classes: float32 (classes,).

    pixels: (classes,), the number of pixels of each class. The weight is the median share divided by the class's share
    (Eigen and Fergus 2015), limited to 0.1..10; 1 for a class without pixels.
    """
    shares = pixels.double() / pixels.sum().clamp(min=1)
    median = shares[shares > 0].median() if (shares > 0).any() else shares.new_tensor(1.0)
    weights = torch.where(shares > 0, median / shares.clamp(min=1e-12), 1.0)
    return weights.clamp(1 / _MOST, _MOST).float()
