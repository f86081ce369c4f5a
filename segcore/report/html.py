"""Writes an evaluation as one self-contained HTML file: no scripts, no fonts, no requests."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from PIL import Image

from ..errors import ImageError
from ..evaluation.results import worst_first
from ..truth.dataset import ImageId
from . import parts, terms
from .origins import listed_origins
from .parts import HEADLINE
from .templating import Table, render
from .terms import Record

MOST_IMAGES = 500  # maximum rows of the table of images; more would make the file slow to open
EXTREMES = 5  # number of images listed as the worst, and as the best


class Picture(NamedTuple):
    """An image in a report: the bytes of a PNG or JPEG file, and a caption."""

    image_id: int
    file_name: str
    caption: str
    data: bytes


def html_report(
    record: Record,
    *,
    pictures: Sequence[Picture] = (),
    doubtful: Sequence[Picture] = (),
    thumbnails: Mapping[ImageId, bytes] | None = None,
    comparison: Record | None = None,
) -> str:
    """Return the HTML report of an evaluation's record. It suits light and dark mode, screens, phones and paper.

    pictures: images to show in this order, such as the worst and the best. doubtful: images whose truth may be wrong,
    for a section of their own. thumbnails: the result of `origins.thumbnails`, for the images that a click on a cell of
    the confusion matrix or on a class shows. comparison: the record of a comparison, which is described at the end. All
    names, captions and reasons are escaped.

    Raises ImageError for a picture that is neither PNG nor JPEG.
    """
    ranked = worst_first(record)
    linked = "origins" in record  # records of earlier versions do not name the images behind a score
    symbols = _symbols(thumbnails or {})
    return render(
        "report.html",
        title=f"{parts.model_title(record)} on {record['split']}",
        facts=_facts(record),
        summary=parts.summary(record),
        details=parts.details(record, linked=linked),
        origins=listed_origins(record, {number: each.id for number, each in symbols.items()}) if linked else [],
        thumbnails=symbols.values(),
        boxes={each.id: each.box for each in symbols.values()},
        extremes=_extremes(record, ranked),
        pictures=_shown(pictures),
        doubtful=_shown(doubtful),
        skipped=_skipped(record),
        images=_image_table(record, ranked[:MOST_IMAGES], "Scores of each image"),
        every_image=f"Every image, worst first ({len(ranked):,})",
        remark=_left_out_of_table(len(ranked)),
        compared="" if comparison is None else parts.compared(comparison),
    )


class _Shown(NamedTuple):
    picture: Picture
    source: str


def _shown(pictures: Sequence[Picture]) -> list[_Shown]:
    return [_Shown(each, _source(each)) for each in (Picture(*each) for each in pictures)]


class _Symbol(NamedTuple):
    """A picture that is in the file once. box: its SVG view box."""

    id: str
    box: str
    source: str


def _symbols(thumbnails: Mapping[ImageId, bytes]) -> dict[ImageId, _Symbol]:
    symbols = {}
    for place, (image_id, data) in enumerate(thumbnails.items()):
        width, height = Image.open(io.BytesIO(data)).size
        source = _source(Picture(0, str(image_id), "", data))
        symbols[image_id] = _Symbol(f"picture-{place}", f"0 0 {width} {height}", source)
    return symbols


def _facts(record: Record) -> dict[str, str]:
    images = f"{terms.count_of_images(record['images'])}, scored in {record['seconds']:.0f} s"
    return {"Images": images} | parts.settings_told(record)


def _extremes(record: Record, ranked: Sequence[Record]) -> list[Table]:
    """Return tables of the images with the lowest and the highest scores."""
    defined = [row for row in ranked if row[HEADLINE] is not None]
    shown = min(EXTREMES, len(defined) // 2)
    if not shown:
        return []
    worst, best = defined[:shown], defined[: -shown - 1 : -1]
    return [_image_table(record, worst, "The worst images"), _image_table(record, best, "The best images")]


def _image_table(record: Record, images: Sequence[Record], caption: str) -> Table:
    keys = (HEADLINE, "pixel_accuracy", "boundary_iou")
    header = ["Image", "Id", "IoU of the objects", "Pixel accuracy", "Boundary IoU"]
    rows = [[row["file_name"], str(row["image_id"]), *(terms.number(row[key]) for key in keys)] for row in images]
    if not terms.without_objects(record):
        header.append("Objects found")
        for cells, row in zip(rows, images, strict=True):
            cells.append(f"{row['objects_found']} of {row['objects_total']}" if row.get("objects_total") else "")
    return Table(caption, header, rows)


def _source(picture: Picture) -> str:
    """Return the picture as a data URI."""
    return f"data:{_media_type(picture)};base64,{base64.b64encode(picture.data).decode()}"


def _media_type(picture: Picture) -> str:
    if picture.data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if picture.data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    raise ImageError(f"the picture of {picture.file_name!r} is neither PNG nor JPEG; give the bytes of such a file")


def _skipped(record: Record) -> Table:
    rows = [[each["file_name"], str(each["image_id"]), each["reason"]] for each in record["skipped"]]
    return Table("Left out", ("Image", "Id", "Why it was left out"), rows)


def _left_out_of_table(images: int) -> str:
    if images <= MOST_IMAGES:
        return ""
    return (
        f"The worst {MOST_IMAGES:,} of {images:,} images. All of them are in the JSON and CSV that `evaluate` writes."
    )
