"""`Segmenter`: turns photographs into `Segmentation` results."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import torch
from torch import Tensor, nn

from ..categories import Categories
from ..errors import SegcoreError, UsageError
from ..imaging import reading
from ..models import loading
from ..models import pretrained as models_pretrained
from ..models.own import Model
from ..models.pretrained import Scores
from ..models.transforms import Preprocess
from . import sources, stream
from .old_names import renamed_attribute, renamed_keyword
from .predictor import AUTO, core_of, prepare
from .provenance import Provenance
from .refine import check_refine
from .segmentation import LOGITS, Segmentation
from .sources import Photograph
from .stream import How, Loaded, Outcome
from .tta import augmented_logits

log = logging.getLogger(__name__)

_INSTALLED = Path(__file__).parents[1] / "samples"
SAMPLES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "examples" / "samples"  # in a clone
CALIBRATION_LIMIT = 100  # maximum number of photographs to calibrate int8


class Segmenter:
    """A model that is ready to run. It loads the weights once and is thread-safe.

    model: a name from the catalogue, "auto", the path of a checkpoint that training wrote, "hf:USER/NAME" or
    "hf:USER/NAME@REVISION" for a model on the Hugging Face Hub, which is downloaded, "module:function" for a function
    that returns a `Model`, or a `Model`. Or a network of your own, with its categories and transforms as for a
    `Model`. For a network of your own the precision "auto" means float32.
    device: "auto" (the first available of cuda, mps and cpu), "cuda", "cuda:N", "mps" or "cpu".
    precision: "auto" (bfloat16 if the device supports it in hardware, else float32), "float32", "bfloat16", "float16"
    (not on a CPU) or "int8".
    resize: "squeeze" (520 x 520), "aspect" (shorter side 520, longer side at most 2080), or another one of
    `Preprocess`.
    engine: "auto" (openvino for int8, else torch), "torch", or one of the optional engines for CPUs, "openvino", which
    is faster, and "onnxruntime", which computes in float32.
    tta: test-time augmentation, see `tta.augmented_logits`; it takes about six times as long.
    calibration: a folder of photographs to calibrate int8 with; by default the samples.
    refine: "edges" for borders that follow the photograph, which needs OpenCV, or None.

    Raises UsageError for unknown names and WeightsError if the weights are not on disk or damaged.
    """

    careful = renamed_attribute("careful", "tta")

    @renamed_keyword("careful", "tta")
    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module | Model = "auto",
        *,
        categories: Categories | Sequence[str] | None = None,
        transforms: Preprocess | None = None,
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
        self._source = _source(model, categories, transforms)
        own = loading.own_model(self._source)
        self.model = self._source if isinstance(self._source, str) else self._source.name
        self.resize = resize
        self.categories = loading.categories(self._source)
        self.preprocess = self.preprocess_for(resize)
        self.weights_sha256 = loading.weights_sha256(self._source)
        self.temperature = loading.temperature(self._source)
        self.tta = tta
        if own and precision == AUTO:
            precision = "float32"  # nobody has measured what a lower one does to it
        self._predictor = prepare(
            core_of(self._source),
            device=device,
            precision=precision,
            engine=engine,
            calibration=functools.partial(_photographs, Path(calibration or SAMPLES), self.preprocess),
        )
        self.device, self.precision = self._predictor.device, self._predictor.precision
        self.engine, self.calibration = self._predictor.engine, self._predictor.calibration
        log.debug("model %s, from %s", self.model, "the caller" if own else loading.weights_path(self.model))
        log.debug("device %s, precision %s, engine %s", self.device, self.precision, self.engine)

    @classmethod
    def from_pretrained(
        cls, pretrained: str | os.PathLike[str], *, revision: str | None = None, **options: Any
    ) -> Segmenter:
        """Make a segmenter of a model on the Hugging Face Hub, or of a folder that `save_pretrained` has written.

        pretrained: USER/NAME, or the folder. revision: a branch, a tag or a commit. options: as for `Segmenter`.
        Raises as `Segmenter` and `models.hub.pinned` do.
        """
        return cls(models_pretrained.name_of(os.fspath(pretrained), revision), **options)

    def save_pretrained(self, folder: str | os.PathLike[str], *, scores: Scores | None = None) -> Path:
        """Write the model into a folder, as `models.pretrained.save` does: model.safetensors, README.md.

        scores: the record of an evaluation of this model, or its JSON file; it gets into the model card.
        """
        return models_pretrained.save(self._source, Path(folder), scores=scores)

    def push_to_hub(self, name: str, *, scores: Scores | None = None, private: bool = False) -> str:
        """Upload the model to USER/NAME on the Hugging Face Hub, with the login of `hf auth login`.

        scores: as in `save_pretrained`. Returns "hf:USER/NAME@COMMIT". Raises as `models.pretrained.push` does.
        """
        return models_pretrained.push(self._source, name, scores=scores, private=private)

    def preprocess_for(self, resize: str) -> Preprocess:
        """Return the model's preprocessing with another resize. Raises UsageError for an unknown one."""
        return loading.preprocess_for(self._source, resize)

    @renamed_keyword("careful", "tta")
    def predict_logits(self, batch: Tensor, *, tta: bool | None = None) -> Tensor:
        """Run the network: normalised float (N, 3, h, w) -> float32 logits (N, classes, h', w') on the CPU.

        The logits are not upsampled. They are divided by the model's temperature, if it has one: this calibrates the
        probabilities and does not change the arg-max. tta: overrides the segmenter's setting for this call. Raises
        SegcoreError for logits that are nan or infinite, of which no class and no probability follows.
        """
        if self.tta if tta is None else tta:
            return augmented_logits(self._calibrated_logits, batch, self.preprocess.multiple_of)
        return self._calibrated_logits(batch)

    def on_device(self, batch: Tensor) -> Tensor:
        """Run the network like `predict_logits`, but leave the logits on the device for further work there."""
        if self.tta:
            return augmented_logits(self._calibrated_on_device, batch, self.preprocess.multiple_of)
        return self._calibrated_on_device(batch)

    def _calibrated_logits(self, batch: Tensor) -> Tensor:
        logits = self._predictor(batch)
        if not (logits < torch.inf).all():  # this form also refuses nan; a class may be excluded by -inf
            raise SegcoreError(
                "the network gave numbers that are nan or infinite; its weights may be broken, or the precision "
                f"{self.precision} too low for it"
            )
        return self._calibrated(logits)

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
        """Segment one photograph; or several, as `stream` does, if `source` is a folder or an iterable.

        source: a path, bytes, an open file, a PIL image, a uint8 array (H, W, 3), or a tensor (3, H, W) of uint8 or of
        floats from 0 to 1. resize, tta: override the segmenter's settings for this call. dtype: of the logits in the
        result, "float16" or "float32".

        Raises ImageError for an unreadable image, UsageError for another dtype.
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

        A photograph that cannot be read gives a `SegcoreError` in its place, and the stream continues. The next
        photographs are decoded while the network runs; at most twice `batch_size`, or 3, are in memory at once.
        batch_size: photographs that go through the network together; a graphics card needs more than 1 to be fast.

        Raises UsageError for a folder without photographs and for a batch size under 1. An exception of the iterable
        ends the stream, after the results of the photographs before it.
        """
        how = self._how(resize, tta, dtype)
        return stream.segmented(self, sources.each_of(photographs), how, batch_size)

    def _how(self, resize: str | None, tta: bool | None, dtype: str) -> How:
        if dtype not in LOGITS:
            raise UsageError(f"the logits are kept in {' or '.join(map(repr, LOGITS))}, not in {dtype!r}")
        preprocess = self.preprocess if resize is None else self.preprocess_for(resize)
        return How(preprocess, tta, dtype)

    def result(self, logits: Tensor, loaded: Loaded, seconds: float, how: How) -> Segmentation:
        """Make the result of one photograph from its logits (classes, h, w). seconds: the network's time."""
        photograph = loaded.photograph
        result = Segmentation(
            _converted(logits.numpy(), how.dtype),
            photograph.shape[:2],
            self.provenance_of(seconds, how.preprocess.resize, tta=how.tta),
            photograph,
            categories=self.categories,
            name=loaded.name,
        )
        return result.refined() if self.refine else result

    def provenance_of(self, seconds: float, resize: str | None = None, *, tta: bool | None = None) -> Provenance:
        """Return the provenance of a result of this segmenter."""
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


def _source(
    model: str | os.PathLike[str] | nn.Module | Model,
    categories: Categories | Sequence[str] | None,
    transforms: Preprocess | None,
) -> loading.Named:
    """Return the name of a model, checked, or the caller's own model."""
    if isinstance(model, nn.Module):
        if categories is None:
            raise UsageError("a network of your own needs categories=[...]: the names of its channels, in their order")
        return Model(model, categories, transforms)
    if categories is not None or transforms is not None:
        raise UsageError("categories and transforms are for a network of your own; a model by name brings its own")
    return loading.resolve(model)


def _converted(logits: np.ndarray, dtype: str) -> np.ndarray:
    """Convert logits, float32 (classes, h, w), to a dtype. For float16, too large ones become relative to the highest.

    Neither the softmax nor the arg-max changes if the same value is subtracted for all classes, also after upsampling.
    """
    most = np.finfo(dtype).max
    if not -most <= logits.min() <= logits.max() <= most:
        logits = np.maximum(logits - logits.max(axis=0), -most)
    return logits.astype(dtype)


def _photographs(folder: Path, preprocess: Preprocess) -> list[Tensor]:
    """Read the first photographs of a folder, by name, to calibrate int8. Raises UsageError if there are none."""
    files = reading.photographs_in(folder) if folder.is_dir() else []
    if not files:
        raise UsageError(
            f"int8 is measured by photographs, and there are none in {folder}; name a folder of them as the calibration"
        )
    return [preprocess(reading.read(file)) for file in files[:CALIBRATION_LIMIT]]
