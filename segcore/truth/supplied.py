"""Ground truth that a person uploads for one photograph: a mask, or a file of COCO annotations."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ..classes import BACKGROUND, FRIENDLY_NAMES, IGNORE_INDEX
from ..errors import AnnotationError, LabelError
from ..imaging import masks, reading
from ..inference.task import Task
from .coco import CocoDataset
from .coco_json import CocoImage, CocoObject

_PNG = b"\x89PNG\r\n\x1a\n"
_BEFORE_JSON = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # byte order marks, UTF-16's zeros and white space
SPLIT = "your own truth"  # stands for the split's name in records of scores
MAX_JSON_BYTES = 25 * 1024 * 1024  # COCO's val2017 has 20 MB; parsing can take 30 times the file's size

# pycocotools takes 50 bytes per pixel of an outline and crashes if memory runs out. Merging outlines costs time in
# proportion to their number times their length.
_MAX_OUTLINE, _MAX_MERGING = 5_000_000, 1_000_000_000
_MOST_NAMED = 5  # maximum number of images listed in an error


@dataclass(frozen=True, eq=False)
class OwnTruth:
    """The ground truth of one photograph, compressed.

    file_name: the uploaded file's name. size_hw: the photograph's upright (height, width).
    packed: the pixels, uint8 (height, width), compressed by zlib.
    is_labels, is_binary: how the values can be interpreted, as in `masks.Mask`. numbers: the sorted distinct values.
    annotated: the image's name in the COCO annotations, None for a mask. others: names of annotated categories outside
    the 20 classes; they count as background.
    """

    file_name: str
    size_hw: tuple[int, int]
    packed: bytes = field(repr=False)
    is_labels: bool
    is_binary: bool
    numbers: tuple[int, ...]
    annotated: str | None = None
    others: tuple[str, ...] = ()

    def labels(self, task: Task) -> np.ndarray:
        """Return the label map for a task: uint8 (height, width) of 0..20, in binary mode 0 and 1; 255 is ignored.

        Raises LabelError in multiclass mode for a black and white mask, which does not name a class.
        """
        if not (self.is_labels or task.binary):
            raise LabelError(
                f"{self.file_name} is black and white, which says where an object is and not what it is; choose binary "
                "mode, and a class, to compare with it"
            )
        values = np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.size_hw)
        return values if self._taken_for_binary(task) else task.truth(values)

    def read_as(self, task: Task) -> str:
        """Return a sentence that says how the file is interpreted."""
        if self._taken_for_binary(task):
            return f"Read as black and white: white is {task.friendly_names[1]}, black is everything else."
        if not self.is_labels:
            return "Read as black and white: white is the object, black is everything else. It needs binary mode."
        names = [FRIENDLY_NAMES[number] for number in self.numbers if number not in (BACKGROUND, IGNORE_INDEX)]
        what = "a label map of VOC ids" if self.annotated is None else f"COCO annotations of {self.annotated}"
        left_out = "; some pixels are left out of the scores" if IGNORE_INDEX in self.numbers else ""
        return f"Read as {what}: {', '.join(names) or 'nothing but background'}{left_out}."

    def _taken_for_binary(self, task: Task) -> bool:
        return self.is_binary and task.binary


def read_truth(source: str | Path, photograph: str | Path, size_hw: tuple[int, int]) -> OwnTruth:
    """Read a mask or a file of COCO instances as the ground truth of one photograph. The content decides which it is.

    photograph: the photograph's file. Its name selects the image in an annotation file. If its EXIF orientation swaps
    width and height, a truth of the stored size is turned like the photograph. size_hw: its upright (height, width).
    Masks are interpreted by `masks.decode`; annotations are drawn with the policy "original" of `CocoDataset.truth`.

    Raises ImageError for a mask that cannot be read, AnnotationError for annotations that are broken or do not describe
    the photograph, LabelError for a truth of another size and for an image that is no mask.
    """
    source, photograph = Path(source), Path(photograph)
    return _reader(source)(source, photograph, size_hw)


def _reader(path: Path) -> Callable[[Path, Path, tuple[int, int]], OwnTruth]:
    """Choose the reader by the file's first bytes, or else by its suffix, so that broken JSON is reported as JSON."""
    if not path.is_file() or not path.stat().st_size:
        return _read_mask  # it reports what is wrong
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(_PNG):
        return _read_mask
    if head.lstrip(_BEFORE_JSON).startswith((b"{", b"[")) or path.suffix.lower() == ".json":
        return _read_annotations
    raise LabelError(
        f"{path.name} is neither PNG nor JSON; save a mask as PNG, which keeps every label as it is (JPEG does not), "
        "or give COCO annotations"
    )


def _read_mask(path: Path, photograph: Path, size_hw: tuple[int, int]) -> OwnTruth:
    with reading.opened(path) as picture:
        # Check the size before decoding, so that a large mask of a wrong size costs nothing.
        orientation = _orientation(
            (picture.height, picture.width), photograph, size_hw, "the mask is", "a mask of the photograph's own size"
        )
        picture.load()
        mask = masks.decode(picture, path.name)
    return OwnTruth(
        file_name=path.name,
        size_hw=size_hw,
        packed=_packed(reading.turn(mask.values, orientation)),
        is_labels=mask.is_labels,
        is_binary=mask.is_binary,
        numbers=tuple(masks.values_in(mask.values)),
    )


def _orientation(
    stored_hw: tuple[int, int], photograph: Path, size_hw: tuple[int, int], what_is: str, wanted: str
) -> int:
    """Return the EXIF orientation in which a truth is stored: 1 if it has the upright size, else the photograph's.

    Raises LabelError if the truth has neither the upright nor the stored size.
    """
    if stored_hw == size_hw:
        return 1
    if stored_hw == size_hw[::-1]:
        with reading.opened(photograph) as picture:
            orientation = reading.orientation(picture)
        if orientation >= 5:  # width and height are swapped
            return orientation
    (height, width), (own_height, own_width) = stored_hw, size_hw
    raise LabelError(f"{what_is} {width} x {height}, but the photograph is {own_width} x {own_height}; give {wanted}")


def _packed(labels: np.ndarray) -> bytes:
    return zlib.compress(np.ascontiguousarray(labels).data, level=1)


# ---- COCO annotations


def _read_annotations(path: Path, photograph: Path, size_hw: tuple[int, int]) -> OwnTruth:
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise AnnotationError(
            f"{path.name} has {size / 2**20:.1f} MB, and {MAX_JSON_BYTES / 2**20:.0f} MB is the most that is read; "
            "give the annotations of this photograph alone"
        )
    dataset = CocoDataset.of_file(path)
    record = _record_of(photograph.name, dataset.images, path.name)
    orientation = _orientation(
        (record.height, record.width),
        photograph,
        size_hw,
        f"{path.name} says that {record.file_name} is",
        "the annotations of this very photograph",
    )
    _check_work(dataset.objects.get(record.id, ()), path.name)
    labels = dataset.truth(record.id, "original")
    return OwnTruth(
        file_name=path.name,
        size_hw=size_hw,
        packed=_packed(reading.turn(labels, orientation)),
        is_labels=True,
        is_binary=False,
        numbers=tuple(masks.values_in(labels)),
        annotated=record.file_name,
        others=dataset.other_categories(record.id),
    )


def _record_of(photograph: str, records: Sequence[CocoImage], name: str) -> CocoImage:
    """Return the photograph's record: the one with its file name, without folders, or else the only record."""
    named = [each for each in records if _plain(PurePosixPath(each.file_name).name) == _plain(photograph)]
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        raise AnnotationError(f"{name} has {len(named)} images called {photograph}; give the annotations of one alone")
    if len(records) == 1:
        return records[0]
    if not records:
        raise AnnotationError(f"{name} describes no images; give the annotations of this photograph")
    more = f" and {len(records) - _MOST_NAMED:,} more" if len(records) > _MOST_NAMED else ""
    raise AnnotationError(
        f"{name} has no image called {photograph}, but {', '.join(each.file_name for each in records[:_MOST_NAMED])}"
        f"{more}; rename the photograph, or give its annotations alone"
    )


def _plain(file_name: str) -> str:
    """Return a file's name without the characters that browsers and servers remove or replace in uploads."""
    return re.sub(r"[^\w.]", "", file_name).casefold()


def _check_work(objects: Sequence[CocoObject], name: str) -> None:
    """Raise AnnotationError for outlines that would take minutes or gigabytes to draw. No real photograph has them."""
    parts = sum(1 if isinstance(each.segmentation, dict) else len(each.segmentation) for each in objects)
    outline = sum(_outline(each) for each in objects)
    if outline > _MAX_OUTLINE or parts * outline > _MAX_MERGING:
        raise AnnotationError(
            f"{name} has {parts:,} outlines of {outline:,.0f} pixels together in this picture, which is too much to "
            "draw; simplify them"
        )


def _outline(each: CocoObject) -> float:
    """Return the length of an object's outline in pixels; for an RLE, an upper bound of its number of runs."""
    if isinstance(each.segmentation, dict):
        return len(each.segmentation["counts"])
    polygons = (np.array(polygon).reshape(-1, 2) for polygon in each.segmentation)
    return sum(float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()) for points in polygons)
