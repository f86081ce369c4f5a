"""A whole evaluation as one HTML file that needs nothing else: no script, no font, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from ..errors import ImageError
from ..evaluation.results import worst_first
from . import parts, terms
from .markup import note, section, table, text
from .parts import HEADLINE
from .terms import Record

MOST_IMAGES = 500  # rows of the table of images; more would make the file slow to open
EXTREMES = 5  # images named as the worst, and as the best
_FRAME = Path(__file__).with_suffix(".css")


class Picture(NamedTuple):
    """A picture to show in a report, as the bytes of a PNG or JPEG file, with what is to be said of it."""

    image_id: int
    file_name: str
    caption: str
    data: bytes


def html_report(record: Record, *, pictures: Sequence[Picture] = (), comparison: Record | None = None) -> str:
    """The record of an evaluation as the text of an HTML file, for people: light or dark, on screen, phone and paper.

    pictures: such as the worst and the best images, shown in that order; comparison: the record of a comparison, which
    the end tells of. Names, captions and reasons may hold anything: they are shown as they are written.

    Raises ImageError for a picture that is neither PNG nor JPEG.
    """
    title = f"{parts.model_title(record)} on {record['split']}"
    body = [
        _header(record, title),
        parts.summary(record),
        section("In detail", parts.details(record)),
        section("Images", _extremes(record) + _pictures(pictures) + _skipped(record) + _images(record)),
    ]
    if comparison is not None:
        body.append(section("Compared with another run", parts.compared(comparison)))
    style = _FRAME.read_text(encoding="utf-8") + parts.STYLE
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f'<body>\n<main class="report">\n{"".join(body)}</main>\n</body>\n</html>\n'
    )


def _header(record: Record, title: str) -> str:
    images = f"{terms.count_of_images(record['images'])}, scored in {record['seconds']:.0f} s"
    facts = {"Images": images} | parts.settings_told(record)
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    return f'<header><p class="kind">Evaluation</p><h1>{escape(title)}</h1><dl class="facts">{pairs}</dl></header>'


def _extremes(record: Record) -> str:
    """The images with the lowest and with the highest score."""
    ranked = worst_first(record)
    defined = [row for row in ranked if row[HEADLINE] is not None]
    shown = min(EXTREMES, len(defined) // 2)
    if not shown:
        return ""
    return _image_table(record, defined[:shown], "The worst images") + _image_table(
        record, defined[: -shown - 1 : -1], "The best images"
    )


def _image_table(record: Record, images: Sequence[Record], caption: str) -> str:
    keys = (HEADLINE, "pixel_accuracy", "boundary_iou")
    header = ["Image", "Id", "IoU of the objects", "Pixel accuracy", "Boundary IoU"]
    rows = [[row["file_name"], str(row["image_id"]), *(terms.number(row[key]) for key in keys)] for row in images]
    if not terms.without_objects(record):
        header.append("Objects found")
        for cells, row in zip(rows, images, strict=True):
            cells.append(f"{row['objects_found']} of {row['objects_total']}" if row.get("objects_total") else "")
    return table(header, rows, caption=caption)


def _pictures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    return f'<div class="pictures">{"".join(_picture(Picture(*each)) for each in pictures)}</div>'


def _picture(picture: Picture) -> str:
    source = f"data:{_media_type(picture)};base64,{base64.b64encode(picture.data).decode()}"
    alternative = f"{picture.file_name}: {picture.caption}"
    return (
        f'<figure><img src="{source}" alt="{escape(alternative)}">'
        f"<figcaption><b>{escape(picture.file_name)}</b><p>{text(picture.caption)}</p></figcaption></figure>"
    )


def _media_type(picture: Picture) -> str:
    if picture.data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if picture.data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    raise ImageError(f"the picture of {picture.file_name!r} is neither PNG nor JPEG; give the bytes of such a file")


def _skipped(record: Record) -> str:
    if not record["skipped"]:
        return ""
    rows = [[each["file_name"], str(each["image_id"]), each["reason"]] for each in record["skipped"]]
    return table(("Image", "Id", "Why it was left out"), rows, caption="Left out")


def _images(record: Record) -> str:
    ranked = worst_first(record)
    if not ranked:
        return note("No image was scored.")
    remark = ""
    if len(ranked) > MOST_IMAGES:
        remark = note(
            f"The worst {MOST_IMAGES:,} of {len(ranked):,} images. All of them are in the JSON and CSV that `evaluate` "
            "writes."
        )
    summary = f"Every image, worst first ({len(ranked):,})"
    table = _image_table(record, ranked[:MOST_IMAGES], "Scores of each image")
    return f"<details><summary>{escape(summary)}</summary>{remark}{table}</details>"
