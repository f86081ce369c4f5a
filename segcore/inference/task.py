"""A task: label all classes (multiclass), or one class or any object against everything else (binary)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..categories import VOC, Categories
from ..classes import ANY_OBJECT, ANY_OBJECT_NAME, BACKGROUND
from ..errors import UsageError
from ..metrics.confusion import to_binary
from . import upsampling

if TYPE_CHECKING:
    from .refine import Edges

MULTICLASS, BINARY = "multiclass", "binary"
AUTOMATIC = "auto"
Logits = Any  # float (classes, h, w), an array or a tensor on the CPU


@dataclass(frozen=True)
class Task:
    """A mode and the model's categories.

    class_name, threshold: for binary mode. The threshold applies to the class's probability; with None the arg-max
    decides. Raises UsageError for an unknown mode or class and for an invalid threshold.
    """

    mode: str = MULTICLASS
    class_name: str = ANY_OBJECT
    threshold: float | None = None
    categories: Categories = VOC

    def __post_init__(self) -> None:
        if self.mode not in (MULTICLASS, BINARY):
            raise UsageError(f"the mode must be {MULTICLASS!r} or {BINARY!r}, got {self.mode!r}")
        number = self.object_id
        object.__setattr__(self, "class_name", ANY_OBJECT if number is None else self.categories.names[number])
        if self.threshold is not None and not (isinstance(self.threshold, Real) and 0 <= self.threshold <= 1):
            raise UsageError(f"a threshold is a probability from 0 to 1, or {AUTOMATIC!r}; got {self.threshold!r}")

    @property
    def binary(self) -> bool:
        return self.mode == BINARY

    @property
    def object_id(self) -> int | None:
        """The number of the foreground class in binary mode, None for any object."""
        return self.categories.object_id(self.class_name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the confusion matrix's rows."""
        names = self.categories.names
        return (names[BACKGROUND], self.class_name) if self.binary else names

    @property
    def friendly_names(self) -> tuple[str, ...]:
        """The names of the confusion matrix's rows, for people."""
        names = self.categories.friendly
        if not self.binary:
            return names
        return names[BACKGROUND], ANY_OBJECT_NAME if self.object_id is None else names[self.object_id]

    @property
    def num_classes(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> np.ndarray:
        """The screen colours of predicted labels: uint8 (256, 3)."""
        palette = self.categories.screen_palette
        if self.binary and self.object_id is not None:
            palette[1] = palette[self.object_id]
        return palette

    def record(self) -> dict[str, object]:
        """Return mode, class and threshold for exported files. Class and threshold are None in multiclass mode."""
        if not self.binary:
            return {"mode": self.mode, "class": None, "threshold": None}
        threshold = AUTOMATIC if self.threshold is None else self.threshold
        return {"mode": self.mode, "class": self.class_name, "threshold": threshold}

    def predict(self, logits: Logits, size_hw: tuple[int, int], edges: Edges | None = None) -> np.ndarray:
        """Return the prediction at `size_hw`: uint8 (H, W) of classes, in binary mode of 0 and 1.

        edges: if given, its refined probabilities decide instead of the logits.
        """
        if not self.binary:
            return edges.label_map(size_hw) if edges else upsampling.label_map(logits, size_hw)
        if edges:
            mask = edges.binary_mask(size_hw, self.object_id, self.threshold)
        else:
            mask = upsampling.binary_mask(logits, size_hw, self.object_id, self.threshold)
        return mask.view(np.uint8)

    def truth(self, labels: np.ndarray) -> np.ndarray:
        """Convert a ground-truth label map for this task: uint8 of classes, in binary mode of 0 and 1; 255 stays."""
        return to_binary(labels, self.object_id, len(self.categories)) if self.binary else labels

    def voc_labels(self, logits: Logits, prediction: np.ndarray, edges: Edges | None = None) -> np.ndarray:
        """Convert a prediction to the model's class numbers, for exported label maps: uint8 (H, W).

        "Any object" has no class number, so its pixels get their most likely object class.
        """
        if not self.binary:
            return prediction
        if self.object_id is not None:
            return prediction * np.uint8(self.object_id)
        objects = upsampling.label_map(logits[BACKGROUND + 1 :], prediction.shape) + np.uint8(BACKGROUND + 1)
        if edges:
            decided = edges.label_map(prediction.shape)
            np.copyto(objects, decided, where=decided != BACKGROUND)
        return prediction * objects

    def probability_of(self, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Return the probability of each pixel's label, in binary mode of object or not: float32 (h, w).

        labels: uint8 (h, w), as predicted. probabilities: float32 (classes, h, w).
        """
        if not self.binary:
            return np.take_along_axis(probabilities, labels[None].astype(np.intp), 0)[0]
        is_object = 1 - probabilities[BACKGROUND] if self.object_id is None else probabilities[self.object_id]
        return np.where(labels == 1, is_object, 1 - is_object)

    def confidence(self, logits: Logits, prediction: np.ndarray) -> np.ndarray:
        """Return the mean probability of each object class over its predicted pixels: float64 (n,).

        It is nan for a class without pixels and for the background.
        """
        if not self.binary:
            return upsampling.mean_confidence(logits, prediction)
        stripes = upsampling.probability_stripes(
            logits, prediction.shape, binary=True, object_id=self.object_id, within=prediction
        )
        return _binary_mean(probability[prediction[place] == 1] for place, probability in stripes)

    def predict_with_confidence(
        self, logits: Logits, size_hw: tuple[int, int], edges: Edges | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the results of `predict` and `confidence`, and compute the probabilities only once.

        It needs a threshold or `edges`. With `edges` the probabilities are the smoothed ones.
        """
        if self.binary and self.threshold is not None:
            return self._by_threshold(logits, size_hw, edges)
        if edges is None:
            raise UsageError("without a threshold, `predict_with_confidence` needs edges; use `predict`")
        labels, confidence = edges.labels_with_confidence(size_hw)
        if not self.binary:
            confidence[BACKGROUND] = np.nan
            return labels, confidence
        if self.object_id is None:
            return (labels != BACKGROUND).view(np.uint8), np.array([np.nan, confidence[BACKGROUND]])
        return (labels == self.object_id).view(np.uint8), np.array([np.nan, confidence[self.object_id]])

    def _by_threshold(
        self, logits: Logits, size_hw: tuple[int, int], edges: Edges | None
    ) -> tuple[np.ndarray, np.ndarray]:
        prediction = np.empty(size_hw, np.uint8)

        def decide() -> Iterator[np.ndarray]:
            if edges:
                stripes = edges.probability_stripes(size_hw, self.object_id)
            else:
                stripes = upsampling.probability_stripes(logits, size_hw, binary=True, object_id=self.object_id)
            for place, probability in stripes:
                chosen = probability >= np.float32(self.threshold)
                prediction[place] = chosen
                yield probability[chosen]

        return prediction, _binary_mean(decide())


def _binary_mean(probabilities: Iterable[np.ndarray]) -> np.ndarray:
    """Return [nan, mean of the object's probabilities], float64 (2,). The probabilities come in pieces."""
    total, pixels = 0.0, 0
    for each in probabilities:
        total += each.sum(dtype=np.float64)
        pixels += each.size
    return np.array([np.nan, total / pixels if pixels else np.nan])
