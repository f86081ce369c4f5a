"""A photograph in, a `Segmentation` out: the steps composed, and the small result that all else is derived from."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path

from torch import Tensor

from ..errors import UsageError
from ..imaging import reading
from ..models import loading
from ..models.transforms import Preprocess
from .predictor import prepare
from .provenance import MadeBy
from .refine import check_refine
from .segmentation import LOGITS, Segmentation
from .tta import look_carefully

log = logging.getLogger(__name__)

_INSTALLED = Path(__file__).parents[1] / "samples"
SAMPLES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "examples" / "samples"  # in a clone
CALIBRATION_LIMIT = 100  # more take longer


class Segmenter:
    """One model, ready to run: loads its weights once and may be called from several threads.

    model: a name from the catalogue, "auto", or the path of a file that training wrote; device: "auto" (cuda > mps >
    cpu) or one of them; precision: "auto", "float32", "bfloat16" or "int8"; resize: "squeeze" (520 x 520) or "aspect"
    (shorter side 520, long side at most 2080); engine: "auto" (openvino for int8, else torch), "torch" or "openvino",
    which is to be installed and quicker on a CPU; careful: look several times, as `tta.look_carefully` does, which
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
        self.model = loading.resolve(model)
        self.resize = resize
        self.categories = loading.categories(self.model)
        self.preprocess = loading.preprocess_for(self.model, resize)
        self.weights_sha256 = loading.weights_sha256(self.model)
        self.temperature = loading.temperature(self.model)
        self.careful = careful
        self._predictor = prepare(
            loading.load(self.model),
            device=device,
            precision=precision,
            engine=engine,
            calibration=functools.partial(_photographs, Path(calibration or SAMPLES), self.preprocess),
        )
        self.device, self.precision = self._predictor.device, self._predictor.precision
        self.engine, self.calibration = self._predictor.engine, self._predictor.calibration
        log.debug("model %s, from %s", self.model, loading.weights_path(self.model))
        log.debug("device %s, precision %s, engine %s", self.device, self.precision, self.engine)

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
        source: reading.Source,
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
        if dtype not in LOGITS:
            raise UsageError(f"the logits are kept in {' or '.join(map(repr, LOGITS))}, not in {dtype!r}")
        photograph = reading.read(source)
        preprocess = self.preprocess if resize is None else loading.preprocess_for(self.model, resize)
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


def _photographs(folder: Path, preprocess: Preprocess) -> list[Tensor]:
    """What int8 is measured by: the first ones of a folder, by name. Raises UsageError for none."""
    files = reading.photographs_in(folder) if folder.is_dir() else []
    if not files:
        raise UsageError(
            f"int8 is measured by photographs, and there are none in {folder}; name a folder of them as the calibration"
        )
    return [preprocess(reading.read(file)) for file in files[:CALIBRATION_LIMIT]]
