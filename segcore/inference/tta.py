"""Looking several times: what a network says of an image at several sizes, each also mirrored, averaged."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.75, 1.0, 1.25)  # of the tensor's sides; the middle ones of those that DeepLabV3 was published with
LOOKS = 2 * len(SCALES)


def augmented_logits(predict_logits: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Normalised float (N, 3, h, w) -> float32 logits (N, classes, h', w') whose softmax is the mean of LOOKS ones.

    predict_logits: as a `Predictor`. The batch is seen in SCALES, each as it is and mirrored left to right, and the
    logits of all are brought to the size of the largest, which is that of the result, before their softmax.
    Test-time augmentation as in Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017).
    """
    size_hw = batch.shape[-2:]
    seen: list[Tensor] = []
    for scale in sorted(SCALES, reverse=True):
        scaled_hw = [max(1, round(scale * side)) for side in size_hw]
        scaled = F.interpolate(batch, scaled_hw, mode="bilinear", antialias=True) if scale != 1 else batch
        for mirrored in (False, True):
            logits = predict_logits(scaled.flip(-1) if mirrored else scaled)
            logits = logits.flip(-1) if mirrored else logits
            grid_hw = seen[0].shape[-2:] if seen else logits.shape[-2:]
            seen.append(F.interpolate(logits, grid_hw, mode="bilinear").log_softmax(1))
    return torch.logsumexp(torch.stack(seen), 0) - math.log(len(seen))
