"""The photographs in the galleries: thumbnails, captions, and credits of the photographs that ship with the code."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from segcore.errors import AnnotationError
from segcore.files.atomic import atomic_write
from segcore.truth.coco import CocoDataset, annotation_file
from segcore.truth.coco_json import read_document
from segcore.truth.dataset import Dataset, ImageId, ImageRecord

THUMBNAIL_SIDE = 240
_CAPTION_LETTERS = 30  # of the names of classes below a thumbnail, with a comma and a space after each
_SHORT_NAMES = {"Attribution License": "CC BY 2.0", "CC0 1.0 Universal (Public Domain Dedication)": "CC0 1.0"}


@dataclass(frozen=True)
class Credit:
    """The author of a photograph (a name, or its number on Flickr) and its licence. `url` can be None."""

    name: str
    url: str | None
    licence: str
    licence_url: str
    from_coco: bool


@dataclass(frozen=True)
class Sample:
    """One photograph of a dataset: its id, file, thumbnail and caption.

    credit, fails: only for photographs that ship with the code. `fails` describes errors of the shipped model.
    """

    image_id: ImageId
    path: Path
    thumbnail: Path
    caption: str
    credit: Credit | None = None
    fails: str = ""


class Thumbnails:
    """Thumbnails of datasets' photographs, in a folder that is deleted when the process ends.

    examples: the data set that ships with the code. `samples` are its photographs, in the order of its annotation file.
    """

    def __init__(self, examples: CocoDataset) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="segcore-thumbnails-", ignore_cleanup_errors=True)
        document = read_document(annotation_file(examples.folder, examples.split))
        licences = {each["id"]: each for each in document["licenses"]}
        paths = [examples.path(record["id"]) for record in document["images"]]
        with ThreadPoolExecutor() as pool:
            thumbnails = pool.map(self._thumbnail, paths)
        self._by_path = {
            path: Sample(
                *(record["id"], path, thumbnail, record["title"]),
                credit=_credit(record, licences[record["license"]]),
                fails=record.get("fails", ""),
            )
            for record, path, thumbnail in zip(document["images"], paths, thumbnails, strict=True)
        }
        self.samples = tuple(self._by_path.values())

    def sample(self, dataset: Dataset, image: ImageRecord) -> Sample:
        """Return an image for a gallery. An unreadable photograph gets a grey square; picking it shows the error."""
        path = dataset.path(image.id)
        if path in self._by_path:
            return self._by_path[path]
        return Sample(image.id, path, self._thumbnail(path), _caption(dataset, image.id))

    def of_file(self, path: Path) -> Sample | None:
        """Return the sample of a photograph that ships with the code; None for any other file."""
        return self._by_path.get(path)

    def in_order(self, dataset: Dataset, ids: Sequence[ImageId]) -> list[ImageId]:
        """Return the ids in the order of the gallery: the samples' own order, or the given order for other datasets."""
        if not ids or self.of_file(dataset.path(ids[0])) is None:
            return list(ids)
        places = {sample.image_id: place for place, sample in enumerate(self.samples)}
        return sorted(ids, key=places.__getitem__)

    def _thumbnail(self, path: Path) -> Path:
        target = Path(self._folder.name, hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16] + ".jpg")
        if not target.exists():
            with atomic_write(target) as file:
                _small_copy(path).save(file, quality=85)
        return target


def _caption(dataset: Dataset, image_id: ImageId) -> str:
    try:
        names = [dataset.categories.friendly[number] for number in dataset.classes_in(image_id)]
    except AnnotationError:
        return "its truth cannot be read"
    return shortened(names) or "none"


def shortened(names: Sequence[str]) -> str:
    """Join the first names, as many as have room below a thumbnail, and say how many more there are."""
    lengths = itertools.accumulate(len(name) + len(", ") for name in names)
    shown = names[: max(1, sum(length <= _CAPTION_LETTERS for length in lengths))]
    left = len(names) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _credit(record: Mapping[str, Any], licence: Mapping[str, Any]) -> Credit:
    terms = _SHORT_NAMES.get(licence["name"], licence["name"]), licence["url"]
    if "flickr_url" not in record:
        return Credit(record["credit"], record.get("credit_url"), *terms, from_coco=False)
    number = Path(record["flickr_url"]).name.partition("_")[0]
    return Credit(f"Flickr {number}", f"https://www.flickr.com/photo.gne?id={number}", *terms, from_coco=True)


def _small_copy(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            return picture.convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return Image.new("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE), "#808080")
