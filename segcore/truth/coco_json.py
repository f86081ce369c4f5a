"""Reads and checks an annotation file in COCO's format. Returns its images and objects as records."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from sys import float_info
from typing import Any, NamedTuple

from ..categories import Categories
from ..classes import is_text
from ..errors import AnnotationError, shown, told
from ..imaging.reading import MAX_PIXELS
from .rle import rle_problem

Polygons = tuple[array, ...]  # each x0, y0, x1, y1, ... in pixels, float64
Rle = dict[str, Any]  # COCO's run-length encoding: {"size": [height, width], "counts": list or str}

MAX_ANNOTATION_BYTES = 512 * 1024 * 1024  # the file of train2017 has 448 million bytes


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One photograph: its id, its file's name inside the split's folder, and its stored size in pixels."""

    id: int
    file_name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or self.width * self.height > MAX_PIXELS:
            raise AnnotationError(
                f"'width' and 'height' must be positive and make {MAX_PIXELS:,} pixels at most; "
                f"they are {shown(self.width)} and {shown(self.height)}"
            )
        if not _stays_inside(self.file_name):
            raise AnnotationError(
                f"'file_name' must be the name of a file inside the split's folder, not {self.file_name!r}"
            )


@dataclass(frozen=True, slots=True)
class CocoObject:
    """One annotated object or crowd region of one of the classes. `id` is the annotation's id."""

    id: int
    class_id: int
    crowd: bool
    segmentation: Polygons | Rle


class Parsed(NamedTuple):
    """The content of an annotation file.

    images: sorted by id. By image id: objects of the classes, names of other categories, problems of annotations.
    """

    images: tuple[CocoImage, ...]
    objects: dict[int, tuple[CocoObject, ...]]
    others: dict[int, tuple[str, ...]]
    broken: dict[int, str]


_KINDS = {int: "an integer", str: "a text"}


class _Record(NamedTuple):
    """One entry of a list in the annotation file. Its errors say where it is in the file."""

    list_name: str
    number: int
    values: dict[str, Any]

    def value(self, name: str, kind: type) -> Any:
        """Return the field `name`. Raises AnnotationError unless its type is exactly `kind`, int or str."""
        value = self.required(name)
        if type(value) is not kind:
            raise self.error(name, f"must be {_KINDS[kind]}, not {shown(value)}")
        if kind is str and not is_text(value):
            raise self.error(name, f"holds half of a character: {shown(value)}")
        return value

    def required(self, name: str) -> Any:
        """Return the field `name`. Raises AnnotationError if it is missing."""
        if name not in self.values:
            raise self.error(name, "is missing")
        return self.values[name]

    def error(self, name: str, problem: str) -> AnnotationError:
        """Make the exception for a problem of the field `name`."""
        return AnnotationError(f"{self.where}: '{name}' {problem}")

    @property
    def where(self) -> str:
        """The entry's place in the file, such as "annotations[3] (id 17)"."""
        number = self.values.get("id")
        return f"{self.list_name}[{self.number}]" + (f" (id {shown(number)})" if type(number) is int else "")


def read_document(path: Path, name: object = None) -> Any:
    """Read an annotation file as JSON, without further checks. name: the file's name in messages, or its path.

    Raises AnnotationError if the file cannot be read, is not JSON, or has more than MAX_ANNOTATION_BYTES bytes: parsing
    takes several times the file's size in memory.
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
    except AnnotationError:  # it is a ValueError, which is handled below
        raise
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"{name} is no JSON, or cut short: {error.msg} in line {error.lineno}, column {error.colno}; get it again"
        ) from error
    except OSError as error:
        raise AnnotationError(f"{name} cannot be read: {error}; get it again") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{name} cannot be read: it is no text, or damaged near byte {error.start:,}; get it again"
        ) from error
    except (ValueError, RecursionError) as error:
        problem = "lists within thousands of lists, or numbers of thousands of digits"
        raise AnnotationError(f"{name} cannot be read: it holds {problem}; get it again") from error


def category_names(document: Any) -> dict[int, str]:
    """Return the names of a file's categories by id. Raises AnnotationError unless it is a file of instances."""
    _check_kind(document)
    return _names_by_id(document)


def _names_by_id(document: dict[str, Any]) -> dict[int, str]:
    return {number: record.value("name", str) for number, record in _records(document, "categories").items()}


def parse(document: Any, classes: Categories, problems: list[str]) -> Parsed:
    """Check a document and return its images and objects.

    problems: gets a sentence for each broken image record, which is left out with its annotations, and for each
    annotation of an unknown image. Raises AnnotationError if the document cannot be used at all.
    """
    _check_kind(document)
    described = _records(document, "images")
    images: dict[int, CocoImage] = {}
    of_file: dict[PurePosixPath, _Record] = {}
    for number, record in described.items():
        try:
            image = _image(record)
            first = of_file.setdefault(PurePosixPath(image.file_name), record)
            if first is not record:
                raise record.error("file_name", f"is also that of {first.where}; describe each photograph once")
            images[number] = image
        except AnnotationError as error:
            problems.append(str(error))
    annotations = _records(document, "annotations")
    names = _names_by_id(document)
    # Categories are matched by name, because tools number them differently. The background is no category.
    numbers = {category: classes.number(name) or None for category, name in names.items()}
    if annotations and not any(numbers.values()):
        raise AnnotationError(
            f"no category has the name of one of the {len(classes) - 1} classes ({', '.join(classes.names[1:])}), "
            "so nothing can be scored"
        )
    objects, others, broken = _objects_by_image(annotations, described, images, names, numbers, problems)
    return Parsed(tuple(images[number] for number in sorted(images)), objects, others, broken)


def _objects_by_image(
    annotations: Mapping[int, _Record],
    described: Mapping[int, _Record],
    images: Mapping[int, CocoImage],
    names: Mapping[int, str],
    numbers: Mapping[int, int | None],
    problems: list[str],
) -> tuple[dict[int, tuple[CocoObject, ...]], dict[int, tuple[str, ...]], dict[int, str]]:
    """Return the fields `objects`, `others` and `broken` of `Parsed`.

    described: the records of all images; images: the valid ones. names, numbers: the name and the class of each
    category id. problems: as in `parse`.
    """
    objects: dict[int, list[CocoObject]] = {}
    others: dict[int, set[str]] = {}
    broken: dict[int, list[str]] = {}
    for number, record in annotations.items():
        image = None
        try:
            image = images.get(_reference(record, "image_id", described))
            if image is None:
                continue
            category = _reference(record, "category_id", names)
            class_id = numbers[category]
            if class_id is None:
                others.setdefault(image.id, set()).add(names[category])
            elif segmentation := _segmentation(record, image):
                each = CocoObject(number, class_id, _is_crowd(record), segmentation)
                objects.setdefault(image.id, []).append(each)
        except AnnotationError as error:
            (broken.setdefault(image.id, []) if image else problems).append(str(error))
    return (
        {number: tuple(each) for number, each in objects.items()},
        {number: tuple(sorted(each)) for number, each in others.items()},
        {number: told(each) for number, each in broken.items()},
    )


def _check_kind(document: Any) -> None:
    """Raise AnnotationError for COCO's other kinds of files. Otherwise the message would only name a missing field."""
    if not isinstance(document, dict):
        raise AnnotationError(
            "it must hold an object with 'images', 'annotations' and 'categories', not "
            f"{shown(document)}; a file that holds a list is one of results"
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
    """Return the records of one of the document's lists by id."""
    entries = document.get(list_name)
    if not isinstance(entries, list):
        problem = f"must be a list, not {shown(entries)}" if list_name in document else "is missing"
        raise AnnotationError(
            f"'{list_name}' {problem}; a file of instances has 'images', 'annotations' and 'categories'"
        )
    records: dict[int, _Record] = {}
    for index, values in enumerate(entries):
        if not isinstance(values, dict):
            raise AnnotationError(f"{list_name}[{index}] must be an object, not {shown(values)}")
        record = _Record(list_name, index, values)
        first = records.setdefault(record.value("id", int), record)
        if first is not record:
            raise record.error("id", f"is also that of {list_name}[{first.number}]")
    return records


def _image(record: _Record) -> CocoImage:
    fields = {name: record.value(name, int) for name in ("id", "width", "height")}
    try:
        return CocoImage(file_name=record.value("file_name", str), **fields)
    except AnnotationError as error:
        raise AnnotationError(f"{record.where}: {error}") from error


def _stays_inside(file_name: str) -> bool:
    """Whether a file name, with or without sub-folders, stays inside its folder on every operating system."""
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
    """Return the id in the field `name`. Raises AnnotationError unless it is a key of `known`."""
    number = record.value(name, int)
    if number not in known:
        raise record.error(name, f"is {shown(number)}, which the file does not describe")
    return number


def _is_crowd(record: _Record) -> bool:
    crowd = record.values.get("iscrowd", 0)  # many tools do not write it
    if crowd not in (0, 1):
        raise record.error("iscrowd", f"must be 0 or 1, not {shown(crowd)}")
    return bool(crowd)


def _segmentation(record: _Record, image: CocoImage) -> Polygons | Rle:
    """Check an object's outline, because pycocotools does not. Returns an empty tuple for an empty object."""
    segmentation = record.required("segmentation")
    if isinstance(segmentation, dict):
        problem = rle_problem(segmentation, image.height, image.width)
        if problem:
            raise record.error("segmentation", problem)
        return segmentation
    if not isinstance(segmentation, list):
        raise record.error("segmentation", f"must be a list of polygons or an RLE, not {shown(segmentation)}")
    if not segmentation and (name := _field_with_a_size(record)):
        raise record.error("segmentation", f"is empty, though '{name}' is not 0; boxes alone make no ground truth")
    return tuple(_polygon(record, index, numbers, image) for index, numbers in enumerate(segmentation))


def _field_with_a_size(record: _Record) -> str | None:
    """Return "area", or where it is missing "bbox", if that gives the object a size; else None."""
    if "area" in record.values:
        return "area" if record.values["area"] else None
    box = record.values.get("bbox")
    return "bbox" if isinstance(box, list) and any(box[2:]) else None


def _polygon(record: _Record, index: int, numbers: Any, image: CocoImage) -> array:
    """Check one polygon and return its coordinates."""
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise record.error(
            "segmentation",
            f"must hold lists of 3 or more x, y pairs of numbers; polygon {index} is {shown(numbers)}",
        )
    try:
        polygon = array("d", numbers)
    except (TypeError, OverflowError) as error:
        wrong = next(each for each in numbers if not isinstance(each, (int, float)) or abs(each) > float_info.max)
        raise record.error("segmentation", f"must hold numbers; polygon {index} has {shown(wrong)}") from error
    # Coordinates far outside the image are mistakes of units, and drawing them could take unlimited memory.
    for name, values, size in (("x", polygon[0::2], image.width), ("y", polygon[1::2], image.height)):
        for value in (
            min(values),
            max(values),
            sum(values) / len(values),
        ):  # min and max can miss a nan, the mean cannot
            if not -size <= value <= 2 * size:
                raise record.error("segmentation", f"must lie in the picture; {name} is {value} in polygon {index}")
    return polygon
