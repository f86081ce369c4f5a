"""Data sets in PASCAL VOC's layout: the photographs of a split, and their label maps as ground truth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..categories import VOC, Categories
from ..classes import BACKGROUND, CLASSES, IGNORE_INDEX, VOC_NAMES
from ..errors import AnnotationError, ImageError, LabelError, UsageError, shown, told
from ..imaging import masks
from ..imaging.reading import SUFFIXES, File, opened, read
from .dataset import ObjectRecord, check_policy, chosen_split

PHOTOGRAPHS, LABELS, SPLITS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
MAX_LIST_BYTES = 16 * 1024 * 1024  # maximum size of a split's list of names
_LONGEST_NAME = 200  # characters
LAYOUT = f"{PHOTOGRAPHS}/, {LABELS}/ and {SPLITS}/<split>.txt"


@dataclass(frozen=True, slots=True)
class VocImage:
    """One photograph: its id, which is its name in VOC, and its file's name in the folder of photographs."""

    id: str
    file_name: str


@dataclass(frozen=True, eq=False)
class VocDataset:
    """One split of a folder in PASCAL VOC's layout.

    `ImageSets/Segmentation/<split>.txt` names the images. `JPEGImages` holds the photographs, in any readable format.
    `SegmentationClass/<name>.png` are the label maps: VOC's ids, and 255 for ignored pixels. Files are opened only when
    they are read. Implements `dataset.Dataset`; all policies give the same truth, because VOC's label maps have no
    overlaps and do not separate objects.

    images: sorted by id. categories: the classes of the truth, matched with VOC's by name; all other ids become
    background. sent: label maps that were read on another machine, or the problem with each.
    """

    has_objects: ClassVar[bool] = False
    broken: ClassVar[Mapping[str, str]] = {}  # opening reads no label map

    folder: Path
    split: str
    images: tuple[VocImage, ...] = field(repr=False)
    categories: Categories = field(default=VOC, repr=False)
    sent: Mapping[str, File | str] | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        split: str | None = None,
        categories: Categories = VOC,
        problems: list[str] | None = None,
    ) -> VocDataset:
        """Read a split's list of names. Without `split`, the folder must have exactly one.

        problems: as in `layouts.open_dataset`, for single lines of the list.
        Raises UsageError for an unknown split, or for None if there are several, and AnnotationError for a folder that
        lacks a part of the layout, for a broken or empty list, and if none of the categories is one of VOC's.
        """
        folder = Path(folder)
        split = chosen_split(folder, split, splits(folder))
        path = split_file(folder, split)
        broken: list[str] = []
        names = _names(path, broken)
        if broken:
            if problems is None:
                raise AnnotationError(f"{path}: {told(broken)}")
            problems += [f"{path}: {each}" for each in broken]
        elif not names:
            raise AnnotationError(f"{path} names no image; write the name of one a line, without its suffix")
        files = _photographs(folder)
        images = tuple(VocImage(name, files.get(name, f"{name}.jpg")) for name in sorted(names))
        dataset = cls(folder, split, images, categories)
        if not set(dataset._class_of_id.tolist()) - {BACKGROUND, IGNORE_INDEX}:
            raise AnnotationError(
                f"none of VOC's classes has the name of one of the {len(categories) - 1} classes "
                f"({', '.join(categories.names[1:])}), so nothing can be scored"
            )
        return dataset

    def id_of(self, text: str) -> str:
        """Convert a text that a person wrote to an id. Names are ids."""
        return text.strip()

    def image(self, image_id: str) -> VocImage:
        """Return the record of an image. Raises UsageError for a name that is not in the split."""
        if image_id not in self._images_by_id:
            hint = f"its {len(self.images)} names go from {self.images[0].id} to {self.images[-1].id}"
            raise UsageError(f"there is no image {shown(image_id)} in {self.split}; {hint}")
        return self._images_by_id[image_id]

    def path(self, image_id: str) -> Path:
        """Return the path where the photograph should be."""
        return self.folder / PHOTOGRAPHS / self.image(image_id).file_name

    def read_image(self, image_id: str, file: File | None = None) -> np.ndarray:
        """Read the photograph as it is stored, uint8 RGB (H, W, 3); see `dataset.Dataset`."""
        pixels = read(file or self.path(image_id), upright=False)
        self._check_size(image_id, pixels.shape[:2])
        return pixels

    def size_hw(self, image_id: str) -> tuple[int, int]:
        """Read the label map's height and width from its header. Raises AnnotationError if it cannot be read."""
        with _told_as_annotations(), opened(self._label_file(image_id)) as picture:
            return picture.height, picture.width

    def truth(self, image_id: str, policy: str = "original") -> np.ndarray:
        """Read the label map, uint8 (H, W), of the data set's classes and 255. All policies give the same."""
        check_policy(policy)
        return self._class_of_id[self._ids(image_id)]

    def masks(self, image_id: str) -> Iterator[tuple[ObjectRecord, np.ndarray]]:
        """Yield nothing, because label maps do not separate objects."""
        self.image(image_id)
        return iter(())

    def classes_in(self, image_id: str) -> tuple[int, ...]:
        """Return the sorted object classes of an image. Raises AnnotationError for a label map that cannot be read."""
        classes = {int(self._class_of_id[number]) for number in self._ids_in(image_id)}
        return tuple(sorted(classes - {BACKGROUND, IGNORE_INDEX}))

    def other_categories(self, image_id: str) -> tuple[str, ...]:
        """Return the sorted names of VOC classes in an image that are not among the data set's."""
        others = (number for number in self._ids_in(image_id) if number and not self._class_of_id[number])
        return tuple(sorted(VOC_NAMES[number] for number in others))

    def ids_with_class(self, number: int | None) -> tuple[str, ...]:
        """Return the sorted names of images that hold an object class, or any (None). Reads each label map once.

        Raises UsageError for a number that is no object class.
        """
        wanted = None if number is None else self.categories.object_id(number)
        return tuple(image.id for image in self.images if self._holds(image.id, wanted))

    def fingerprint(self, image_id: str) -> str:
        """Return a hash of an image's record and its label map, or of the label map's problem."""
        file = self._label_file_or_problem(image_id)
        content = file.encode() if isinstance(file, str) else file.content
        return hashlib.sha256(repr(self.image(image_id)).encode() + content).hexdigest()[:16]

    def part(self, images: Iterable[VocImage]) -> VocDataset:
        """Return a data set of some of the images that holds their label maps."""
        images = tuple(images)
        return replace(self, images=images, sent={image.id: self._label_file_or_problem(image.id) for image in images})

    def problems(self) -> list[str]:
        """List photographs and label maps that are missing, broken or of different sizes, one sentence for each."""
        found = (self._problem(image.id) for image in self.images)
        return [problem for problem in found if problem]

    # ---- label maps

    @cached_property
    def _images_by_id(self) -> dict[str, VocImage]:
        return {image.id: image for image in self.images}

    @cached_property
    def _class_of_id(self) -> np.ndarray:
        """The data set's class for each VOC id: uint8 (256,); 0 for an id that is no class, 255 for 255."""
        table = np.zeros(IGNORE_INDEX + 1, np.uint8)
        table[IGNORE_INDEX] = IGNORE_INDEX
        for number, each in enumerate(CLASSES):
            called = (self.categories.number(name) for name in (each.voc, each.coco, each.friendly))
            table[number] = next(filter(None, called), 0)
        return table

    @cached_property
    def _known_ids(self) -> dict[str, tuple[int, ...]]:
        """The cache of `_ids_in`."""
        return {}

    def _ids_in(self, image_id: str) -> tuple[int, ...]:
        """Return the VOC ids in a label map."""
        if image_id not in self._known_ids:
            self._known_ids[image_id] = tuple(masks.values_in(self._ids(image_id)))
        return self._known_ids[image_id]

    def _holds(self, image_id: str, wanted: int | None) -> bool:
        try:
            classes = self.classes_in(image_id)
        except AnnotationError:
            return False
        return bool(classes) if wanted is None else wanted in classes

    def _ids(self, image_id: str) -> np.ndarray:
        """Read a label map as it is stored: uint8 (H, W) of VOC's ids and 255. Raises AnnotationError."""
        with _told_as_annotations():
            return masks.stored_ids(self._label_file(image_id))

    def _label_file(self, image_id: str) -> File:
        """Read the bytes of a label map's file. Raises AnnotationError."""
        file = self._label_file_or_problem(image_id)
        if isinstance(file, str):
            raise AnnotationError(file)
        return file

    def _label_file_or_problem(self, image_id: str) -> File | str:
        photograph = self.path(image_id)
        if self.sent is not None:
            return self.sent[image_id]
        path = self.folder / LABELS / f"{image_id}.png"
        if not os.path.exists(path):
            return (
                f"there is no {LABELS}/{path.name}, the label map of {PHOTOGRAPHS}/{photograph.name}; add it, or take "
                f"{image_id} out of {SPLITS}/{self.split}.txt"
            )
        try:
            return File.at(path, f"{LABELS}/{path.name}")
        except ImageError as error:
            return str(error)

    def _check_size(self, image_id: str, photograph_hw: tuple[int, ...]) -> None:
        """Raise AnnotationError if the label map and its photograph differ in size."""
        height, width = self.size_hw(image_id)
        if (height, width) != photograph_hw:
            photograph = f"{PHOTOGRAPHS}/{self.path(image_id).name} is {photograph_hw[1]} x {photograph_hw[0]}"
            raise AnnotationError(
                f"{LABELS}/{image_id}.png is {width} x {height} pixels, but {photograph}; "
                "a label map must have its photograph's own size"
            )

    def _problem(self, image_id: str) -> str | None:
        try:
            with opened(self.path(image_id)) as photograph:  # reads only the header
                size_hw = photograph.height, photograph.width
            self._check_size(image_id, size_hw)
            self._ids_in(image_id)
        except (ImageError, AnnotationError) as error:
            return str(error)
        return None


def splits(folder: str | Path) -> tuple[str, ...]:
    """Return the sorted names of the splits in a folder in VOC's layout.

    Raises AnnotationError for a folder that lacks a part of the layout.
    """
    missing = [name for name in (PHOTOGRAPHS, LABELS) if not os.path.isdir(Path(folder, name))]
    if missing:
        raise AnnotationError(f"{folder} has no folder {missing[0]}; VOC's layout is {LAYOUT}")
    files = list(Path(folder, SPLITS).glob("*.txt"))
    if not files:
        raise AnnotationError(f"{folder} holds no {SPLITS}/<split>.txt; write one that names an image a line")
    return tuple(sorted(path.stem for path in files))


def split_file(folder: Path, split: str) -> Path:
    """Return the path of a split's list of names in a folder in VOC's layout."""
    return folder / SPLITS / f"{split}.txt"


def own_categories(folder: str | Path, split: str | None = None) -> Categories:
    """Return VOC's classes. Raises UsageError and AnnotationError for a split as `VocDataset.open` does."""
    chosen_split(Path(folder), split, splits(folder))
    return VOC


def _photographs(folder: Path) -> dict[str, str]:
    """Return the photographs' file names by stem. Of several files, the one whose suffix is first in SUFFIXES wins."""
    order = {suffix: place for place, suffix in enumerate(SUFFIXES)}
    files = [path for path in (folder / PHOTOGRAPHS).glob("*") if path.suffix.lower() in order]
    return {path.stem: path.name for path in sorted(files, key=lambda path: (-order[path.suffix.lower()], path.name))}


def _names(path: Path, broken: list[str]) -> list[str]:
    """Return the names in a split's list. `broken` gets a sentence for each line that is invalid or a repetition.

    Raises AnnotationError for a list that cannot be read.
    """
    lines = _text(path).splitlines()
    places: dict[str, int] = {}
    for place, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        if not _is_name(name):
            broken.append(f"line {place} is {shown(line)}; write the name of one image, without folder and suffix")
        elif name in places:
            broken.append(f"line {place} names {name}, as line {places[name]} does; name each image once")
        else:
            places[name] = place
    return list(places)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise AnnotationError(f"{path} has more than {MAX_LIST_BYTES // 2**20} MB; it should hold names alone")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error}; get it again") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is no text, or damaged near byte {error.start:,}; get it again") from error


def _is_name(name: str) -> bool:
    """Whether `name` is a file's stem that stays inside its folder on every operating system."""
    return name.isprintable() and len(name) <= _LONGEST_NAME and not set(name) & set("/\\:") and bool(name.strip("."))


@contextmanager
def _told_as_annotations() -> Iterator[None]:
    """Turn an ImageError or LabelError of a label map into an AnnotationError."""
    try:
        yield
    except (ImageError, LabelError) as error:
        raise AnnotationError(str(error)) from error
