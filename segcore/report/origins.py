"""Where a score comes from, in a report: the images behind a cell of the confusion matrix or behind a class."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from PIL import Image

from ..errors import AnnotationError, ImageError
from ..truth.dataset import Dataset, ImageId
from .terms import Record, count_of_images, friendly, number, percent

MOST_THUMBNAILS = 120  # some 1 MB of a report; the other images are listed without a picture
_SIDE, _QUALITY = 200, 70  # pixels of the longer side, and JPEG's quality

Thumbnails = Mapping[ImageId, bytes]


class Shown(NamedTuple):
    """An image behind a score. thumbnail: the id of the element with its picture, or None."""

    file_name: str
    caption: str
    thumbnail: str | None


class Origin(NamedTuple):
    """The images behind a cell or a class, the worst first. target: the id that links lead to."""

    target: str
    heading: str
    remark: str
    images: Sequence[Shown]


# ---- names and sentences


def cell_target(record: Record, cell: Record) -> str:
    """Return the id of the element with the images behind a cell of "origins"."""
    names = list(record["per_class"])
    return f"cell-{names.index(cell['truth'])}-{names.index(cell['prediction'])}"


def class_target(record: Record, name: str) -> str | None:
    """Return the id of the element with the images behind a class; None if there are none."""
    behind = record.get("origins", {}).get("per_class", {}).get(name)
    return f"class-{list(record['per_class']).index(name)}" if behind and behind["images"] else None


def cell_told(cell: Record) -> str:
    """Return a cell of "origins" in words: "cat called dog: 1,200 pixels in 3 images"."""
    called = "right" if cell["truth"] == cell["prediction"] else f"called {friendly(cell['prediction'])}"
    return f"{friendly(cell['truth'])} {called}: {_pixels(cell['pixels'])} in {count_of_images(cell['images'])}"


# ---- the images


def thumbnails(dataset: Dataset, record: Record) -> Thumbnails:
    """Read small copies of the photographs behind the scores, at most MOST_THUMBNAILS: JPEG files by the image's id.

    The network does not run. The worst image of each score comes first, then the second of each, and so on.
    """
    copies = {}
    for image_id in itertools.islice(_most_wanted(record), MOST_THUMBNAILS):
        try:
            picture = Image.fromarray(dataset.read_image(image_id))
        except (ImageError, AnnotationError):  # it was deleted since it was scored; it is listed without a picture
            continue
        picture.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=_QUALITY)
        copies[image_id] = file.getvalue()
    return copies


def _most_wanted(record: Record) -> Iterator[ImageId]:
    """Yield the ids of the images behind the scores, each once."""
    cells = sorted(record["origins"]["confusion"], key=lambda cell: -cell["pixels"])
    ranks = itertools.zip_longest(*(each["worst"] for each in (*record["origins"]["per_class"].values(), *cells)))
    yield from dict.fromkeys(row["image_id"] for rank in ranks for row in rank if row)


def listed_origins(record: Record, pictured: Mapping[ImageId, str]) -> list[Origin]:
    """Return the images behind all classes and cells. pictured: the ids of thumbnails' elements, by the image's id."""
    files = {row["image_id"]: row["file_name"] for row in record["per_image"]}

    def origin(target: str, heading: str, order: str, behind: Record, caption: Callable[[Record], str]) -> Origin:
        rows = behind["worst"]
        cut = "" if behind["images"] == len(rows) else f" These are {len(rows)} of {behind['images']:,}."
        images = [Shown(files[row["image_id"]], caption(row), pictured.get(row["image_id"])) for row in rows]
        heading = heading[:1].upper() + heading[1:]
        return Origin(target, heading, f"{order} first.{cut}", images)

    found = []
    for name, behind in record["origins"]["per_class"].items():
        if target := class_target(record, name):
            heading = f"{friendly(name)}, in {count_of_images(behind['images'])}"
            found.append(origin(target, heading, "The images with the most wrong pixels", behind, _class_caption))
    for cell in record["origins"]["confusion"]:
        of = partial(_cell_caption, friendly(cell["truth"]))
        found.append(origin(cell_target(record, cell), cell_told(cell), cell_order(cell), cell, of))
    return found


def cell_order(cell: Record) -> str:
    """Return how the images of a cell are sorted."""
    if cell["truth"] == cell["prediction"]:
        return f"The images with the smallest share of right {friendly(cell['truth'])} pixels"
    return "The images with the most such pixels"


def _cell_caption(name: str, row: Record) -> str:
    return f"{_pixels(row['pixels'])}, {percent(row['share'])} of the image's {name} pixels"


def _class_caption(row: Record) -> str:
    return f"{_pixels(row['wrong_pixels'])} wrong, IoU {number(row['iou'])}"


def _pixels(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count:,} pixels"
