"""What a data set is to everything that trains, scores or shows, whatever layout keeps it on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ..categories import Categories
from ..errors import UsageError
from ..imaging.reading import File

ImageId = int | str  # COCO's numbers, VOC's names
POLICIES = ("original", "torchvision")


class ImageRecord(Protocol):
    """One photograph of a data set: its id, and the name of its file inside the folder of photographs."""

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
    """One split of a folder: photographs, and the ground truth of each as a label map.

    has_objects: whether the truth tells objects of one class apart; a label map alone does not. images: sorted by id.
    categories: the classes of the label maps. broken: what opening has shown to be wrong with the truth of single
    images; it is raised where that is asked for. All methods but `id_of` raise UsageError for an id that the split does
    not have.
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
        """The id that a person wrote. Raises UsageError for what cannot be one."""

    def image(self, image_id: ImageId) -> ImageRecord:
        """The record of an image."""

    def path(self, image_id: ImageId) -> Path:
        """Where the photograph should be."""

    def read_image(self, image_id: ImageId, file: File | None = None) -> np.ndarray:
        """The photograph, uint8 RGB (H, W, 3), in stored orientation: that is what the truth refers to.

        file: what `path` holds, for machines where it is not. Raises ImageError for a file that is absent or cannot be
        read, and AnnotationError where its size is not that of the truth.
        """

    def size_hw(self, image_id: ImageId) -> tuple[int, int]:
        """The stored height and width. Raises AnnotationError for a truth that cannot be read."""

    def truth(self, image_id: ImageId, policy: str = "original") -> np.ndarray:
        """The label map, uint8 (H, W), C-contiguous, of classes and 255 (ignored), at the stored size.

        policy: one of POLICIES, which says how overlaps and crowds are settled where there are any. Raises
        AnnotationError for a truth that cannot be read, and UsageError for another policy.
        """

    def masks(self, image_id: ImageId) -> Iterator[tuple[ObjectRecord, np.ndarray]]:
        """Each object with its own mask, bool (H, W), at the stored size; none unless `has_objects`."""

    def classes_in(self, image_id: ImageId) -> tuple[int, ...]:
        """The object classes, in order, of an image. Raises AnnotationError for a truth that cannot be read."""

    def other_categories(self, image_id: ImageId) -> tuple[str, ...]:
        """The names, in order, of what else is annotated in an image; it counts as background."""

    def ids_with_class(self, number: int | None) -> tuple[ImageId, ...]:
        """The ids, in order, of images with an object class, or with any (None); none whose truth cannot be read.

        Raises UsageError for what is no object class.
        """

    def fingerprint(self, image_id: ImageId) -> str:
        """A hash of an image's record and truth: counts that were taken with another must not be added to."""

    def part(self, images: Iterable[ImageRecord]) -> Dataset:
        """A data set of some of the images that can be sent to another machine, truth included."""

    def problems(self) -> list[str]:
        """All that is wrong with photographs and truth, a sentence each, for who needs every one to be right."""


def chosen_split(folder: Path, split: str | None, present: Sequence[str]) -> str:
    """`split`, which must be one of those `present`, or the only one there is. Raises UsageError."""
    if split is None and len(present) > 1:
        raise UsageError(f"{folder} holds several splits; choose one of: {', '.join(present)}")
    split = present[0] if split is None else split
    if split not in present:
        raise UsageError(f"{folder} holds no split {split!r}; choose one of: {', '.join(present)}")
    return split


def check_policy(policy: str) -> None:
    """Raises UsageError for what is none of POLICIES."""
    if policy not in POLICIES:
        raise UsageError(f"there is no policy {policy!r}; choose one of: {', '.join(POLICIES)}")
