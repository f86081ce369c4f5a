"""A whole evaluation as one HTML file that needs nothing else: no script, no font, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import charts, words
from .catalogue import CATALOGUE
from .classes import ANY_OBJECT, BACKGROUND
from .errors import ImageError
from .protocols import PROTOCOLS
from .words import Record

MOST_IMAGES = 500  # rows of the table of images; more would make the file slow to open
EXTREMES = 5  # images named as the worst, and as the best
MOST_DIFFERENCES = 25  # images of a comparison
_HEADLINE = "foreground_mean_iou"
_STYLE = Path(__file__).with_suffix(".css")


class Picture(NamedTuple):
    """A picture to show in a report, as the bytes of a PNG or JPEG file, with what is to be said of it."""

    image_id: int
    file_name: str
    caption: str
    data: bytes


class _Markup(str):
    """Text that is HTML already; every other text is escaped where it is put into the page."""


def html_report(record: Record, *, pictures: Sequence[Picture] = (), comparison: Record | None = None) -> str:
    """The record of an evaluation as the text of an HTML file, for people: light or dark, on screen, phone and paper.

    pictures: such as the worst and the best images, shown in that order; comparison: the record of a comparison, which
    the end tells of. Names, captions and reasons may hold anything: they are shown as they are written.

    Raises ImageError for a picture that is neither PNG nor JPEG.
    """
    title = f"{_model(record)} on {record['split']}"
    body = [
        _header(record, title),
        _cards(record),
        _section("What stands out", _list(words.findings(record))),
        _section("In charts", _charts(record)),
        _section("Scores", _scores(record)),
        _section("Classes", _classes(record)),
        _section("Images", _extremes(record) + _pictures(pictures) + _skipped(record) + _images(record)),
    ]
    if comparison is not None:
        body.append(_section("Compared with another run", _comparison(comparison)))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


# ---- how it was taken, and the headline


def _model(settings: Record) -> str:
    """What people call a model; its own name where the catalogue does not have it."""
    entry = CATALOGUE.get(settings["model"])
    return entry.title if entry else str(settings["model"])


def _header(record: Record, title: str) -> str:
    images = f"{words.count_of_images(record['images'])}, scored in {record['seconds']:.0f} s"
    facts = {"Images": images} | _settings(record)
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    return f'<header><p class="kind">Evaluation</p><h1>{escape(title)}</h1><dl class="facts">{pairs}</dl></header>'


def _settings(settings: Record) -> dict[str, str]:
    """How scores were taken, by what people call each setting."""
    protocol = PROTOCOLS.get(settings["protocol"])
    mode = str(settings["mode"])
    if settings["class"] is not None:
        threshold = settings["threshold"]
        decided = "the likeliest class decides" if threshold == "auto" else f"from a probability of {threshold}"
        mode += f": {words.friendly(settings['class'])} against all else, {decided}"
    return {
        "Split": str(settings["split"]),
        "Model": _model(settings),
        "Mode": mode,
        "Resize": words.RESIZES.get(settings["resize"], str(settings["resize"])),
        "Device": f"{settings['device']}, {settings['precision']}",
        "Protocol": f"{settings['protocol']}{': ' + protocol.summary if protocol else ''}",
        "Weights": f"SHA-256 {settings['weights_sha256']}",
    }


def _cards(record: Record) -> str:
    """The few numbers to remember."""
    name, meaning = words.score_words(_HEADLINE, words.only_class(record))
    bounds = words.intervals(record, "dataset").get(_HEADLINE)
    objects, reliability = record.get("objects"), record.get("reliability")
    cards = [
        (name, _short(record["dataset"][_HEADLINE]), words.interval(record, bounds) or meaning),
        ("Boundary IoU", _short(record["dataset"]["boundary_iou"]), words.OVERALL["boundary_iou"][1]),
    ]
    if objects:
        share = objects["found"] / objects["total"] if objects["total"] else None
        counts = f"{objects['found']:,} of {objects['total']:,}"
        cards.insert(1, ("Objects found", words.NOT_DEFINED if share is None else words.percent(share), counts))
    if reliability:
        error = _short(reliability["calibration_error"])
        cards.append(("Calibration error", error, "how far its confidence is from how often it is right"))
    told = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{_text(value)}</b><span>{_text(remark)}</span></dd></div>"
        for name, value, remark in cards
    )
    return f'<dl class="cards">{told}</dl>'


def _short(value: float | None) -> str:
    return words.NOT_DEFINED if value is None else f"{value:.2f}"


# ---- charts and scores


def _charts(record: Record) -> str:
    per_class = _figure(
        "How well each class is found",
        charts.per_class_chart(record),
        "IoU is the overlap with the truth: 1 is perfect. The line shows how far it could move with other images "
        "of this kind.",
    )
    sizes = _figure(
        "Which objects are found", charts.object_size_chart(record), "By the size of the object in the photograph."
    )
    reliability = _figure(
        "How far to trust its confidence",
        charts.reliability_chart(record),
        "On the dashed line the model is right as often as it says. Pale points have next to no pixels.",
    )
    confusion = _figure(
        "What is mistaken for what",
        charts.confusion_chart(record),
        "Each row shows what the true pixels of one class are called. A perfect model has 100 on the diagonal.",
    )
    if words.only_class(record) is not None:  # two classes need little room
        return _columns(per_class + confusion, sizes + reliability)
    return _columns(per_class, sizes + reliability) + confusion


def _figure(heading: str, chart: str, remark: str) -> str:
    caption = f"<figcaption><h3>{escape(heading)}</h3><p>{_text(remark)}</p></figcaption>"
    return f'<figure>{caption}<div class="scroll">{chart}</div></figure>'


def _columns(*columns: str) -> str:
    """Side by side where there is room."""
    return f'<div class="columns">{"".join(f"<div>{each}</div>" for each in columns)}</div>'


def _scores(record: Record) -> str:
    """Both ways to summarise the images side by side."""
    only, rows = words.only_class(record), []
    for key in words.OVERALL:
        if key not in record["dataset"]:
            continue
        name, meaning = words.score_words(key, only)
        numbers = []
        for part in ("dataset", "image_mean"):
            bounds = None if key == "classes_counted" else words.intervals(record, part).get(key)  # a count, no score
            numbers += [words.number(record[part][key]), _bounds(bounds)]
        rows.append([_Markup(f"{escape(name)}<small>{escape(meaning)}</small>"), *numbers])
    header = ("Score and what it says", "Whole set", "Interval", "Image mean", "Interval")
    remark = (
        "Whole set: the pixels of all images counted together, then divided. Image mean: each image scored by itself, "
        f"then averaged. {words.NOT_DEFINED}: there was nothing to divide by."
    )
    return _table(header, rows, caption="Scores of the whole set") + _remark(remark)


def _bounds(bounds: Sequence[float] | None) -> str:
    return f"{bounds[0]:.4f}\u00a0to\u00a0{bounds[1]:.4f}" if bounds else ""


def _classes(record: Record) -> str:
    matrix = np.array(record["confusion"])
    intervals, objects = words.intervals(record, "per_class"), _objects_found(record)
    rows = []
    for row, (name, scores) in enumerate(record["per_class"].items()):
        rows.append(
            [
                _swatched(name, row),
                words.number(scores["iou"]),
                _bounds(intervals.get(name, {}).get("iou")),
                *(words.number(scores[key]) for key in words.PER_CLASS if key != "iou"),
                objects.get(name, ""),
                f"{matrix[row].sum():,}",
                f"{matrix[:, row].sum():,}",
            ]
        )
    others = [name for key, name in words.PER_CLASS.items() if key != "iou"]
    header = ("Class", "IoU", "Interval", *others, "Objects found", "True pixels", "Predicted pixels")
    return _table(header, rows, caption="Scores of each class")


def _objects_found(record: Record) -> dict[str, str]:
    """By the name of a class; all objects belong to "any"."""
    objects = record.get("objects")
    if not objects:
        return {}
    counts = objects["per_class"] | {ANY_OBJECT: objects}
    return {name: f"{each['found']:,} of {each['total']:,}" for name, each in counts.items()}


def _swatched(name: str, row: int) -> _Markup:
    color = "currentColor" if row == BACKGROUND else charts.class_color(name)
    return _Markup(f'<span class="swatch" style="background:{color}"></span>{escape(words.friendly(name))}')


# ---- images


def _extremes(record: Record) -> str:
    """The images with the lowest and with the highest score."""
    ranked = _worst_first(record)
    defined = [row for row in ranked if row[_HEADLINE] is not None]
    shown = min(EXTREMES, len(defined) // 2)
    if not shown:
        return ""
    return _image_table(defined[:shown], "The worst images") + _image_table(
        defined[: -shown - 1 : -1], "The best images"
    )


def _worst_first(record: Record) -> list[Record]:
    """The rows of the images by their IoU of the objects, those without one last."""
    return sorted(record["per_image"], key=lambda row: (row[_HEADLINE] is None, row[_HEADLINE] or 0))


def _image_table(images: Iterable[Record], caption: str) -> str:
    keys = (_HEADLINE, "pixel_accuracy", "boundary_iou")
    rows = [
        [
            row["file_name"],
            str(row["image_id"]),
            *(words.number(row[key]) for key in keys),
            f"{row['objects_found']} of {row['objects_total']}" if row.get("objects_total") else "",
        ]
        for row in images
    ]
    header = ("Image", "Id", "IoU of the objects", "Pixel accuracy", "Boundary IoU", "Objects found")
    return _table(header, rows, caption=caption)


def _pictures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    return f'<div class="pictures">{"".join(_picture(Picture(*each)) for each in pictures)}</div>'


def _picture(picture: Picture) -> str:
    source = f"data:{_media_type(picture)};base64,{base64.b64encode(picture.data).decode()}"
    alternative = f"{picture.file_name}: {picture.caption}"
    return (
        f'<figure><img src="{source}" alt="{escape(alternative)}">'
        f"<figcaption><b>{escape(picture.file_name)}</b><p>{_text(picture.caption)}</p></figcaption></figure>"
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
    return _table(("Image", "Id", "Why it was left out"), rows, caption="Left out")


def _images(record: Record) -> str:
    ranked = _worst_first(record)
    if not ranked:
        return _remark("No image was scored.")
    remark = ""
    if len(ranked) > MOST_IMAGES:
        remark = _remark(
            f"The worst {MOST_IMAGES:,} of {len(ranked):,} images. All of them are in the JSON and CSV that `evaluate` "
            "writes."
        )
    summary = f"Every image, worst first ({len(ranked):,})"
    table = _image_table(ranked[:MOST_IMAGES], "Scores of each image")
    return f"<details><summary>{escape(summary)}</summary>{remark}{table}</details>"


# ---- a comparison


def _comparison(comparison: Record) -> str:
    first, second = (_settings(comparison[side]) for side in ("first", "second"))
    settings = [[name, first[name], second[name]] for name in first if first[name] != second[name]]
    only = words.only_class(comparison["first"])
    scores = [
        [words.score_words(key, only)[0], *_difference(comparison["dataset"][key])]
        for key in words.OVERALL
        if key in comparison["dataset"] and key != "classes_counted"
    ]
    images = [
        [each["file_name"], *(words.number(each[key]) for key in ("first", "second")), _signed(each["difference"])]
        for each in comparison["per_image"][:MOST_DIFFERENCES]
    ]
    sides = ("First", "Second")
    chart = _figure(
        "Where they differ",
        charts.difference_chart(comparison),
        "In colour where the whole interval is on one side of zero: the difference is more than chance.",
    )
    parts = [
        _list(words.comparison_findings(comparison)),
        _table(("Setting", *sides), settings, caption="What is different about the two") if settings else "",
        _columns(chart, _table(("Image", *sides, "Difference"), images, caption="The images that differ most")),
        _table(("Score", *sides, "Difference", "Interval"), scores, caption="Both runs, on the same images"),
    ]
    return "".join(parts)


def _difference(score: Record) -> list[str]:
    known = score["low"] is not None and score["high"] is not None
    bounds = f"{words.signed(score['low'])}\u00a0to\u00a0{words.signed(score['high'])}" if known else ""
    return [words.number(score["first"]), words.number(score["second"]), _signed(score["difference"]), bounds]


def _signed(difference: float | None) -> str:
    return words.NOT_DEFINED if difference is None else words.signed(difference)


# ---- parts of the page


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{content}</section>\n"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(sentence)}</li>' for sentence in sentences)}</ul>"


def _remark(text: str) -> str:
    return f'<p class="remark">{_text(text)}</p>'


def _text(text: str) -> str:
    """Text as HTML, numbers kept on one line with their sign."""
    return escape(text).replace(" %", "&nbsp;%").replace(" × ", "&nbsp;×&nbsp;")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str) -> str:
    """A table that scrolls by itself where it is too wide; the first cell of each row names it."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    return cell if isinstance(cell, _Markup) else _text(cell)
