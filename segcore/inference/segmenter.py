"""A photograph in, a `Segmentation` out: the steps composed, and the small result that all else is derived from."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast, overload

from torch import Tensor

from ..errors import UsageError
from ..imaging import reading
from ..models import loading
from ..models.transforms import Preprocess
from . import sources, stream
from .old_names import renamed_attribute, renamed_keyword
from .predictor import prepare
from .provenance import Provenance
from .refine import check_refine
from .segmentation import LOGITS, Segmentation
from .sources import Photograph
from .stream import How, Loaded, Outcome
from .tta import augmented_logits

log = logging.getLogger(__name__)

_INSTALLED = Path(__file__).parents[1] / "samples"
SAMPLES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "examples" / "samples"  # in a clone
CALIBRATION_LIMIT = 100  # more take longer


class Segmenter:
    """One model, ready to run: loads its weights once and may be called from several threads.

    model: a name from the catalogue, "auto", or the path of a file that training wrote; device: "auto" (cuda > mps >
    cpu) or one of them; precision: "auto", "float32", "bfloat16" or "int8"; resize: "squeeze" (520 x 520) or "aspect"
    (shorter side 520, long side at most 2080); engine: "auto" (openvino for int8, else torch), "torch" or "openvino",
    which is to be installed and quicker on a CPU; tta: look several times, as `tta.augmented_logits` does, which
    takes some six times as long; calibration: a folder of photographs that int8 is measured by, the
    samples by default; refine: "edges" for borders that follow the photograph, which needs OpenCV, or None.

    Raises UsageError for names that do not exist and WeightsError where the weights are not on disk or damaged.
    """

    careful = renamed_attribute("careful", "tta")

    @renamed_keyword("careful", "tta")
    def __init__(
        self,
        model: str = "auto",
        *,
        device: str = "auto",
        precision: str = "auto",
        resize: str = "squeeze",
        engine: str = "auto",
        tta: bool = False,
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
        self.tta = tta
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

    @renamed_keyword("careful", "tta")
    def predict_logits(self, batch: Tensor, *, tta: bool | None = None) -> Tensor:
        """Normalised float (N, 3, h, w) -> float32 logits (N, classes, h', w') on the CPU, not upsampled.

        They are divided by the model's temperature, where it has one: arg-max stays, and probabilities are calibrated.
        tta: overrides the segmenter's own for once.
        """
        if self.tta if tta is None else tta:
            return augmented_logits(self._calibrated_logits, batch)
        return self._calibrated_logits(batch)

    def on_device(self, batch: Tensor) -> Tensor:
        """As `predict_logits`, but the logits stay on the device: what is made of them there need not wait for them."""
        return augmented_logits(self._calibrated_on_device, batch) if self.tta else self._calibrated_on_device(batch)

    def _calibrated_logits(self, batch: Tensor) -> Tensor:
        return self._calibrated(self._predictor(batch))

    def _calibrated_on_device(self, batch: Tensor) -> Tensor:
        return self._calibrated(self._predictor.on_device(batch))

    def _calibrated(self, logits: Tensor) -> Tensor:
        return logits if self.temperature is None else logits.div_(self.temperature)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a text is an iterable of texts
        self, source: Photograph, *, resize: str | None = None, tta: bool | None = None, dtype: str = "float16"
    ) -> Segmentation: ...
    @overload
    def __call__(
        self,
        source: Iterable[Photograph],
        *,
        batch_size: int = 1,
        resize: str | None = None,
        tta: bool | None = None,
        dtype: str = "float16",
    ) -> Iterator[Outcome]: ...
    @renamed_keyword("careful", "tta")
    def __call__(
        self,
        source: Photograph | Iterable[Photograph],
        *,
        batch_size: int = 1,
        resize: str | None = None,
        tta: bool | None = None,
        dtype: str = "float16",
    ) -> Segmentation | Iterator[Outcome]:
        """Segment a photograph, or as `stream` does a folder or an iterable of them.

        source: a path, bytes, an open file, a PIL image, a uint8 array (H, W, 3), or a tensor (3, H, W) of uint8 or of
        floats from 0 to 1. resize, tta: override the segmenter's own for once; dtype: what the logits are kept in,
        "float16" or "float32".

        Raises ImageError for what is not a readable picture, UsageError for another dtype.
        """
        if not sources.is_one(source):
            several = cast(Iterable[Photograph], source)
            return self.stream(several, batch_size=batch_size, resize=resize, tta=tta, dtype=dtype)
        how = self._how(resize, tta, dtype)
        loaded = stream.ready(cast(Photograph, source), how.preprocess)
        started = time.perf_counter()
        logits = self.predict_logits(loaded.tensor, tta=tta)[0]
        return self.result(logits, loaded, time.perf_counter() - started, how)

    @renamed_keyword("careful", "tta")
    def stream(
        self,
        photographs: Iterable[Photograph] | str | os.PathLike[str],
        *,
        batch_size: int = 1,
        resize: str | None = None,
        tta: bool | None = None,
        dtype: str = "float16",
    ) -> Iterator[Outcome]:
        """Yield the result of each photograph of a folder or an iterable, in order and lazily.

        One that cannot be read gives a `SegcoreError` in its place, and the next ones follow. The next photographs are
        decoded while the network looks at those before; no more than twice `batch_size`, or 3, are in memory, whatever
        their number. batch_size: how many go through the network at once, which a graphics card needs to be quick.

        Raises UsageError for a folder without photographs and for a batch size under 1; what the iterable raises ends
        the stream, after the results of what it gave before.
        """
        how = self._how(resize, tta, dtype)
        return stream.segmented(self, sources.each_of(photographs), how, batch_size)

    def _how(self, resize: str | None, tta: bool | None, dtype: str) -> How:
        if dtype not in LOGITS:
            raise UsageError(f"the logits are kept in {' or '.join(map(repr, LOGITS))}, not in {dtype!r}")
        preprocess = self.preprocess if resize is None else loading.preprocess_for(self.model, resize)
        return How(preprocess, tta, dtype)

    def result(self, logits: Tensor, loaded: Loaded, seconds: float, how: How) -> Segmentation:
        """What the logits (classes, h, w) of one photograph are handed out as; seconds: what the network took."""
        photograph = loaded.photograph
        result = Segmentation(
            logits.numpy().astype(how.dtype),
            photograph.shape[:2],
            self.provenance_of(seconds, how.preprocess.resize, tta=how.tta),
            photograph,
            categories=self.categories,
            name=loaded.name,
        )
        return result.refined() if self.refine else result

    def provenance_of(self, seconds: float, resize: str | None = None, *, tta: bool | None = None) -> Provenance:
        """What a result of this segmenter is recorded with."""
        return Provenance(
            self.model,
            self.weights_sha256,
            resize or self.resize,
            self.device,
            self.precision,
            seconds,
            self.engine,
            self.tta if tta is None else tta,
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
