"""COCO on disk: records of a split's images and objects, and ground-truth label maps drawn from them."""

from __future__ import annotations

import json
import reprlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle_tools

from .categories import VOC, Categories
from .classes import BACKGROUND, IGNORE_INDEX
from .errors import AnnotationError, UsageError
from .image import MAX_PIXELS, read

Polygons = tuple[array, ...]  # each x0, y0, x1, y1, ... in pixels, float64
Rle = dict[str, Any]  # COCO's run-length encoding: {"size": [height, width], "counts": list or str}

MAX_ANNOTATION_BYTES = 512 * 1024 * 1024  # train2017's file has 448 million

_DEFAULT_SPLIT = "val2017"
_MOST_PROBLEMS = 20  # of a file that are told at once
_MAX_RLE_DIGITS = 6  # of 5 bits each: more than any number of pixels that is accepted


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One photograph: COCO's id, the file's name inside the split's folder, and its stored size in pixels."""

    id: int
    file_name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or self.width * self.height > MAX_PIXELS:
            raise AnnotationError(
                f"'width' and 'height' must be positive and make {MAX_PIXELS:,} pixels at most; "
                f"they are {self.width} and {self.height}"
            )
        if not _stays_inside(self.file_name):
            raise AnnotationError(
                f"'file_name' must be the name of a file inside the split's folder, not {self.file_name!r}"
            )


@dataclass(frozen=True, slots=True)
class CocoObject:
    """One annotated object, or crowd region, of one of the dataset's classes; `id` is its annotation's."""

    id: int
    class_id: int
    crowd: bool
    segmentation: Polygons | Rle


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """One split of a folder in COCO's layout: `annotations/instances_<split>.json` beside `<split>/*.jpg`.

    `images` are sorted by id. `objects` has, by image id, the objects of the classes in `categories`, VOC's by
    default; `others` the names of the file's categories outside them that the image holds. Photographs are looked
    for only when they are read.
    """

    folder: Path
    split: str
    images: tuple[CocoImage, ...] = field(repr=False)
    objects: Mapping[int, tuple[CocoObject, ...]] = field(repr=False)
    others: Mapping[int, tuple[str, ...]] = field(repr=False)
    categories: Categories = field(default=VOC, repr=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        split: str | None = None,
        categories: Categories = VOC,
        problems: list[str] | None = None,
    ) -> CocoDataset:
        """Read and check one split's annotation file; without `split`, of the only split there is.

        categories: which of the file's categories, by their names, are objects of which class. problems: takes what
        is wrong with single annotations, which are then left out, for a caller who has more to check.
        Raises UsageError for a split that is not there, or left open where there are several, and
        AnnotationError for a folder without annotations and for a file that is broken; it names the file, the
        record and the field, of every broken annotation.
        """
        folder = Path(folder)
        split = _chosen_split(folder, split)
        path = annotation_file(folder, split)
        return cls.from_document(folder, split, read_document(path), path, categories, problems)

    @classmethod
    def of_file(cls, path: str | Path, categories: Categories = VOC) -> CocoDataset:
        """As `open`, of one annotation file wherever it lies; errors give its name alone, since it may be an upload.

        For its records and label maps: where its photographs are is not known.
        """
        path = Path(path)
        document = read_document(path, path.name)
        return cls.from_document(path.parent, path.stem, document, path.name, categories)

    @classmethod
    def from_document(
        cls,
        folder: Path,
        split: str,
        document: Any,
        name: object,
        categories: Categories = VOC,
        problems: list[str] | None = None,
    ) -> CocoDataset:
        """The dataset that `document`, as `read_document` gives it, describes in `folder`.

        For callers that need the document too; categories and problems as in `open`. Raises AnnotationError as `open`
        does; it calls the file `name`.
        """
        broken: list[str] = []
        try:
            parsed = _parse(document, categories, broken)
            if broken and problems is None:
                raise AnnotationError(told(broken))
        except AnnotationError as error:
            raise AnnotationError(f"{name}: {error}") from error
        if broken:
            problems += [f"{name}: {each}" for each in broken]
        return cls(folder, split, *parsed, categories)

    @classmethod
    def open_default(cls, folder: str | Path, categories: Categories = VOC) -> CocoDataset:
        """As `open`, for callers that offer no choice: val2017 if it is there, else the first split by name."""
        present = splits(folder)
        split = _DEFAULT_SPLIT if _DEFAULT_SPLIT in present else next(iter(present), None)
        return cls.open(folder, split, categories)

    def image(self, image_id: int) -> CocoImage:
        """The record of an image. Raises UsageError for an id that is not in the split."""
        if image_id not in self._images_by_id:
            raise UsageError(f"there is no image {image_id!r} in {self.split}; {self._ids_hint(image_id)}")
        return self._images_by_id[image_id]

    def path(self, image_id: int) -> Path:
        """Where the photograph should be. Raises UsageError for an unknown id."""
        return self.folder / self.split / self.image(image_id).file_name

    def read_image(self, image_id: int) -> np.ndarray:
        """The photograph, uint8 RGB (H, W, 3), in stored orientation: that is what the annotations refer to.

        Raises ImageError for a file that is absent or cannot be read, AnnotationError if its size is not the
        record's, and UsageError for an unknown id.
        """
        image = self.image(image_id)
        pixels = read(self.path(image_id), upright=False)
        height, width = pixels.shape[:2]
        if (height, width) != (image.height, image.width):
            raise AnnotationError(
                f"{self.path(image_id)} is {width} x {height} pixels, but {image.width} x {image.height} in "
                f"{annotation_file(self.folder, self.split)}; get the file that was annotated"
            )
        return pixels

    def ids_with_class(self, number: int | None) -> tuple[int, ...]:
        """The ids, in order, of images with an object or crowd region of an object class, or of any (None).

        Raises UsageError for what is no object class.
        """
        wanted = None if number is None else self.categories.object_id(number)
        return tuple(
            image.id
            for image in self.images
            if any(wanted in (None, each.class_id) for each in self.objects.get(image.id, ()))
        )

    def classes_in(self, image_id: int) -> tuple[int, ...]:
        """The object classes, in order, of an image's objects and crowd regions.

        Raises UsageError for an unknown id.
        """
        return tuple(sorted({each.class_id for each in self.objects.get(self.image(image_id).id, ())}))

    def other_categories(self, image_id: int) -> tuple[str, ...]:
        """The names, in order, of an image's categories outside the classes, which count as background.

        Raises UsageError for an unknown id.
        """
        return self.others.get(self.image(image_id).id, ())

    def truth(self, image_id: int, policy: str = "original") -> np.ndarray:
        """The ground-truth label map, uint8 (H, W), C-contiguous, of classes and 255 (ignored), at the stored size.

        Objects of other categories are background under both policies.

        - "original": where objects of one class overlap the label is that class, where objects of two classes
          do it is 255, and so it is in crowd regions of the classes, whatever else is there.
        - "torchvision": where any two objects overlap, even of one class, the label is 255; crowd regions count
          as objects. This is the procedure of torchvision's segmentation references.

        Raises UsageError for an unknown id or policy.
        """
        if policy not in _POLICIES:
            raise UsageError(f"there is no policy {policy!r}; choose one of: {', '.join(_POLICIES)}")
        image = self.image(image_id)
        size_hw = image.height, image.width
        labels = _POLICIES[policy](self.objects.get(image_id, ()), size_hw)
        return np.ascontiguousarray(labels)

    def masks(self, image_id: int) -> Iterator[tuple[CocoObject, np.ndarray]]:
        """Each object of an image, crowd regions left out, with its own mask: bool (H, W), at the stored size.

        Raises UsageError for an unknown id.
        """
        image = self.image(image_id)
        for each in self.objects.get(image_id, ()):
            if not each.crowd:
                yield each, _mask([_rle(each, (image.height, image.width))])

    @cached_property
    def _images_by_id(self) -> dict[int, CocoImage]:
        return {image.id: image for image in self.images}

    def _ids_hint(self, wanted: object) -> str:
        if not self.images:
            return "it holds no images"
        ids = [image.id for image in self.images]
        hint = f"its {len(ids)} ids go from {ids[0]} to {ids[-1]}"
        if isinstance(wanted, int):
            hint += f", the nearest is {min(ids, key=lambda each: abs(each - wanted))}"
        return hint


def splits(folder: str | Path) -> tuple[str, ...]:
    """The names, in order, of the splits that a folder in COCO's layout has instance annotations for."""
    files = annotation_file(Path(folder), "*")
    names = (path.stem.removeprefix("instances_") for path in files.parent.glob(files.name))
    return tuple(sorted(filter(None, names)))


def own_categories(folder: str | Path, split: str | None = None) -> tuple[str, ...]:
    """The names of the categories that a split's annotation file describes, in the order of their ids.

    Raises UsageError and AnnotationError as `CocoDataset.open` does.
    """
    folder = Path(folder)
    path = annotation_file(folder, _chosen_split(folder, split))
    document = read_document(path)
    try:
        _check_kind(document)
        return tuple(name for _, name in sorted(_category_names(document).items()))
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error


def _chosen_split(folder: Path, split: str | None) -> str:
    """`split`, checked, or the only one there is."""
    present = splits(folder)
    if not present:
        raise AnnotationError(
            f"{folder} holds no annotations/instances_<split>.json; give a folder in COCO's layout, with "
            "the photographs in <split>/"
        )
    if split is None and len(present) > 1:
        raise UsageError(f"{folder} holds several splits; choose one of: {', '.join(present)}")
    split = present[0] if split is None else split
    if split not in present:
        raise UsageError(f"{folder} holds no split {split!r}; choose one of: {', '.join(present)}")
    return split


def annotation_file(folder: Path, split: str) -> Path:
    """Where a folder in COCO's layout has, or would have, a split's instance annotations."""
    return folder / "annotations" / f"instances_{split}.json"


# ---- label maps


def _original_truth(objects: Iterable[CocoObject], size_hw: tuple[int, int]) -> np.ndarray:
    of_class: dict[int, list[Rle]] = {}
    crowds: list[Rle] = []
    for each in objects:
        target = crowds if each.crowd else of_class.setdefault(each.class_id, [])
        target.append(_rle(each, size_hw))
    labels = _paint(of_class.items(), size_hw)
    if crowds:
        labels[_mask(crowds)] = IGNORE_INDEX
    return labels


def _torchvision_truth(objects: Iterable[CocoObject], size_hw: tuple[int, int]) -> np.ndarray:
    return _paint(((each.class_id, [_rle(each, size_hw)]) for each in objects), size_hw)


_POLICIES: dict[str, Callable[[Iterable[CocoObject], tuple[int, int]], np.ndarray]] = {
    "original": _original_truth,
    "torchvision": _torchvision_truth,
}


def _paint(layers: Iterable[tuple[int, list[Rle]]], size_hw: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) of each layer's class where no other layer is, 255 where two layers are; in Fortran order."""
    labels = np.full(size_hw, BACKGROUND, np.uint8, order="F")  # the order of COCO's encoding
    for number, rles in layers:
        mask = _mask(rles)
        labels[mask] = np.where(labels[mask] == BACKGROUND, number, IGNORE_INDEX)
    return labels


def _mask(rles: list[Rle]) -> np.ndarray:
    """bool (H, W): the union of the encoded masks."""
    return rle_tools.decode(rle_tools.merge(rles)).view(bool)


def _rle(each: CocoObject, size_hw: tuple[int, int]) -> Rle:
    """An object's mask, compressed; everything that would make the decoder misbehave was refused on opening."""
    if isinstance(each.segmentation, tuple):
        return rle_tools.merge(rle_tools.frPyObjects(list(each.segmentation), *size_hw))
    if isinstance(each.segmentation["counts"], list):
        return rle_tools.frPyObjects(each.segmentation, *size_hw)
    return each.segmentation


# ---- the annotation file


_Parsed = tuple[tuple[CocoImage, ...], dict[int, tuple[CocoObject, ...]], dict[int, tuple[str, ...]]]
_KINDS = {int: "an integer", str: "a text"}


class _Record(NamedTuple):
    """One entry of a list of the annotation file, which can name itself in errors."""

    list_name: str
    index: int
    values: dict[str, Any]

    def value(self, name: str, kind: type) -> Any:
        """The field `name`, which must be there and of `kind`, int or str; True and 480.0 are no int."""
        value = self.required(name)
        if type(value) is not kind:
            raise self.error(name, f"must be {_KINDS[kind]}, not {_shown(value)}")
        return value

    def required(self, name: str) -> Any:
        """The field `name`, which must be there."""
        if name not in self.values:
            raise self.error(name, "is missing")
        return self.values[name]

    def error(self, name: str, problem: str) -> AnnotationError:
        """To be raised: what is wrong with the field `name`."""
        return AnnotationError(f"{self.where}: '{name}' {problem}")

    @property
    def where(self) -> str:
        """Its place in the file: "annotations[3] (id 17)"."""
        number = self.values.get("id")
        return f"{self.list_name}[{self.index}]" + (f" (id {number})" if type(number) is int else "")


def read_document(path: Path, name: object = None) -> Any:
    """What an annotation file holds, parsed and not checked further.

    Raises AnnotationError, which calls the file `name` or else by its path, if it cannot be read, is no JSON, or has
    more than MAX_ANNOTATION_BYTES bytes: parsed, it takes several times its size in memory.
    """
    name = name or path
    try:
        size = path.stat().st_size
        if size > MAX_ANNOTATION_BYTES:
            raise AnnotationError(
                f"{name} has {size / 1e6:,.1f} MB, and {MAX_ANNOTATION_BYTES / 1e6:,.1f} MB is the most that is read; "
                "give a part of its images a file of their own"
            )
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"{name} is no JSON, or cut short: {error.msg} in line {error.lineno}, column {error.colno}; get it again"
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no text, or a number of thousands of digits
        raise AnnotationError(f"{name} cannot be read: {error}; get it again") from error


def _category_names(document: dict[str, Any]) -> dict[int, str]:
    return {number: record.value("name", str) for number, record in _records(document, "categories").items()}


def _parse(document: Any, classes: Categories, problems: list[str]) -> _Parsed:
    """What `CocoDataset` holds of an annotation file: images, objects and others; broken annotations go to `problems`.

    Raises AnnotationError for what leaves nothing to go on with.
    """
    _check_kind(document)
    images = {number: _image(record) for number, record in _records(document, "images").items()}
    annotations = _records(document, "annotations")
    names = _category_names(document)
    # By name, since files that tools write number them in their own ways; the background is no category.
    numbers = {category: classes.number(name) or None for category, name in names.items()}
    if annotations and not any(numbers.values()):
        raise AnnotationError(
            f"no category has the name of one of the {len(classes) - 1} classes ({', '.join(classes.names[1:])}), "
            "so nothing can be scored"
        )

    objects: dict[int, list[CocoObject]] = {}
    others: dict[int, set[str]] = {}
    for number, record in annotations.items():
        try:
            image = images[_reference(record, "image_id", images)]
            category = _reference(record, "category_id", names)
            if numbers[category] is None:
                others.setdefault(image.id, set()).add(names[category])
            elif segmentation := _segmentation(record, image):
                each = CocoObject(number, numbers[category], _is_crowd(record), segmentation)
                objects.setdefault(image.id, []).append(each)
        except AnnotationError as error:
            problems.append(str(error))
    return (
        tuple(images[number] for number in sorted(images)),
        {number: tuple(each) for number, each in objects.items()},
        {number: tuple(sorted(each)) for number, each in others.items()},
    )


def _check_kind(document: Any) -> None:
    """AnnotationError for COCO's other kinds of files, which would otherwise only lack some field or other."""
    if not isinstance(document, dict):
        raise AnnotationError(
            "it must hold an object with 'images', 'annotations' and 'categories', not "
            f"{_shown(document)}; a file that holds a list is one of results"
        )
    annotations, categories = (
        [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
        for entries in (document.get("annotations"), document.get("categories"))
    )
    kind = None
    if any("segments_info" in each for each in annotations):
        kind = "panoptic segments"
    elif any("caption" in each for each in annotations):
        kind = "captions"
    elif categories and all(each.get("keypoints") for each in categories):
        kind = "keypoints, and no other objects than those that have them"
    if kind:
        raise AnnotationError(f"it holds {kind}; take COCO's file of instances, instances_<split>.json")


def _records(document: dict[str, Any], list_name: str) -> dict[int, _Record]:
    """The records of one of the document's lists, by their ids."""
    entries = document.get(list_name)
    if not isinstance(entries, list):
        problem = f"must be a list, not {_shown(entries)}" if list_name in document else "is missing"
        raise AnnotationError(
            f"'{list_name}' {problem}; a file of instances has 'images', 'annotations' and 'categories'"
        )
    records: dict[int, _Record] = {}
    for index, values in enumerate(entries):
        if not isinstance(values, dict):
            raise AnnotationError(f"{list_name}[{index}] must be an object, not {_shown(values)}")
        record = _Record(list_name, index, values)
        first = records.setdefault(record.value("id", int), record)
        if first is not record:
            raise record.error("id", f"is also that of {list_name}[{first.index}]")
    return records


def _image(record: _Record) -> CocoImage:
    fields = {name: record.value(name, int) for name in ("id", "width", "height")}
    try:
        return CocoImage(file_name=record.value("file_name", str), **fields)
    except AnnotationError as error:
        raise AnnotationError(f"{record.where}: {error}") from error


def _stays_inside(file_name: str) -> bool:
    """Whether a file name, sub-folders allowed, leads nowhere else on any system."""
    windows = PureWindowsPath(file_name)
    return (
        file_name.isprintable()
        and "\\" not in file_name
        and not windows.drive
        and not windows.root
        and bool(windows.parts)
        and ".." not in windows.parts
    )


def _reference(record: _Record, name: str, known: Mapping[int, Any]) -> int:
    """The id in the field `name`, which must be a key of `known`."""
    number = record.value(name, int)
    if number not in known:
        raise record.error(name, f"is {number}, which the file does not describe")
    return number


def _is_crowd(record: _Record) -> bool:
    crowd = record.values.get("iscrowd", 0)  # many tools leave it out
    if crowd not in (0, 1):
        raise record.error("iscrowd", f"must be 0 or 1, not {_shown(crowd)}")
    return bool(crowd)


def _segmentation(record: _Record, image: CocoImage) -> Polygons | Rle:
    """The object's outline, checked for all that the decoder does not check; empty for an object of no area."""
    segmentation = record.required("segmentation")
    if isinstance(segmentation, dict):
        problem = _rle_problem(segmentation, image)
        if problem:
            raise record.error("segmentation", problem)
        return segmentation
    if not isinstance(segmentation, list):
        raise record.error("segmentation", f"must be a list of polygons or an RLE, not {_shown(segmentation)}")
    if not segmentation and record.values.get("area"):
        raise record.error("segmentation", "is empty, though 'area' is not 0; boxes alone make no ground truth")
    return tuple(_polygon(record, index, numbers, image) for index, numbers in enumerate(segmentation))


def _polygon(record: _Record, index: int, numbers: Any, image: CocoImage) -> array:
    """One polygon's coordinates, checked."""
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise record.error(
            "segmentation",
            f"must hold lists of 3 or more x, y pairs of numbers; polygon {index} is {_shown(numbers)}",
        )
    try:
        polygon = array("d", numbers)
    except (TypeError, OverflowError) as error:
        raise record.error("segmentation", f"must hold numbers; in polygon {index}: {error}") from error
    # Far coordinates are a mistake of units, and drawing them takes memory without bounds.
    for name, values, size in (("x", polygon[0::2], image.width), ("y", polygon[1::2], image.height)):
        for value in (min(values), max(values), sum(values) / len(values)):  # a nan is sure to reach the mean
            if not -size <= value <= 2 * size:
                raise record.error("segmentation", f"must lie in the picture; {name} is {value} in polygon {index}")
    return polygon


def _rle_problem(rle: dict[str, Any], image: CocoImage) -> str | None:
    """Why a run-length encoding is not one of a mask of the image; None if it is."""
    size, counts = rle.get("size"), rle.get("counts")
    if size != [image.height, image.width]:
        return f"must be of the image's 'size', [{image.height}, {image.width}], not {_shown(size)}"
    if isinstance(counts, str):
        runs = _runs_of_compressed(counts)
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        runs = None
    if runs is None:
        return f"must hold 'counts', a list of integers or COCO's text for one, not {_shown(counts)}"
    if any(run < 0 for run in runs) or sum(runs) != image.height * image.width:
        return f"must hold 'counts' from 0 that add up to {image.height * image.width} pixels, not to {sum(runs)}"
    return None


def _runs_of_compressed(counts: str) -> list[int] | None:
    """The run lengths in COCO's text for them, None if it is not one.

    Each is a little-endian number of 5 bits a character, from "0", whose sixth bit says that more follow; from the
    fourth on it is the difference to the one but last (`rleFrString` in COCO's `maskApi.c`, which checks nothing).
    """
    runs: list[int] = []
    value = digits = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or digits == _MAX_RLE_DIGITS:
            return None
        value |= (bits & 31) << 5 * digits
        digits += 1
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << 5 * digits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = digits = 0
    return None if digits else runs


def told(problems: list[str]) -> str:
    """Several problems as one message: a line each, and how many more there are."""
    more = len(problems) - _MOST_PROBLEMS
    return "\n".join(problems[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))


def _shown(value: Any) -> str:
    """A wrong value as an error message quotes it, cut short."""
    return reprlib.repr(value)
