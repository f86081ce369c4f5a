"""Computes labels, probabilities and masks at any size from the network's coarse logits, in stripes of rows.

Logits are upsampled bilinearly in float32 with half-pixel centres, as
`torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` does, before the softmax or arg-max. The result
does not depend on the stripes, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..classes import BACKGROUND, IGNORE_INDEX
from ..errors import LabelError, UsageError
from ..metrics.label_quality import softmin_weights
from ..metrics.thresholds import STEPS

RELIABILITY_BINS = 15
STRIPE_VALUES = 150_000  # float32 values in one stripe: 0.6 MB, which fits a core's cache
Place = tuple[slice, slice]  # rows and columns


class _Taps(NamedTuple):
    """The two source neighbours of each output position along one axis, and the weight of the upper one."""

    lower: np.ndarray  # int64 (n,)
    upper: np.ndarray  # int64 (n,)
    weight: np.ndarray  # float32 (n,)


def taps(source: int, size: int) -> _Taps:
    """Return the taps for resampling an axis from `source` to `size` positions."""
    scale = float(np.float32(source / size))
    position = np.maximum((np.arange(size) + 0.5) * scale - 0.5, 0).astype(np.float32)
    lower = np.minimum(position.astype(np.int64), source - 1)
    return _Taps(lower, np.minimum(lower + 1, source - 1), np.clip(position - lower.astype(np.float32), 0, 1))


def _mix(lower: np.ndarray, upper: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Interpolate. Unlike `lower + weight * (upper - lower)`, its rounding keeps the order of two classes."""
    mixed = lower * (1 - weight)
    mixed += upper * weight
    return mixed


def checked(logits: Any, size_hw: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Convert logits, float (classes, h, w), to float32. Raises LabelError for other arrays and for an empty size."""
    values = np.asarray(logits)
    if values.ndim != 3 or not np.issubdtype(values.dtype, np.floating):
        raise LabelError(f"logits must be float (classes, h, w), got {values.dtype} {values.shape}")
    if min(size_hw) < 1:
        raise LabelError(f"the wanted size must be at least 1 x 1, got {size_hw}")
    return values.astype(np.float32, copy=False)


def _stripes(
    logits: np.ndarray, size_hw: tuple[int, int], within: np.ndarray | None = None
) -> Iterator[tuple[Place, np.ndarray]]:
    """Upsample logits in stripes. Yields ((rows, columns), float32 (classes, rows, columns)).

    within: (H, W); if given, a stripe covers only the columns from the first to the last nonzero value of its rows, and
    can be empty. All stripes share the same memory, because allocating new pages costs as much as the arithmetic: the
    caller may overwrite a stripe but must not keep it.
    """
    classes, h, w = logits.shape
    height, width = size_hw
    ys, xs = taps(h, height), taps(w, width)
    wide = _mix(logits.take(xs.lower, axis=2), logits.take(xs.upper, axis=2), xs.weight)  # (classes, h, width)
    step = max(1, STRIPE_VALUES // (classes * width))
    memory = np.empty((2, classes, min(step, height), width), np.float32)
    for row, rows in _rows_between(ys, h, step):
        columns = slice(0, width) if within is None else _span(np.any(within[rows], axis=0))
        here, below = wide[:, row, None, columns], wide[:, min(row + 1, h - 1), None, columns]
        values, part = memory[:, :, : rows.stop - rows.start, columns]
        weight = ys.weight[rows, None]
        np.multiply(here, 1 - weight, out=values)
        np.multiply(below, weight, out=part)
        values += part
        yield (rows, columns), values


def resized_stripes(planes: np.ndarray, size_hw: tuple[int, int]) -> Iterator[tuple[Place, np.ndarray]]:
    """Resize planes, float32 (n, h, w), in stripes. Yields ((rows, columns), float32 (n, rows, columns)).

    It is meant for small changes of size. Planes that have the size already are yielded as they are.
    """
    count, h, w = planes.shape
    height, width = size_hw
    columns = slice(0, width)
    if (h, w) == (height, width):
        yield (slice(0, height), columns), planes
        return
    ys, xs = taps(h, height), taps(w, width)
    step = max(1, STRIPE_VALUES // (count * max(w, width)))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        tall = _mix(planes[:, ys.lower[rows]], planes[:, ys.upper[rows]], ys.weight[rows, None])
        yield (rows, columns), _mix(tall.take(xs.lower, axis=2), tall.take(xs.upper, axis=2), xs.weight)


def upsampled(logits: Any, size_hw: tuple[int, int]) -> np.ndarray:
    """Upsample logits to `size_hw`: float32 (classes, H, W), 4 bytes per class and pixel."""
    result = np.empty((len(logits), *size_hw), np.float32)
    for place, values in _stripes(checked(logits, size_hw), size_hw):
        result[:, *place] = values
    return result


def _span(present: np.ndarray) -> slice:
    """Return the slice from the first to the last True in bool (n,)."""
    places = np.flatnonzero(present)
    return slice(places[0], places[-1] + 1) if places.size else slice(0, 0)


def _rows_between(ys: _Taps, h: int, step: int) -> Iterator[tuple[int, slice]]:
    """Yield (row of the coarse grid, output rows between it and the next row), at most `step` output rows at a time."""
    first_rows = np.searchsorted(ys.lower, np.arange(h + 1))
    for row in range(h):
        for start in range(first_rows[row], first_rows[row + 1], step):
            yield row, slice(start, min(start + step, first_rows[row + 1]))


def _corner_values(logits: np.ndarray) -> np.ndarray:
    """Return the logits at the corners of each cell of the coarse grid: (4, classes, h, w). Borders are repeated."""
    padded = np.pad(logits, ((0, 0), (0, 1), (0, 1)), mode="edge")
    return np.stack([padded[:, :-1, :-1], padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]])


def label_map(logits: Any, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the label map at `size_hw`, uint8 (H, W): the class with the highest logit. The lower class wins ties.

    logits: float (classes, h, w), an array or a tensor on the CPU, of any stride. Raises LabelError for other shapes.

    Bilinear interpolation stays within the range of the four surrounding values. So if all four corners of a cell of
    the coarse grid have the same class, its pixels need no arithmetic. In other cells, a class can win only if its
    highest corner reaches the maximum over all classes of their lowest corner.
    """
    logits = checked(logits, size_hw)
    _, h, w = logits.shape
    ys, xs = taps(h, size_hw[0]), taps(w, size_hw[1])
    corners = _corner_values(logits)
    winners = corners.argmax(axis=1).astype(np.uint8)  # (4, h, w)
    disputed = (winners != winners[0]).any(axis=0)  # (h, w)
    contenders = corners.max(axis=0) >= corners.min(axis=0).max(axis=0)  # (classes, h, w)

    labels = winners[0][ys.lower].take(xs.lower, axis=1)
    first_rows = np.searchsorted(ys.lower, np.arange(h + 1))
    for row in np.flatnonzero(disputed.any(axis=1)):
        columns = np.flatnonzero(disputed[row][xs.lower])
        classes = np.flatnonzero(contenders[:, row, disputed[row]].any(axis=1))
        if columns.size == 0:  # the image is narrower than the grid, and no pixel lies in such a cell
            continue
        lower, upper, weight = xs.lower[columns], xs.upper[columns], xs.weight[columns]
        here, below = logits[classes, row], logits[classes, min(row + 1, h - 1)]  # (contenders, w)
        here = _mix(here.take(lower, axis=1), here.take(upper, axis=1), weight)  # (contenders, columns)
        below = _mix(below.take(lower, axis=1), below.take(upper, axis=1), weight)
        step = max(1, STRIPE_VALUES // (4 * len(columns)))
        for start in range(first_rows[row], first_rows[row + 1], step):
            rows = slice(start, min(start + step, first_rows[row + 1]))
            labels[rows, columns] = classes[_argmax_between(here, below, ys.weight[rows, None])]
    return labels


def _argmax_between(here: np.ndarray, below: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the arg-max over the first axis of `_mix(here, below, weight)`; the lowest index wins ties.

    here, below: (n, columns); weight: (rows, 1). Returns uint8 (rows, columns).
    It goes through one plane at a time, because np.argmax over the first axis is several times slower. Planes come in
    rising order, so the maximum of the old and the new index is correct.
    """
    best = _mix(here[0], below[0], weight)
    index = np.zeros(best.shape, np.uint8)
    value, part, better = np.empty_like(best), np.empty_like(best), np.empty(best.shape, bool)
    for number in range(1, len(here)):
        np.multiply(here[number], 1 - weight, out=value)
        value += np.multiply(below[number], weight, out=part)
        np.greater(value, best, out=better)
        np.maximum(index, better.view(np.uint8) * np.uint8(number), out=index)
        np.maximum(best, value, out=best)
    return index


def _softmax_parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(logits - maximum), computed in place, and its sum over the classes. Logits are (classes, ...)."""
    values -= values.max(axis=0)
    shares = np.exp(values, out=values)
    return shares, shares.sum(axis=0)


def probability_stripes(
    logits: Any,
    size_hw: tuple[int, int],
    *,
    binary: bool = False,
    object_id: int | None = None,
    within: np.ndarray | None = None,
) -> Iterator[tuple[Place, np.ndarray]]:
    """Yield ((rows, columns), probabilities) in stripes: the softmax after upsampling.

    The probabilities are float32 (classes, rows, columns). With `binary` they are P(object), (rows, columns), which is
    1 - P(background) for `object_id` None. within: (H, W), as in `_stripes`.
    """
    logits = checked(logits, size_hw)
    for place, values in _stripes(logits, size_hw, within):
        shares, total = _softmax_parts(values)
        if not binary:
            yield place, shares / total
        elif object_id is None:
            yield place, 1 - shares[BACKGROUND] / total
        else:
            yield place, shares[object_id] / total


def probability(logits: Any, size_hw: tuple[int, int], object_id: int | None) -> np.ndarray:
    """Return P(class `object_id`), or 1 - P(background) for None: float32 (H, W), by softmax after upsampling."""
    result = np.empty(size_hw, np.float32)
    for place, stripe in probability_stripes(logits, size_hw, binary=True, object_id=object_id):
        result[place] = stripe
    return result


def probabilities(logits: Any, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the softmax after upsampling: float32 (classes, H, W). It sums to 1 over the classes."""
    result = np.empty((len(logits), *size_hw), np.float32)
    for place, stripe in probability_stripes(logits, size_hw):
        result[:, *place] = stripe
    return result


def mean_confidence(logits: Any, labels: np.ndarray) -> np.ndarray:
    """Return the mean probability (softmax after upsampling) of each object class over its pixels in `labels`.

    labels: uint8 (H, W). Returns float64 (classes,); nan for a class without pixels, and for the background.
    """
    logits = checked(logits, labels.shape)
    total, pixels = np.zeros(len(logits)), np.zeros(len(logits), np.int64)
    for place, values in _stripes(logits, labels.shape, labels):
        own = labels[place]
        shares, sums = _softmax_parts(values)
        total += np.bincount(own.ravel(), (_of_class(shares, own) / sums).ravel(), len(logits))
        pixels += np.bincount(own.ravel(), minlength=len(logits))
    pixels[BACKGROUND] = 0
    return np.divide(total, pixels, out=np.full(len(logits), np.nan), where=pixels > 0)


def binary_mask(
    logits: Any, size_hw: tuple[int, int], object_id: int | None, threshold: float | None = None
) -> np.ndarray:
    """Return the mask of a class, or of any object for None, at `size_hw`: bool (H, W).

    Without a threshold the arg-max decides, else P(object) >= threshold. Raises UsageError for one outside 0..1.
    """
    if threshold is None:
        labels = label_map(logits, size_hw)
        return labels != BACKGROUND if object_id is None else labels == object_id
    check_threshold(threshold)
    result = np.empty(size_hw, bool)
    for place, stripe in probability_stripes(logits, size_hw, binary=True, object_id=object_id):
        result[place] = stripe >= np.float32(threshold)
    return result


def check_threshold(threshold: float) -> None:
    """Raise UsageError for a threshold outside 0..1."""
    if not 0 <= threshold <= 1:
        raise UsageError(f"a threshold is a probability from 0 to 1, got {threshold}")


class JudgedProbabilities(NamedTuple):
    """Sums for the Brier score, the reliability diagram and the label quality. They can be added over images.

    squared_error / terms is the Brier score. Confidence is the probability that the model gives its own answer. For
    each of RELIABILITY_BINS equal bins of confidence: `pixels`, correct pixels `right`, both int64 (b,), and the sum of
    `confidence`, float64 (b,). softmin, softmin_weight: the sums whose quotient is the `label_quality`. by_threshold:
    int64 (2, STEPS + 1), in binary mode the pixels as `thresholds.curve` takes them; else 0.
    """

    squared_error: float
    terms: int
    pixels: np.ndarray
    right: np.ndarray
    confidence: np.ndarray
    softmin: float
    softmin_weight: float
    by_threshold: np.ndarray


def judge_probabilities(
    logits: Any, truth: np.ndarray, prediction: np.ndarray, *, binary: bool = False, object_id: int | None = None
) -> JudgedProbabilities:
    """Compare the softmax after upsampling with a truth. Pixels whose truth is 255 are ignored.

    truth, prediction: uint8 (H, W) of classes, or with `binary` of 0 and 1 for `object_id` (None: any object). The
    squared error is, in multiclass mode, the difference of softmax and one-hot truth over pixels and classes; in binary
    mode the difference of P(object) and 0 or 1 over pixels.
    """
    squared_error, terms = 0.0, 0
    pixels, right = np.zeros((2, RELIABILITY_BINS), np.int64)
    confidence = np.zeros(RELIABILITY_BINS)
    softmin, softmin_weight = 0.0, 0.0
    by_threshold = np.zeros(2 * (STEPS + 1), np.int64)
    for place, values in _stripes(checked(logits, truth.shape), truth.shape):
        counted = truth[place] != IGNORE_INDEX
        answer = prediction[place]
        shares, total = _softmax_parts(values)
        if binary:
            # As in `probability_stripes`, so that a threshold decides the same.
            chosen = 1 - shares[BACKGROUND] / total if object_id is None else shares[object_id] / total
            steps = (chosen[counted] * STEPS).astype(np.intp) + (STEPS + 1) * (truth[place][counted] == 1)
            by_threshold += np.bincount(steps, minlength=by_threshold.size)
            own = np.where(truth[place] == 1, chosen, 1 - chosen)
            error = np.square(chosen - truth[place])
            sure = np.where(answer == 1, chosen, 1 - chosen)
        else:
            own = _of_class(shares, np.where(counted, truth[place], 0)) / total
            error = np.einsum("cij,cij->ij", shares, shares) / np.square(total) - 2 * own + 1
            sure = _of_class(shares, answer) / total
        squared_error += float(error[counted].sum(dtype=np.float64))
        terms += int(np.count_nonzero(counted)) * (1 if binary else len(values))
        own = own[counted]
        weight = softmin_weights(own)
        softmin += float(own @ weight)
        softmin_weight += float(weight.sum(dtype=np.float64))
        sure = sure[counted]
        bins = np.minimum((sure * RELIABILITY_BINS).astype(np.intp), RELIABILITY_BINS - 1)
        pixels += np.bincount(bins, minlength=RELIABILITY_BINS)
        right += np.bincount(bins[answer[counted] == truth[place][counted]], minlength=RELIABILITY_BINS)
        confidence += np.bincount(bins, sure, minlength=RELIABILITY_BINS)
    sums = squared_error, terms, pixels, right, confidence, softmin, softmin_weight
    return JudgedProbabilities(*sums, by_threshold.reshape(2, -1))


def _of_class(planes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each pixel's value in the plane of its label: float (classes, ...), uint8 (...) -> float (...)."""
    return np.take_along_axis(planes, labels[None].astype(np.intp), axis=0)[0]
