"""The photographs of a data set as the galleries show them: small copies, made once, and what is in each."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from segcore.dataset import Dataset, ImageId, ImageRecord
from segcore.errors import AnnotationError

THUMBNAIL_SIDE = 240


@dataclass(frozen=True)
class Sample:
    """One photograph of a dataset: its id and file, a small copy of it, and a caption."""

    image_id: ImageId
    path: Path
    thumbnail: Path
    caption: str


class Thumbnails:
    """Small copies of a dataset's photographs in a folder that goes when the process ends."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="segcore-thumbnails-", ignore_cleanup_errors=True)

    def sample(self, dataset: Dataset, image: ImageRecord) -> Sample:
        """A photograph that cannot be read gets a grey square; its error, or its truth's, comes when it is picked."""
        path = dataset.path(image.id)
        return Sample(image.id, path, self._thumbnail(path), _caption(dataset, image.id))

    def _thumbnail(self, path: Path) -> Path:
        target = Path(self._folder.name, hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16] + ".jpg")
        if not target.exists():
            _small_copy(path).save(target, quality=85)
        return target


def _caption(dataset: Dataset, image_id: ImageId) -> str:
    try:
        names = [dataset.categories.friendly[number] for number in dataset.classes_in(image_id)]
    except AnnotationError:
        return "its truth cannot be read"
    return ", ".join(names) or "none"


def _small_copy(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            return picture.convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return Image.new("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE), "#808080")
