"""Label maps of another program, which a visitor uploads as a ZIP to be scored in the place of a model."""

from __future__ import annotations

import math
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import AnnotationError, UsageError
from segcore.evaluation.predictions import Predictions
from segcore.inference.task import Task
from segcore.truth.dataset import Dataset
from segcore.truth.label_zip import Unpacked, unpack
from segcore.truth.predictions import LabelMaps, label_stems

GONE = "The label maps are no longer here. Give the ZIP again, and score it again."
_LARGEST_INPUT = 520 * 2080  # pixels: the largest size that a protocol scores, other than the photograph's


@dataclass(frozen=True)
class UploadedMaps:
    """The label maps of an uploaded ZIP, and its name. They lie beside the upload and are deleted as it is."""

    title: str
    unpacked: Unpacked

    def predictions(self, dataset: Dataset, task: Task) -> Predictions:
        """Return what is scored in the place of a model.

        Raises UsageError for a threshold, which needs probabilities, if no label map is of the data set's photographs,
        and if the label maps were deleted meanwhile.
        """
        if task.threshold is not None:
            raise UsageError("A threshold needs probabilities, which label maps do not hold. Choose the automatic one.")
        if not self.unpacked.folder.is_dir():
            raise UsageError(GONE)
        stems, most = label_stems(dataset), _most_pixels(dataset)
        return Predictions(self.unpacked.folder, stems, task, title=self.title, max_pixels=most)


def unpack_upload(archive: Path, dataset: Dataset) -> UploadedMaps:
    """Unpack the label maps of a data set's photographs into a new folder beside the archive.

    Raises UsageError for an archive that is not here any more, that `label_zip.unpack` refuses, or that holds no label
    map of the photographs.
    """
    if not archive.is_file():
        raise UsageError(GONE)
    stems, folder = label_stems(dataset), Path(tempfile.mkdtemp(prefix="label-maps-", dir=archive.parent))
    try:
        unpacked = unpack(archive, folder, stems.values())
        LabelMaps.open(folder, stems, len(dataset.categories), title=archive.name)
        return UploadedMaps(archive.name, unpacked)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _most_pixels(dataset: Dataset) -> int:
    """Return how many pixels a label map of the data set can have, so that a larger one is not decoded."""
    most = _LARGEST_INPUT
    for image in dataset.images:
        if image.id not in dataset.broken:
            with suppress(AnnotationError):  # a truth that cannot be read is left out of the scores
                most = max(most, math.prod(dataset.size_hw(image.id)))
    return most
