"""Test-time augmentation: averages a network's probabilities over several sizes of an image, each also mirrored."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.75, 1.0, 1.25)  # factors of the tensor's sides: the middle three of those in DeepLabV3's paper
LOOKS = 2 * len(SCALES)


def augmented_logits(predict_logits: Callable[[Tensor], Tensor], batch: Tensor, multiple_of: int = 1) -> Tensor:
    """Return logits whose softmax is the mean over LOOKS runs: float (N, 3, h, w) -> float32 (N, classes, h', w').

    predict_logits: a `Predictor`. It runs on the normalised batch at all SCALES, as it is and mirrored left to right.
    multiple_of: the scaled sides are multiples of it. All logits are resized to those of the largest scale before the
    softmax.
    Test-time augmentation as in Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017).
    """
    size_hw = batch.shape[-2:]
    seen: list[Tensor] = []
    for scale in sorted(SCALES, reverse=True):
        scaled_hw = [max(1, round(scale * side / multiple_of)) * multiple_of for side in size_hw]
        scaled = F.interpolate(batch, scaled_hw, mode="bilinear", antialias=True) if scale != 1 else batch
        for mirrored in (False, True):
            logits = predict_logits(scaled.flip(-1) if mirrored else scaled)
            logits = logits.flip(-1) if mirrored else logits
            grid_hw = seen[0].shape[-2:] if seen else logits.shape[-2:]
            seen.append(F.interpolate(logits, grid_hw, mode="bilinear").log_softmax(1))
    return torch.logsumexp(torch.stack(seen), 0) - math.log(len(seen))
