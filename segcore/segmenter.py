"""A photograph in, a `Segmentation` out: the steps composed, and the small result that all else is derived from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from . import draw, image, models, postprocess
from .categories import VOC, Categories
from .classes import BACKGROUND
from .errors import LabelError, UsageError


@dataclass(frozen=True)
class MadeBy:
    """What gave a result, as every exported file says it; `seconds` is the network's own time."""

    model: str
    weights_sha256: str
    resize: str
    device: str
    precision: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What the network said of one photograph, a few hundred KB; every label, probability and mask is derived from it.

    logits: float16 or float32 (classes, h, w), 21 for VOC's, at the network's own stride, with the geometry of the
    whole photograph.
    size_hw: the photograph's (height, width) in pixels.
    image: uint8 (height, width, 3), the photograph itself, or None once dropped.
    categories: what the model tells apart.
    """

    logits: np.ndarray = field(repr=False)
    size_hw: tuple[int, int]
    made_by: MadeBy
    image: np.ndarray | None = field(default=None, repr=False)
    categories: Categories = field(default=VOC, repr=False)

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or len(self.logits) != len(self.categories):
            raise LabelError(f"logits must be ({len(self.categories)}, h, w), got {self.logits.shape}")
        if self.image is not None and self.image.shape != (*self.size_hw, 3):
            raise LabelError(f"the photograph must be {(*self.size_hw, 3)}, got {self.image.shape}")

    @property
    def labels(self) -> np.ndarray:
        """The label map at the photograph's size: uint8 (height, width), VOC ids 0..20 or the model's own."""
        return self.labels_at(self.size_hw)

    def labels_at(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The label map at any size: uint8 (H, W)."""
        return postprocess.label_map(self.logits, size_hw)

    def probability(self, name: str | int, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """P(class), or 1 - P(background) for "any": float32 (H, W), at the photograph's size by default."""
        return postprocess.probability(self.logits, size_hw or self.size_hw, self.categories.object_id(name))

    def probabilities(self) -> np.ndarray:
        """P of each class at the photograph's size: float32 (classes, height, width). 4 bytes a class and pixel."""
        return postprocess.probabilities(self.logits, self.size_hw)

    def binary(
        self, name: str | int = "any", threshold: float | None = None, size_hw: tuple[int, int] | None = None
    ) -> np.ndarray:
        """One class, or "any" object, against all else: bool (H, W); arg-max by default, else P >= threshold (0..1)."""
        number = self.categories.object_id(name)
        return postprocess.binary_mask(self.logits, size_hw or self.size_hw, number, threshold)

    def mean_confidence(self, labels: np.ndarray) -> np.ndarray:
        """The mean probability of each class over its own pixels in `labels`: float64 (n,), nan where it has none."""
        return postprocess.mean_confidence(self.logits, labels)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The photograph with its classes painted over it, `alpha` from 0 (not seen) to 1 (opaque)."""
        if self.image is None:
            raise UsageError("this result no longer holds its photograph; use segcore.draw.overlay(photograph, labels)")
        palette = self.categories.screen_palette
        return Image.fromarray(draw.overlay(self.image, self.labels, alpha=alpha, palette=palette))

    def legend(self) -> Image.Image:
        """The names and colours of the classes that the overlay shows, one below the other; else of the background."""
        present = [int(number) for number in np.unique(self.labels) if number != BACKGROUND] or [BACKGROUND]
        palette = self.categories.screen_palette
        return draw.legend_image([(self.categories.friendly[number], palette[number]) for number in present])

    def without_image(self) -> Segmentation:
        """The same result without its photograph: what is worth keeping or sending."""
        return replace(self, image=None)


class Segmenter:
    """One model, ready to run: loads its weights once and may be called from several threads.

    model: a name from the catalogue, "auto", or the path of a file that training wrote; device: "auto" (cuda > mps >
    cpu) or one of them; precision: "auto", "float32" or "bfloat16"; resize: "squeeze" (520 x 520) or "aspect" (shorter
    side 520, long side at most 2080).

    Raises UsageError for names that do not exist and WeightsError where the weights are not on disk or damaged.
    """

    def __init__(
        self, model: str = "auto", *, device: str = "auto", precision: str = "auto", resize: str = "squeeze"
    ) -> None:
        self.model = models.resolve(model)
        self.resize = resize
        self.categories = models.categories(self.model)
        self.preprocess = models.preprocess_for(self.model, resize)
        self.weights_sha256 = models.weights_sha256(self.model)
        self.predict_logits = models.prepare(models.load(self.model), device=device, precision=precision)
        self.device, self.precision = self.predict_logits.device, self.predict_logits.precision

    def __call__(self, source: image.Source, *, resize: str | None = None, dtype: str = "float16") -> Segmentation:
        """Segment a path, bytes, PIL image or uint8 (H, W, 3) array.

        resize: overrides the segmenter's own for once; dtype: what the logits are kept in, "float16" or "float32".

        Raises ImageError for what is not a readable picture.
        """
        photograph = image.read(source)
        preprocess = self.preprocess if resize is None else models.preprocess_for(self.model, resize)
        tensor = preprocess(photograph)
        started = time.perf_counter()
        logits = self.predict_logits(tensor)[0]
        made_by = self.made_by(time.perf_counter() - started, resize or self.resize)
        return Segmentation(
            logits.numpy().astype(dtype), photograph.shape[:2], made_by, photograph, categories=self.categories
        )

    def made_by(self, seconds: float, resize: str | None = None) -> MadeBy:
        """What a result of this segmenter is recorded with."""
        return MadeBy(self.model, self.weights_sha256, resize or self.resize, self.device, self.precision, seconds)
