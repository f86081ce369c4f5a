"""Data sets in COCO's layout: the images and objects of a split, and label maps drawn from the objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as rle_tools

from ..categories import VOC, Categories
from ..classes import BACKGROUND, IGNORE_INDEX, VOC_NAMES, folded
from ..errors import AnnotationError, UsageError, shown, told
from ..imaging.reading import File, read
from .coco_json import CocoImage, CocoObject, Rle, category_names, parse, read_document
from .dataset import check_policy, chosen_split


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """One split of a folder in COCO's layout: `annotations/instances_<split>.json` beside `<split>/*.jpg`.

    images: sorted by id. categories: the classes, VOC's by default.
    By image id: `objects` holds the objects of the classes, `others` the names of the image's other categories, and
    `broken` what is wrong with its annotations; reading such a truth raises AnnotationError.
    Photographs are opened only when they are read. Implements `dataset.Dataset`.
    """

    has_objects: ClassVar[bool] = True

    folder: Path
    split: str
    images: tuple[CocoImage, ...] = field(repr=False)
    objects: Mapping[int, tuple[CocoObject, ...]] = field(repr=False)
    others: Mapping[int, tuple[str, ...]] = field(repr=False)
    broken: Mapping[int, str] = field(repr=False)
    categories: Categories = field(default=VOC, repr=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        split: str | None = None,
        categories: Categories = VOC,
        problems: list[str] | None = None,
    ) -> CocoDataset:
        """Read and check a split's annotation file. Without `split`, the folder must have exactly one.

        categories, problems: as in `layouts.open_dataset`.
        Raises UsageError for an unknown split, or for None if there are several, and AnnotationError for a folder
        without annotations and for a broken file. The message names the file, and the record and field of each problem.
        """
        folder = Path(folder)
        split = _chosen_split(folder, split)
        path = annotation_file(folder, split)
        return cls.from_document(folder, split, read_document(path), path, categories, problems)

    @classmethod
    def of_file(cls, path: str | Path, categories: Categories = VOC) -> CocoDataset:
        """Read one annotation file in any folder, as `open` does. It gives records and label maps, no photographs.

        Errors name the file without its folder, because it may be an upload.
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
        """Make a dataset in `folder` from a document that `read_document` returned.

        categories, problems: as in `open`. Raises AnnotationError as `open` does; messages call the file `name`.
        """
        wrong: list[str] = []
        try:
            parsed = parse(document, categories, wrong)
            if problems is None and (every := [*wrong, *parsed.broken.values()]):
                raise AnnotationError(told(every))
        except AnnotationError as error:
            raise AnnotationError(f"{name}: {error}") from error
        if problems is not None:
            problems += [f"{name}: {each}" for each in wrong]
        broken = {number: f"{name}: {each}" for number, each in parsed.broken.items()}
        return cls(folder, split, parsed.images, parsed.objects, parsed.others, broken, categories)

    def id_of(self, text: str) -> int:
        """Convert a text that a person wrote to an id. Raises UsageError unless it is a number."""
        if not re.fullmatch(r"\s*-?[0-9]{1,100}\s*", text):  # int() would accept VOC's name 2007_000042
            problem = f"there is no image {shown(text)} in {self.split}; ids are numbers: {self._ids_hint(text)}"
            raise UsageError(problem)
        return int(text)

    def image(self, image_id: int) -> CocoImage:
        """Return the record of an image. Raises UsageError for an id that is not in the split."""
        if image_id not in self._images_by_id:
            raise UsageError(f"there is no image {image_id!r} in {self.split}; {self._ids_hint(image_id)}")
        return self._images_by_id[image_id]

    def path(self, image_id: int) -> Path:
        """Return the path where the photograph should be. Raises UsageError for an unknown id."""
        return self.folder / self.split / self.image(image_id).file_name

    def read_image(self, image_id: int, file: File | None = None) -> np.ndarray:
        """Read the photograph, uint8 RGB (H, W, 3), in its stored orientation, to which the annotations refer.

        file: the photograph's bytes, for a machine that does not have the folder.
        Raises ImageError for a file that is missing or cannot be read, AnnotationError if its size differs from the
        record's, and UsageError for an unknown id.
        """
        image = self.image(image_id)
        pixels = read(file or self.path(image_id), upright=False)
        height, width = pixels.shape[:2]
        if (height, width) != (image.height, image.width):
            raise AnnotationError(
                f"{image.file_name} is {width} x {height} pixels, but {image.width} x {image.height} in "
                f"{annotation_file(self.folder, self.split).name}; get the file that was annotated"
            )
        return pixels

    def size_hw(self, image_id: int) -> tuple[int, int]:
        """Return the stored height and width of an image. Raises UsageError for an unknown id."""
        image = self.image(image_id)
        return image.height, image.width

    def ids_with_class(self, number: int | None) -> tuple[int, ...]:
        """Return the sorted ids of images with an object or crowd region of an object class, or of any (None).

        Raises UsageError for a number that is no object class.
        """
        wanted = None if number is None else self.categories.object_id(number)
        return tuple(
            image.id
            for image in self.images
            if image.id not in self.broken
            and any(wanted in (None, each.class_id) for each in self.objects.get(image.id, ()))
        )

    def classes_in(self, image_id: int) -> tuple[int, ...]:
        """Return the sorted classes of an image's objects and crowd regions.

        Raises UsageError for an unknown id, AnnotationError for an image whose annotations are broken.
        """
        return tuple(sorted({each.class_id for each in self._objects_of(image_id)}))

    def other_categories(self, image_id: int) -> tuple[str, ...]:
        """Return the sorted names of an image's categories outside the classes. They count as background.

        Raises UsageError for an unknown id.
        """
        return self.others.get(self.image(image_id).id, ())

    def truth(self, image_id: int, policy: str = "original") -> np.ndarray:
        """Draw the ground-truth label map: uint8 (H, W), C-contiguous, classes and 255 (ignored), at the stored size.

        With both policies, objects of other categories are background.

        - "original": an overlap of objects of the same class has that class; an overlap of two classes is 255; all
          crowd regions of the classes are 255.
        - "torchvision": every overlap of two objects is 255, even of the same class; crowd regions count as objects.
          This is the procedure of torchvision's segmentation references.

        Raises UsageError for an unknown id or policy, AnnotationError for an image whose annotations are broken.
        """
        check_policy(policy)
        labels = _POLICIES[policy](self._objects_of(image_id), self.size_hw(image_id))
        return np.ascontiguousarray(labels)

    def masks(self, image_id: int) -> Iterator[tuple[CocoObject, np.ndarray]]:
        """Yield each object of an image with its mask, bool (H, W), at the stored size. Crowd regions are left out.

        Raises as `truth` does.
        """
        size_hw = self.size_hw(image_id)
        for each in self._objects_of(image_id):
            if not each.crowd:
                yield each, _mask([_rle(each, size_hw)])

    def fingerprint(self, image_id: int) -> str:
        """Return a hash of an image's record and annotations."""
        image, objects = self.image(image_id), self.objects.get(image_id)
        content = repr((image, self.broken.get(image_id) or objects))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def part(self, images: Iterable[CocoImage]) -> CocoDataset:
        """Return a data set of some of the images, without the names of other categories."""
        images = tuple(images)
        objects = {image.id: self.objects.get(image.id, ()) for image in images}
        broken = {image.id: self.broken[image.id] for image in images if image.id in self.broken}
        return replace(self, images=images, objects=objects, others={}, broken=broken)

    def problems(self) -> list[str]:
        """List photographs that are missing or of a wrong size, and objects that are broken or outside their image."""
        problems = list(self.broken.values())
        for image in self.images:
            problems += self._photograph_problems(image)
            problems += [
                f"annotations (id {each.id}): 'segmentation' lies outside the picture of image {image.id}"
                for each in self.objects.get(image.id, ())
                if _is_outside(each, image)
            ]
        return problems

    def _photograph_problems(self, image: CocoImage) -> list[str]:
        path = self.path(image.id)
        try:
            with Image.open(path) as file:  # reads only the header
                size = file.size
        except FileNotFoundError:
            return [f"image {image.id}: {path} is missing"]
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            return [f"image {image.id}: {path} cannot be read: {error}"]
        if size != (image.width, image.height):
            return [f"image {image.id}: {path} is {size[0]} x {size[1]} pixels, not {image.width} x {image.height}"]
        return []

    def _objects_of(self, image_id: int) -> tuple[CocoObject, ...]:
        if problem := self.broken.get(self.image(image_id).id):
            raise AnnotationError(problem)
        return self.objects.get(image_id, ())

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
    """Return the sorted names of the splits with instance annotations in a folder in COCO's layout."""
    files = annotation_file(Path(folder), "*")
    names = (path.stem.removeprefix("instances_") for path in files.parent.glob(files.name))
    return tuple(sorted(filter(None, names)))


def own_categories(folder: str | Path, split: str | None = None) -> Categories:
    """Return the categories of a split's annotation file, in the order of their ids.

    Raises UsageError and AnnotationError as `CocoDataset.open` does, and UsageError for invalid names.
    """
    folder = Path(folder)
    path = annotation_file(folder, _chosen_split(folder, split))
    document = read_document(path)
    try:
        names = [name for _, name in sorted(category_names(document).items())]
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error
    return Categories.of(*(name for name in names if folded(name) != VOC_NAMES[BACKGROUND]))


def _chosen_split(folder: Path, split: str | None) -> str:
    present = splits(folder)
    if not present:
        raise AnnotationError(
            f"{folder} holds no annotations/instances_<split>.json; give a folder in COCO's layout, with "
            "the photographs in <split>/"
        )
    return chosen_split(folder, split, present)


def annotation_file(folder: Path, split: str) -> Path:
    """Return the path of a split's instance annotations in a folder in COCO's layout."""
    return folder / "annotations" / f"instances_{split}.json"


def _is_outside(each: CocoObject, image: CocoImage) -> bool:
    if not isinstance(each.segmentation, tuple):
        return False  # a run-length encoding cannot leave the image
    x = [value for polygon in each.segmentation for value in polygon[0::2]]
    y = [value for polygon in each.segmentation for value in polygon[1::2]]
    return max(x) <= 0 or max(y) <= 0 or min(x) >= image.width or min(y) >= image.height


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
    """Draw layers of (class, masks): uint8 (H, W) in Fortran order. Pixels of two layers are 255."""
    labels = np.full(size_hw, BACKGROUND, np.uint8, order="F")  # the order of COCO's encoding
    for number, rles in layers:
        mask = _mask(rles)
        labels[mask] = np.where(labels[mask] == BACKGROUND, number, IGNORE_INDEX)
    return labels


def _mask(rles: list[Rle]) -> np.ndarray:
    """Return the union of encoded masks: bool (H, W)."""
    return rle_tools.decode(rle_tools.merge(rles)).view(bool)


def _rle(each: CocoObject, size_hw: tuple[int, int]) -> Rle:
    """Return an object's mask as compressed RLE. Input that pycocotools cannot take was refused on opening."""
    if isinstance(each.segmentation, tuple):
        return rle_tools.merge(rle_tools.frPyObjects(list(each.segmentation), *size_hw))
    if isinstance(each.segmentation["counts"], list):
        return rle_tools.frPyObjects(each.segmentation, *size_hw)
    return each.segmentation
