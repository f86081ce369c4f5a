"""A photograph in, a `Segmentation` out: the steps composed, and the small result that all else is derived from."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from . import draw, image, models, postprocess
from .careful import look_carefully
from .categories import VOC, Categories
from .classes import BACKGROUND
from .errors import LabelError, UsageError
from .openvino_engine import Calibration
from .postprocess import Place
from .preprocess import Preprocess
from .refine import EDGES, Edges, check_refine

_INSTALLED = Path(__file__).parent / "samples"
SAMPLES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "examples" / "samples"  # in a clone
_LOGITS = ("float16", "float32")
CALIBRATION_LIMIT = 100  # more take longer


@dataclass(frozen=True)
class MadeBy:
    """What gave a result, as every exported file says it; `seconds` is the network's own time.

    engine: "torch" or "openvino"; careful: whether the network looked several times; calibration: int8's, else None;
    refine: "edges" where borders follow the photograph, else None.
    """

    model: str
    weights_sha256: str
    resize: str
    device: str
    precision: str
    seconds: float
    engine: str = "torch"
    careful: bool = False
    calibration: Calibration | None = None
    refine: str | None = None


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
    _edges: Edges | None = field(default=None, repr=False)  # where the result is refined

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or len(self.logits) != len(self.categories):
            raise LabelError(f"logits must be ({len(self.categories)}, h, w), got {self.logits.shape}")
        if self.logits.dtype not in _LOGITS:
            raise LabelError(f"logits must be {' or '.join(_LOGITS)}, got {self.logits.dtype}")
        if self.image is not None and self.image.shape != (*self.size_hw, 3):
            raise LabelError(f"the photograph must be {(*self.size_hw, 3)}, got {self.image.shape}")

    @property
    def labels(self) -> np.ndarray:
        """The label map at the photograph's size: uint8 (height, width), VOC ids 0..20 or the model's own."""
        return self.labels_at(self.size_hw)

    def labels_at(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The label map at any size: uint8 (H, W)."""
        return self.edges.label_map(size_hw) if self.edges else postprocess.label_map(self.logits, size_hw)

    def probability(self, name: str | int, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """P(class), or 1 - P(background) for "any": float32 (H, W), at the photograph's size by default."""
        size_hw, number = size_hw or self.size_hw, self.categories.object_id(name)
        if self.edges is None:
            return postprocess.probability(self.logits, size_hw, number)
        result = np.empty(size_hw, np.float32)
        for place, stripe in self.edges.probability_stripes(size_hw, number):
            result[place] = stripe
        return result

    def probabilities(self) -> np.ndarray:
        """P of each class at the photograph's size: float32 (classes, height, width). 4 bytes a class and pixel."""
        result = np.empty((len(self.logits), *self.size_hw), np.float32)
        for place, stripe in self.probability_stripes():
            result[:, *place] = stripe
        return result

    def probability_stripes(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield ((rows, columns), P of each class there), some rows at a time: float32 (classes, rows, columns)."""
        if self.edges is None:
            return postprocess.probability_stripes(self.logits, self.size_hw)
        return postprocess.resized_stripes(self.edges.smoothed(range(len(self.logits))), self.size_hw)

    def binary(
        self, name: str | int = "any", threshold: float | None = None, size_hw: tuple[int, int] | None = None
    ) -> np.ndarray:
        """One class, or "any" object, against all else: bool (H, W); arg-max by default, else P >= threshold (0..1)."""
        size_hw, number = size_hw or self.size_hw, self.categories.object_id(name)
        if self.edges:
            return self.edges.binary_mask(size_hw, number, threshold)
        return postprocess.binary_mask(self.logits, size_hw, number, threshold)

    def mean_confidence(self, labels: np.ndarray) -> np.ndarray:
        """The mean probability of each object's class over its own pixels in `labels`: float64 (n,).

        nan where it has none, and for the background.
        """
        return self.edges.mean_confidence(labels) if self.edges else postprocess.mean_confidence(self.logits, labels)

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

    def refined(self, photograph: np.ndarray | None = None) -> Segmentation:
        """The same result with borders that follow the photograph; its logits stay as they are.

        Labels and masks come of smoothed probabilities then, and those are what is given for probabilities.
        photograph: uint8 (H, W, 3) of any size, by default the one that the result holds.
        Raises UsageError where there is no photograph, and where OpenCV is not installed.
        """
        photograph = self.image if photograph is None else photograph
        if photograph is None:
            raise UsageError("this result no longer holds its photograph; give it: result.refined(photograph)")
        return replace(self, made_by=replace(self.made_by, refine=EDGES), _edges=Edges(self.logits, photograph))

    def without_image(self) -> Segmentation:
        """The same result without its photograph: what is worth keeping or sending.

        A refined one needs the photograph again, by `refined`, before it can tell labels.
        """
        return replace(self, image=None, _edges=None)

    @property
    def edges(self) -> Edges | None:
        """What decides instead of the logits alone, where the result is refined.

        Raises UsageError where that was dropped with the photograph.
        """
        if self.made_by.refine and self._edges is None:
            raise UsageError(
                "the edges that this result follows went with its photograph; give that: result.refined(photograph)"
            )
        return self._edges


class Segmenter:
    """One model, ready to run: loads its weights once and may be called from several threads.

    model: a name from the catalogue, "auto", or the path of a file that training wrote; device: "auto" (cuda > mps >
    cpu) or one of them; precision: "auto", "float32", "bfloat16" or "int8"; resize: "squeeze" (520 x 520) or "aspect"
    (shorter side 520, long side at most 2080); engine: "auto" (openvino for int8, else torch), "torch" or "openvino",
    which is to be installed and quicker on a CPU; careful: look several times, as `careful.look_carefully` does, which
    takes some six times as long; calibration: a folder of photographs that int8 is measured by, the
    samples by default; refine: "edges" for borders that follow the photograph, which needs OpenCV, or None.

    Raises UsageError for names that do not exist and WeightsError where the weights are not on disk or damaged.
    """

    def __init__(
        self,
        model: str = "auto",
        *,
        device: str = "auto",
        precision: str = "auto",
        resize: str = "squeeze",
        engine: str = "auto",
        careful: bool = False,
        calibration: str | Path | None = None,
        refine: str | None = None,
    ) -> None:
        check_refine(refine)
        self.refine = refine
        self.model = models.resolve(model)
        self.resize = resize
        self.categories = models.categories(self.model)
        self.preprocess = models.preprocess_for(self.model, resize)
        self.weights_sha256 = models.weights_sha256(self.model)
        self.temperature = models.temperature(self.model)
        self.careful = careful
        self._predictor = models.prepare(
            models.load(self.model),
            device=device,
            precision=precision,
            engine=engine,
            calibration=functools.partial(_photographs, Path(calibration or SAMPLES), self.preprocess),
        )
        self.device, self.precision = self._predictor.device, self._predictor.precision
        self.engine, self.calibration = self._predictor.engine, self._predictor.calibration

    def predict_logits(self, batch: Tensor, *, careful: bool | None = None) -> Tensor:
        """Normalised float (N, 3, h, w) -> float32 logits (N, classes, h', w') on the CPU, not upsampled.

        They are divided by the model's temperature, where it has one: arg-max stays, and probabilities are calibrated.
        careful: overrides the segmenter's own for once.
        """
        if self.careful if careful is None else careful:
            return look_carefully(self._calibrated_logits, batch)
        return self._calibrated_logits(batch)

    def _calibrated_logits(self, batch: Tensor) -> Tensor:
        logits = self._predictor(batch)
        return logits if self.temperature is None else logits.div_(self.temperature)

    def __call__(
        self,
        source: image.Source,
        *,
        resize: str | None = None,
        careful: bool | None = None,
        dtype: str = "float16",
    ) -> Segmentation:
        """Segment a path, bytes, PIL image or uint8 (H, W, 3) array.

        resize, careful: override the segmenter's own for once; dtype: what the logits are kept in, "float16" or
        "float32".

        Raises ImageError for what is not a readable picture, UsageError for another dtype.
        """
        if dtype not in _LOGITS:
            raise UsageError(f"the logits are kept in {' or '.join(map(repr, _LOGITS))}, not in {dtype!r}")
        photograph = image.read(source)
        preprocess = self.preprocess if resize is None else models.preprocess_for(self.model, resize)
        tensor = preprocess(photograph)
        started = time.perf_counter()
        logits = self.predict_logits(tensor, careful=careful)[0]
        made_by = self.made_by(time.perf_counter() - started, resize, careful=careful)
        result = Segmentation(
            logits.numpy().astype(dtype), photograph.shape[:2], made_by, photograph, categories=self.categories
        )
        return result.refined() if self.refine else result

    def made_by(self, seconds: float, resize: str | None = None, *, careful: bool | None = None) -> MadeBy:
        """What a result of this segmenter is recorded with."""
        return MadeBy(
            self.model,
            self.weights_sha256,
            resize or self.resize,
            self.device,
            self.precision,
            seconds,
            self.engine,
            self.careful if careful is None else careful,
            self.calibration,
        )


def arithmetic_record(made_by: Any) -> dict[str, object]:
    """How a `MadeBy`, a `Segmenter` or a `run.Network` computes, as every exported file says it."""
    calibration = made_by.calibration
    return {
        "device": made_by.device,
        "precision": made_by.precision,
        "engine": made_by.engine,
        "careful": made_by.careful,
        "calibration": calibration and asdict(calibration),
        "refine": made_by.refine,
    }


def _photographs(folder: Path, preprocess: Preprocess) -> list[Tensor]:
    """What int8 is measured by: the first ones of a folder, by name. Raises UsageError for none."""
    files = image.photographs_in(folder) if folder.is_dir() else []
    if not files:
        raise UsageError(
            f"int8 is measured by photographs, and there are none in {folder}; name a folder of them as the calibration"
        )
    return [preprocess(image.read(file)) for file in files[:CALIBRATION_LIMIT]]
