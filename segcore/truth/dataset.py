"""The interface of a data set. Training, scoring and the page use it, whatever the layout on disk is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ..categories import Categories
from ..errors import UsageError
from ..imaging.reading import File

ImageId = int | str  # a number in COCO, a name in VOC
POLICIES = ("original", "torchvision")


class ImageRecord(Protocol):
    """One photograph of a data set: its id, and its file's name inside the folder of photographs."""

    @property
    def id(self) -> ImageId: ...
    @property
    def file_name(self) -> str: ...


class ObjectRecord(Protocol):
    """One annotated object: the id of its annotation, and its class from 1."""

    @property
    def id(self) -> int: ...
    @property
    def class_id(self) -> int: ...


class Dataset(Protocol):
    """One split of a folder: photographs, and a ground-truth label map for each photograph.

    has_objects: whether the truth separates objects of the same class. A label map does not.
    images: sorted by id. categories: the classes of the label maps.
    broken: for each image whose truth is broken, what is wrong. Reading such a truth raises AnnotationError.
    All methods except `id_of` raise UsageError for an id that is not in the split.
    """

    has_objects: ClassVar[bool]

    @property
    def folder(self) -> Path: ...
    @property
    def split(self) -> str: ...
    @property
    def images(self) -> Sequence[ImageRecord]: ...
    @property
    def categories(self) -> Categories: ...
    @property
    def broken(self) -> Mapping[ImageId, str]: ...

    def id_of(self, text: str) -> ImageId:
        """Convert a text that a person wrote to an id. Raises UsageError if it cannot be one."""

    def image(self, image_id: ImageId) -> ImageRecord:
        """Return the record of an image."""

    def path(self, image_id: ImageId) -> Path:
        """Return the path where the photograph should be."""

    def read_image(self, image_id: ImageId, file: File | None = None) -> np.ndarray:
        """Read the photograph, uint8 RGB (H, W, 3), in its stored orientation, to which the truth refers.

        file: the photograph's bytes, for a machine that does not have the folder. Raises ImageError for a file that is
        missing or cannot be read, and AnnotationError if its size differs from the truth's.
        """

    def size_hw(self, image_id: ImageId) -> tuple[int, int]:
        """Return the stored height and width. Raises AnnotationError for a truth that cannot be read."""

    def truth(self, image_id: ImageId, policy: str = "original") -> np.ndarray:
        """Return the label map, uint8 (H, W), C-contiguous, of classes and 255 (ignored), at the stored size.

        policy: one of POLICIES; it decides the labels of overlaps and crowd regions. Raises AnnotationError for a truth
        that cannot be read, and UsageError for an unknown policy.
        """

    def masks(self, image_id: ImageId) -> Iterator[tuple[ObjectRecord, np.ndarray]]:
        """Yield each object with its mask, bool (H, W), at the stored size. Yields nothing without `has_objects`."""

    def classes_in(self, image_id: ImageId) -> tuple[int, ...]:
        """Return the sorted object classes of an image. Raises AnnotationError for a truth that cannot be read."""

    def other_categories(self, image_id: ImageId) -> tuple[str, ...]:
        """Return the sorted names of annotated categories outside the classes. They count as background."""

    def ids_with_class(self, number: int | None) -> tuple[ImageId, ...]:
        """Return the sorted ids of images that hold an object class, or any object class (None).

        Images whose truth cannot be read are left out. Raises UsageError for a number that is no object class.
        """

    def fingerprint(self, image_id: ImageId) -> str:
        """Return a hash of an image's record and truth. If it changes, earlier counts of the image are invalid."""

    def part(self, images: Iterable[ImageRecord]) -> Dataset:
        """Return a data set of some of the images, with their truth, that can be sent to another machine."""

    def problems(self) -> list[str]:
        """Check all photographs and truths. Returns one sentence for each problem."""


def chosen_split(folder: Path, split: str | None, present: Sequence[str]) -> str:
    """Return `split` if it is present, or for None the only split. Raises UsageError otherwise."""
    if split is None and len(present) > 1:
        raise UsageError(f"{folder} holds several splits; choose one of: {', '.join(present)}")
    split = present[0] if split is None else split
    if split not in present:
        raise UsageError(f"{folder} holds no split {split!r}; choose one of: {', '.join(present)}")
    return split


def check_policy(policy: str) -> None:
    """Raise UsageError unless `policy` is one of POLICIES."""
    if policy not in POLICIES:
        raise UsageError(f"there is no policy {policy!r}; choose one of: {', '.join(POLICIES)}")
