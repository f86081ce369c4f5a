"""Loss functions on logits and soft labels: cross entropy, plain or class-balanced, and Dice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..classes import IGNORE_INDEX

_MOST = 10.0  # times the usual weight: the most that a class of hardly any pixels may count


def cross_entropy(logits: Tensor, shares: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The mean over the pixels that have a label; 0, with a gradient of 0, where no pixel has one.

    logits: float (N, classes, h, w). shares: float (N, classes, h, w), at least 0: how much of each pixel belongs to
    each class; all 0 for a pixel that is left out. class_weights: float (classes,). With shares of 0 and 1 it is the
    usual cross entropy.
    """
    if class_weights is not None:
        shares = shares * class_weights[:, None, None]
    return -(logits.log_softmax(1) * shares).sum() / shares.sum().clamp(min=1e-6)


def hard_labels(shares: Tensor) -> Tensor:
    """(N, classes, h, w) -> int64 (N, h, w): the class of the largest share, 255 where there is none."""
    most, labels = shares.max(1)
    return labels.where(most > 0, IGNORE_INDEX)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - the mean over the classes that the batch's truth holds of 2 |A B| / (|A| + |B|), with probabilities for B.

    Milletari et al. 2016, with the plain sums of Sudre et al. 2017.
    logits: float (N, classes, h, w); labels: int64 (N, h, w), 255 is left out.
    """
    counted = (labels != IGNORE_INDEX)[:, None]
    truth = F.one_hot(labels.where(labels != IGNORE_INDEX, 0), logits.shape[1]).permute(0, 3, 1, 2) * counted
    probability = logits.softmax(1) * counted
    over = (0, 2, 3)
    overlap, size = (truth * probability).sum(over), (truth + probability).sum(over)
    here = truth.sum(over) > 0
    return 1 - (2 * overlap[here] / size[here]).sum() / here.sum().clamp(min=1)


def balancing_weights(pixels: Tensor) -> Tensor:
    """float32 (classes,): what each class's pixels should count so that rare classes are heard.

    pixels: how many each class has, (classes,). The median share over the class's own (Eigen and Fergus 2015), from
    0.1 to 10; 1 for a class without pixels.
    """
    shares = pixels.double() / pixels.sum().clamp(min=1)
    median = shares[shares > 0].median() if (shares > 0).any() else shares.new_tensor(1.0)
    weights = torch.where(shares > 0, median / shares.clamp(min=1e-12), 1.0)
    return weights.clamp(1 / _MOST, _MOST).float()
