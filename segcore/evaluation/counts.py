"""The counts from comparing a prediction with its truth. They are integers, so sums over images are exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import UsageError
from ..inference import upsampling
from ..inference.task import Logits, Task
from ..metrics import confusion
from ..metrics.boundary import boundary_counts, boundary_iou
from ..metrics.calibration import calibration_error
from ..metrics.label_quality import label_quality
from ..metrics.thresholds import STEPS

PER_CLASS_KEYS = (*confusion.PER_CLASS_KEYS, "boundary_iou")
OVERALL_KEYS = (*confusion.OVERALL_KEYS, "brier", "boundary_iou")
Scores = dict[str, float | int | None]

_FRACTIONS = 1 << 16  # sums of probabilities are integers in units of 1/65536, so the order of adding does not matter
_NO_BINS = np.zeros(upsampling.RELIABILITY_BINS, np.int64)
_NO_STEPS = np.zeros((2, STEPS + 1), np.int64)
_NOT_JUDGED = upsampling.JudgedProbabilities(
    0.0, 0, _NO_BINS, _NO_BINS, _NO_BINS, 0.0, 0.0, _NO_STEPS
)  # no pixel has a probability


@dataclass(frozen=True, eq=False)
class Counts:
    """The counts of one image, the sum of several images, or, with leading axes (...), the counts of many images.

    All are int64, for n classes and b = `upsampling.RELIABILITY_BINS`.
    matrix: (..., n, n), rows are truth. boundary_intersection, boundary_union: (..., n), pixels of the boundary bands.
    squared_error: (...), in units of 1/65536; divided by squared_error_terms, (...), it is the Brier score.
    reliability: (..., 3, b), for each bin of confidence the pixels, the correct pixels, and the sum of confidences in
    units of 1/65536. uncalibrated: the same without the model's temperature.
    softmin: (..., 2), in units of 1/65536; the first divided by the second is the label quality.
    by_threshold: (..., 2, s), as `thresholds.curve` takes it, with s = STEPS + 1 for two classes, else 0. It is zero
    but in binary mode.
    """

    matrix: np.ndarray
    boundary_intersection: np.ndarray
    boundary_union: np.ndarray
    squared_error: np.ndarray
    squared_error_terms: np.ndarray
    reliability: np.ndarray
    uncalibrated: np.ndarray
    softmin: np.ndarray
    by_threshold: np.ndarray

    @staticmethod
    def _shapes(num_classes: int) -> dict[str, tuple[int, ...]]:
        vector, scalar = (num_classes,), ()
        bins = (3, upsampling.RELIABILITY_BINS)
        shapes = (num_classes, num_classes), vector, vector, scalar, scalar, bins, bins, (2,), (2, _steps(num_classes))
        return {each.name: shape for each, shape in zip(fields(Counts), shapes, strict=True)}

    def flat(self) -> np.ndarray:
        """Return all counts in one row: int64 (..., m). `from_flat` is the inverse."""
        many = self.matrix.shape[:-2]
        return np.concatenate([np.reshape(each, (*many, -1)) for each in vars(self).values()], axis=-1)

    @classmethod
    def from_flat(cls, rows: np.ndarray, num_classes: int) -> Counts:
        """Make counts from rows of `flat`. Raises ValueError if their length does not fit the number of classes."""
        shapes = cls._shapes(num_classes)
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
        if rows.shape[-1] != ends[-1]:
            raise ValueError(f"counts of {num_classes} classes are {ends[-1]} numbers, not {rows.shape[-1]}")
        parts = np.split(rows, ends[:-1], axis=-1)
        return cls(*(part.reshape(rows.shape[:-1] + shape) for part, shape in zip(parts, shapes.values(), strict=True)))

    @classmethod
    def stacked(cls, counts: Iterable[Counts], num_classes: int) -> Counts:
        """Stack the counts of N images along a first axis. N can be 0."""
        length = sum(int(np.prod(shape)) for shape in cls._shapes(num_classes).values())
        rows = [each.flat() for each in counts]
        return cls.from_flat(np.array(rows, np.int64).reshape(len(rows), length), num_classes)

    def of(self, chosen: np.ndarray) -> Counts:
        """Return the counts of some of N images. chosen: bool (N,)."""
        return Counts(*(each[chosen] for each in vars(self).values()))

    def total(self) -> Counts:
        """Return the sum over the first axis."""
        return Counts(*(each.sum(axis=0) for each in vars(self).values()))

    def scores(self) -> dict[str, Any]:
        """Return OVERALL_KEYS with float64 (...), and "per_class" with PER_CLASS_KEYS and float64 (..., n); nan if
        undefined.
        """
        scores = confusion.score_arrays(self.matrix)
        boundary = boundary_iou(self.boundary_intersection, self.boundary_union)
        overall = {key: scores[key] for key in confusion.OVERALL_KEYS} | {
            "brier": confusion.divide(self.squared_error / _FRACTIONS, self.squared_error_terms),
            "boundary_iou": confusion.mean_over_defined(boundary),
        }
        return overall | {
            "per_class": {key: scores[key] for key in confusion.PER_CLASS_KEYS} | {"boundary_iou": boundary}
        }

    def label_quality(self) -> np.ndarray:
        """Return the label quality, float64 (...); nan without probabilities."""
        return label_quality(self.softmin[..., 0] / _FRACTIONS, self.softmin[..., 1] / _FRACTIONS)

    def reliability_record(self, temperature: float | None = None) -> dict[str, Any]:
        """Return confidence and accuracy by bin as JSON values, for counts without leading axes.

        temperature: the model's, or None; without one, there is no calibration error before calibration.
        """
        pixels, right, confidences = self.reliability
        accuracy = confusion.divide(right, pixels)
        confidence = confusion.divide(confidences / _FRACTIONS, pixels)
        edges = np.linspace(0, 1, len(pixels) + 1)
        bins = [
            {
                "low": round(float(edges[row]), 6),
                "high": round(float(edges[row + 1]), 6),
                "pixels": int(pixels[row]),
                "confidence": json_number(confidence[row]),
                "accuracy": json_number(accuracy[row]),
            }
            for row in range(len(pixels))
        ]
        return {
            "calibration_error": json_number(_calibration_error(self.reliability)),
            "temperature": temperature,
            "calibration_error_before": json_number(_calibration_error(self.uncalibrated)) if temperature else None,
            "bins": bins,
        }


def count(
    logits: Logits | None, prediction: np.ndarray, truth: np.ndarray, task: Task, temperature: float | None = None
) -> Counts:
    """Compare a prediction, uint8 (H, W), with its truth; 255 is ignored. The logits give the probabilities.

    logits: None if only the prediction is known; no probabilities are counted then. temperature: the model's, by which
    the logits are already divided; None if it has none.
    Raises UsageError if the logits and the task have different categories.
    """
    matrix = confusion.confusion_matrix(truth, prediction, num_classes=task.num_classes)
    if logits is None:
        return counts_of(matrix, prediction, truth, _NOT_JUDGED, _NOT_JUDGED)
    check_categories(logits, task)
    judged = upsampling.judge_probabilities(logits, truth, prediction, binary=task.binary, object_id=task.object_id)
    before = judged
    if temperature is not None:
        undivided = np.asarray(logits) * np.float32(temperature)
        before = upsampling.judge_probabilities(
            undivided, truth, prediction, binary=task.binary, object_id=task.object_id
        )
    return counts_of(matrix, prediction, truth, judged, before)


def check_categories(logits: Logits, task: Task) -> None:
    """Raise UsageError if the logits and the task have different numbers of categories."""
    if len(logits) != len(task.categories):
        raise UsageError(
            f"the model tells {len(logits)} classes apart, and the task {len(task.categories)}; make the task with the "
            "model's categories"
        )


def counts_of(
    matrix: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray,
    judged: upsampling.JudgedProbabilities,
    before: upsampling.JudgedProbabilities,
) -> Counts:
    """Make the counts of one image from its confusion matrix and its probabilities' sums. Counts the boundaries too.

    before: the sums without the model's temperature.
    """
    intersection, union = boundary_counts(truth, prediction, num_classes=len(matrix))
    error, terms = _fractions(judged.squared_error), np.array(judged.terms, np.int64)
    softmin = _fractions(np.array([judged.softmin, judged.softmin_weight]))
    reliability = _reliability(judged), _reliability(before)
    by_threshold = judged.by_threshold[:, : _steps(len(matrix))]
    return Counts(matrix, intersection, union, error, terms, *reliability, softmin, by_threshold)


def _steps(num_classes: int) -> int:
    """Return the length of the counts by threshold: 0 in multiclass mode, which must not pay for them."""
    return STEPS + 1 if num_classes == 2 else 0


def _reliability(judged: upsampling.JudgedProbabilities) -> np.ndarray:
    return np.stack([judged.pixels, judged.right, _fractions(judged.confidence)])


def _calibration_error(reliability: np.ndarray) -> float:
    pixels, right, confidences = reliability
    return calibration_error(pixels, right, confidences / _FRACTIONS)


def _fractions(values: float | np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(values) * _FRACTIONS).astype(np.int64)


def overall(scores: dict[str, Any], index: tuple[int, ...] | int = ()) -> Scores:
    """Return the overall scores as JSON values; undefined is None. `index` selects one image of many."""
    return {key: json_number(scores[key][index]) for key in OVERALL_KEYS}


def per_class(scores: dict[str, Any], names: Sequence[str]) -> dict[str, Scores]:
    """Return the scores of each class by name, as JSON values."""
    columns = scores["per_class"]
    return {name: {key: json_number(columns[key][row]) for key in PER_CLASS_KEYS} for row, name in enumerate(names)}


def json_number(value: Any) -> float | int | None:
    """Convert a number to a JSON value: an int, a finite float, or None."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None
