"""How wrong logits are, as numbers to be made small: cross entropy, plain or class-balanced, and Dice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .classes import IGNORE_INDEX

_MOST = 10.0  # times the usual weight: what a class of hardly any pixels may count


def cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The mean over the labelled pixels; 0, with a gradient of 0, where none is.

    logits: float (N, classes, h, w); labels: int64 (N, h, w), 255 is left out; class_weights: float (classes,).
    """
    total = F.cross_entropy(logits, labels, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    if class_weights is None:
        return total / (labels != IGNORE_INDEX).sum().clamp(min=1)
    weights = torch.cat([class_weights, class_weights.new_zeros(IGNORE_INDEX + 1 - len(class_weights))])
    return total / weights[labels].sum().clamp(min=1e-6)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - the mean over the classes that the batch's truth holds of 2 |A B| / (|A| + |B|), with probabilities for B.

    Milletari et al. 2016, with the plain sums of Sudre et al. 2017. Shapes as in `cross_entropy`.
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
