"""Scores label maps of any program as a model is scored: with the same truth, protocols, counts and reports."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from ..errors import AnnotationError, ImageError, LabelError
from ..imaging.reading import MAX_PIXELS
from ..inference.openvino import Calibration
from ..inference.provenance import LABEL_MAPS
from ..inference.task import Task
from ..models.transforms import Preprocess
from ..truth.dataset import ImageRecord
from ..truth.predictions import LabelMaps, resized
from .run import Outcomes, Run, Sample, Scored
from .score import score_image
from .slices import brightness

NONE = "none"  # stands in records for settings that only a network has


class Predictions:
    """A folder of label maps in the place of a model: a `run.BatchScorer`.

    stems, title, max_pixels: as in `LabelMaps.open`. `weights_sha256` is the hash of the label maps. Scores that need
    probabilities are undefined. Raises UsageError if the folder does not exist or holds no label map of any photograph.
    """

    def __init__(
        self,
        folder: str | Path,
        stems: Mapping[str, str],
        task: Task,
        *,
        title: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.maps = LabelMaps.open(folder, stems, len(task.categories), title=title, max_pixels=max_pixels)
        self.model = f"label maps in {title or self.maps.folder.resolve().name}"
        self.weights_sha256 = self.maps.sha256
        self.resize = self.device = self.precision = NONE
        self.engine = LABEL_MAPS
        self.tta = False
        self.calibration: Calibration | None = None
        self.refine: str | None = None
        self.temperature: float | None = None

    def score(self, run: Run, batches: Iterable[tuple[ImageRecord, ...]], keep_samples: bool) -> Generator[Outcomes]:
        """Yield the outcomes of each batch of the run's images, in order.

        An image is left out, with the reason, if its label map is missing or broken, or has a wrong size or values.
        """
        for images in batches:
            yield [self._score(run, image, keep_samples) for image in images]

    def _score(self, run: Run, image: ImageRecord, keep_sample: bool) -> tuple[Scored, Sample | None]:
        preprocess = Preprocess(resize=run.resize) if run.protocol.at_input_size else Preprocess()
        try:
            photograph = run.dataset.read_image(image.id)
            labels = run.protocol.truth_at_scored_size(run.dataset, image.id, preprocess)
            prediction = self.maps.read(image.file_name, run.task, run.dataset.size_hw(image.id), labels.shape)
        except (ImageError, AnnotationError, LabelError) as error:
            return Scored(image, None, skipped=str(error)), None
        truth = run.task.truth(labels)
        scored = score_image(
            None, truth, run.task, prediction=resized(prediction, truth.shape), annotated=(run.dataset, image.id)
        )
        sample = Sample(image, photograph, scored.prediction, scored.truth) if keep_sample else None
        return Scored(image, scored.counts, scored.objects, brightness=brightness(photograph)), sample
