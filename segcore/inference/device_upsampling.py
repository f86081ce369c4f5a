"""Upsampling, arg-max and probabilities with PyTorch, on the device that has the logits.

Only labels and sums are copied back from a graphics card. The arithmetic is that of `upsampling`, operation for
operation, so that the labels are identical. Operations must not be fused: a fused multiply-add rounds only once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..classes import BACKGROUND, IGNORE_INDEX
from ..metrics.label_quality import TEMPERATURE
from ..metrics.thresholds import STEPS
from .upsampling import RELIABILITY_BINS, JudgedProbabilities, taps

STRIPE_VALUES = 64_000_000  # float32 values in one stripe: 0.25 GB; most photographs fit into one stripe


class _Taps(NamedTuple):
    """As in `upsampling`, on a device: the two neighbours of each output position, and the upper one's weight."""

    lower: Tensor
    upper: Tensor
    weight: Tensor


def _taps(source: int, size: int, device: torch.device) -> _Taps:
    return _Taps(*(torch.from_numpy(each).to(device) for each in taps(source, size)))


def _mix(lower: Tensor, upper: Tensor, weight: Tensor) -> Tensor:
    mixed = lower * (1 - weight)
    mixed += upper * weight  # the product is rounded before it is added
    return mixed


def stripes(logits: Tensor, size_hw: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Upsample logits, float32 (classes, h, w), in stripes. Yields (rows, float32 (classes, rows, W))."""
    classes, h, w = logits.shape
    height, width = size_hw
    ys, xs = _taps(h, height, logits.device), _taps(w, width, logits.device)
    wide = _mix(logits[:, :, xs.lower], logits[:, :, xs.upper], xs.weight)
    step = max(1, STRIPE_VALUES // (classes * width))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        yield rows, _mix(wide[:, ys.lower[rows]], wide[:, ys.upper[rows]], ys.weight[rows, None])


def label_map(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return the label map, uint8 (H, W), on the device of the logits, float32 (classes, h, w).

    It equals `upsampling.label_map`; the lower class wins ties.
    """
    labels = torch.empty(size_hw, dtype=torch.uint8, device=logits.device)
    for rows, values in stripes(logits, size_hw):
        labels[rows] = values.argmax(0).to(torch.uint8)
    return labels


def count_pairs(target: Tensor, prediction: Tensor) -> Tensor:
    """Count pairs of values: int64 (256, 256) by [target, prediction]. Both are uint8 and of the same shape."""
    pairs = target.flatten().long() * 256 + prediction.flatten()
    return torch.bincount(pairs, minlength=256 * 256).reshape(256, 256)


def decide_and_judge(
    logits: Tensor,
    truth: Tensor,
    *,
    binary: bool = False,
    object_id: int | None = None,
    prediction: Tensor | None = None,
) -> tuple[Tensor, JudgedProbabilities]:
    """Return the prediction, uint8 (H, W) on the device, and the sums of `upsampling.judge_probabilities`.

    logits: float32 (classes, h, w). truth: uint8 (H, W) on the same device; classes, or with `binary` 0 and 1 for
    `object_id` (None: any object); 255 is ignored. prediction: an existing prediction to use instead of the arg-max.
    Each stripe is upsampled only once. The probabilities equal the CPU's except for the last bits of exp. Sums are in
    float64, where sums of float32 probabilities are exact in any order.
    """
    labels = torch.empty(truth.shape, dtype=torch.uint8, device=logits.device) if prediction is None else prediction
    by_threshold = torch.zeros(2 * (STEPS + 1), dtype=torch.float64, device=logits.device)
    sums = torch.zeros(6, RELIABILITY_BINS, dtype=torch.float64, device=logits.device)
    for rows, values in stripes(logits, (truth.shape[0], truth.shape[1])):
        if prediction is None:
            labels[rows] = _decided(values.argmax(0), binary, object_id)
        target, answer = truth[rows], labels[rows]
        sure, own, error, chosen = _probabilities_and_error(values, target, answer, binary, object_id)
        bins = (sure * RELIABILITY_BINS).long().clamp_(max=RELIABILITY_BINS - 1).flatten()
        weight = (target != IGNORE_INDEX).double()
        softmin = weight * (own / -TEMPERATURE).exp_()
        added = weight, weight * (answer == target), weight * sure, weight * error, softmin * own, softmin
        for row, each in zip(sums, added, strict=True):
            row += torch.bincount(bins, each.flatten(), minlength=RELIABILITY_BINS)
        if binary:
            steps = (chosen * STEPS).long() + (STEPS + 1) * (target == 1)
            by_threshold += torch.bincount(steps.flatten(), weight.flatten(), minlength=len(by_threshold))
    pixels, right, confidence, error, softmin, weights = sums.cpu().numpy()
    terms = int(pixels.sum()) * (1 if binary else len(logits))
    reliability = pixels.astype("int64"), right.astype("int64"), confidence
    softmins = float(softmin.sum()), float(weights.sum())
    thresholds = by_threshold.cpu().numpy().astype("int64").reshape(2, -1)
    return labels, JudgedProbabilities(float(error.sum()), terms, *reliability, *softmins, thresholds)


def _decided(labels: Tensor, binary: bool, object_id: int | None) -> Tensor:
    if binary:
        labels = labels != BACKGROUND if object_id is None else labels == object_id
    return labels.to(torch.uint8)


def _probabilities_and_error(
    values: Tensor, target: Tensor, answer: Tensor, binary: bool, object_id: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the probabilities of the answer and of the truth, the squared error, and P(object), each (rows, W).

    In multiclass mode the last is the answer's probability.
    """
    shares = (values - values.amax(0)).exp_()
    total = shares.sum(0)
    if binary:
        chosen = 1 - shares[BACKGROUND] / total if object_id is None else shares[object_id] / total
        sure, own = (torch.where(each == 1, chosen, 1 - chosen) for each in (answer, target))
        return sure, own, (chosen - target).square(), chosen
    own = _of_class(shares, torch.where(target < len(shares), target, 0)) / total
    sure = _of_class(shares, answer) / total
    return sure, own, shares.square().sum(0) / total.square() - 2 * own + 1, sure


def _of_class(planes: Tensor, labels: Tensor) -> Tensor:
    return planes.gather(0, labels[None].long())[0]
