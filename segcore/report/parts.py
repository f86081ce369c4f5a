"""The parts of an evaluation's report as HTML, for both the report file and the web page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..classes import ANY_OBJECT
from ..evaluation.protocols import PROTOCOLS
from ..inference import provenance
from ..models.catalogue import CATALOGUE
from . import charts, differences, terms, words
from .origins import class_target
from .templating import Explained, Figure, Swatch, Table, render
from .terms import Record
from .threshold_chart import best_told, threshold_chart

STYLE = (Path(__file__).parent / "templates" / "parts.css").read_text(
    encoding="utf-8"
)  # for what is inside an element "report"
HEADLINE = "foreground_mean_iou"
SCORES_ID = "scores"  # of the element with the tables
MOST_DIFFERENCES = 25  # maximum number of images listed in a comparison
SCORES_REMARK = (
    "Whole set: the pixels of all images counted together, then divided. Image mean: each image scored by itself, "
    f"then averaged. {terms.NOT_DEFINED}: there was nothing to divide by."
)


def summary(record: Record) -> str:
    """Return the main scores and the findings."""
    return render("summary.html", cards=_cards(record), findings=words.findings(record))


def details(record: Record, *, linked: bool = False) -> str:
    """Return the charts and the tables of all scores.

    linked: cells of the confusion matrix and classes lead to the images behind them, which the page has to contain.
    """
    return render(
        "details.html",
        figures=_figures(record, linked),
        scores_id=SCORES_ID if linked else None,
        scores=_scores(record),
        scores_remark=SCORES_REMARK,
        classes=_classes(record, linked),
        parts=_parts(record),
        parts_remark=terms.PARTS_REMARK,
    )


def compared(comparison: Record) -> str:
    """Return the comparison of two runs on the same images: their settings and the differences of their scores."""
    first, second = (settings_told(comparison[side]) for side in ("first", "second"))
    settings = [[name, first[name], second[name]] for name in first if first[name] != second[name]]
    only = terms.only_class(comparison["first"])
    scores = [
        [terms.score_words(key, only)[0], *_difference(comparison["dataset"][key])]
        for key in terms.OVERALL
        if key in comparison["dataset"] and key != "classes_counted"
    ]
    images = [
        [each["file_name"], *(terms.number(each[key]) for key in ("first", "second")), _signed(each["difference"])]
        for each in comparison["per_image"][:MOST_DIFFERENCES]
    ]
    sides = ("First", "Second")
    return render(
        "compared.html",
        findings=differences.comparison_findings(comparison),
        settings=Table("What is different about the two", ("Setting", *sides), settings),
        chart=Figure(
            "Where they differ",
            charts.difference_chart(comparison),
            "In colour where the whole interval is on one side of zero: the difference is more than chance.",
        ),
        images=Table("The images that differ most", ("Image", *sides, "Difference"), images),
        scores=Table("Both runs, on the same images", ("Score", *sides, "Difference", "Interval"), scores),
    )


def model_title(settings: Record) -> str:
    """Return a model's title; its name if it is not in the catalogue."""
    entry = CATALOGUE.get(settings["model"])
    return entry.title if entry else str(settings["model"])


def settings_told(settings: Record) -> dict[str, str]:
    """Return the settings of an evaluation by their names for people."""
    protocol = PROTOCOLS.get(settings["protocol"])
    mode = str(settings["mode"])
    if settings["class"] is not None:
        threshold = settings["threshold"]
        decided = "the likeliest class decides" if threshold == "auto" else f"from a probability of {threshold}"
        mode += f": {terms.friendly(settings['class'])} against all else, {decided}"
    of_maps = " of the label maps" if settings["engine"] == provenance.LABEL_MAPS else ""
    return {
        "Split": str(settings["split"]),
        "Model": model_title(settings),
        "Mode": mode,
        "Resize": terms.RESIZES.get(settings["resize"], str(settings["resize"])),
        "Device": provenance.arithmetic(settings),
        "Protocol": f"{settings['protocol']}{': ' + protocol.summary if protocol else ''}",
        "Weights": f"SHA-256 {settings['weights_sha256']}{of_maps}",
    }


class Card(NamedTuple):
    """One main score."""

    name: str
    value: str
    remark: str


def _cards(record: Record) -> list[Card]:
    """Return the main scores."""
    name, meaning = terms.score_words(HEADLINE, terms.only_class(record))
    score, bounds = record["dataset"][HEADLINE], terms.intervals(record, "dataset").get(HEADLINE)
    word = "" if score is None else f"{terms.iou_word(score)}; "
    objects, reliability = record.get("objects"), record.get("reliability")
    cards = [
        Card(name, _short(score), word + (terms.interval(record, bounds) or meaning)),
        Card("Boundary IoU", _short(record["dataset"]["boundary_iou"]), terms.OVERALL["boundary_iou"][1]),
    ]
    if objects:
        share = objects["found"] / objects["total"] if objects["total"] else None
        counts = f"{objects['found']:,} of {objects['total']:,}"
        cards.insert(1, Card("Objects found", terms.NOT_DEFINED if share is None else terms.percent(share), counts))
    if reliability and not terms.without_probabilities(record):
        error = _short(reliability["calibration_error"])
        before = reliability.get("calibration_error_before")
        remark = "not calibrated" if before is None else f"{_short(before)} before calibration"
        cards.append(
            Card("Calibration error", error, f"how far its confidence is from how often it is right; {remark}")
        )
    return cards


def _short(value: float | None) -> str:
    return terms.NOT_DEFINED if value is None else f"{value:.2f}"


def _figures(record: Record, linked: bool) -> list[list[list[Figure]]]:
    """Return the charts as rows of columns. A column can hold several charts."""
    per_class = Figure(
        "How well each class is found",
        charts.per_class_chart(record),
        "IoU is the overlap with the truth: 1 is perfect. The line shows how far it could move with other images "
        "of this kind.",
    )
    reliability = Figure(
        "How far to trust its confidence",
        charts.reliability_chart(record),
        "On the dashed line the model is right as often as it says. Pale points have next to no pixels.",
    )
    confusion = Figure(
        "What is mistaken for what",
        charts.confusion_chart(record, linked=linked),
        "Each row shows what the true pixels of one class are called. A perfect model has 100 on the diagonal."
        + (" A click on a cell shows its images." if linked else ""),
        SCORES_ID if linked else None,
    )
    other = [] if terms.without_probabilities(record) else [reliability]
    if not terms.without_objects(record):
        sizes = charts.object_size_chart(record)
        other.insert(0, Figure("Which objects are found", sizes, "By the size of the object in the photograph."))
    if terms.only_class(record) is not None:  # the chart of two classes is small
        if record.get("threshold_curve"):
            curve = threshold_chart(record)
            other.append(Figure("Which threshold is best", curve, best_told(record)))
        return [[column for column in ([per_class, confusion], other) if column]]
    return [[column for column in ([per_class], other) if column], [[confusion]]]


def _scores(record: Record) -> Table:
    """Return the table with dataset scores and image means side by side."""
    only, rows = terms.only_class(record), []
    for key in terms.OVERALL:
        if key not in record["dataset"]:
            continue
        name, meaning = terms.score_words(key, only)
        numbers = []
        for part in ("dataset", "image_mean"):
            bounds = (
                None if key == "classes_counted" else terms.intervals(record, part).get(key)
            )  # it is a count and has no interval
            numbers += [terms.number(record[part][key]), _bounds(bounds)]
        rows.append([Explained(name, meaning), *numbers])
    header = ("Score and what it says", "Whole set", "Interval", "Image mean", "Interval")
    return Table("Scores of the whole set", header, rows)


def _bounds(bounds: Sequence[float] | None) -> str:
    return f"{bounds[0]:.4f}\u00a0to\u00a0{bounds[1]:.4f}" if bounds else ""


def _class_bounds(score: float | None, intervals: Record | None) -> str:
    """Return the interval of a class's IoU. A class with a score but without an interval is in one image only."""
    if score is None or not intervals:
        return ""
    return _bounds(intervals["iou"]) or "one image only"


def _classes(record: Record, linked: bool) -> Table:
    matrix = np.array(record["confusion"])
    intervals = terms.intervals(record, "per_class")
    counted = [] if terms.without_objects(record) else [_objects_found(record)]
    rows = []
    for row, (name, scores) in enumerate(record["per_class"].items()):
        rows.append(
            [
                _swatched(record, name, class_target(record, name) if linked else None),
                terms.number(scores["iou"]),
                _class_bounds(scores["iou"], intervals.get(name)),
                *(terms.number(scores[key]) for key in terms.PER_CLASS if key != "iou"),
                *(objects.get(name, "") for objects in counted),
                f"{matrix[row].sum():,}",
                f"{matrix[:, row].sum():,}",
            ]
        )
    others = [name for key, name in terms.PER_CLASS.items() if key != "iou"]
    header = ("Class", "IoU", "Interval", *others, *["Objects found"] * len(counted), "True pixels", "Predicted pixels")
    return Table("Scores of each class", header, rows)


def _parts(record: Record) -> Table:
    """Return the table of scores of parts of the data set; records of earlier versions have none."""
    kinds = dict(record.get("slices", {}))
    tags = kinds.pop("tags", {})
    titled = [(terms.PARTS[kind], parts) for kind, parts in kinds.items()] + list(tags.items())
    rows = []
    for title, parts in titled:
        for part in parts or ():
            scores = [text for key in ("foreground_mean_iou", "mean_iou") for text in _with_bounds(part, key)]
            rows.append([Explained(part["name"], title), f"{part['images']:,}", *scores])
    name = terms.score_words(HEADLINE, terms.only_class(record))[0]
    return Table("Scores of parts of the set", ("Part", "Images", name, "Interval", "Mean IoU", "Interval"), rows)


def _with_bounds(part: Record, key: str) -> tuple[str, str]:
    return terms.number(part[key]), _bounds(part["intervals"][key])


def _objects_found(record: Record) -> dict[str, str]:
    """Return "found of total" by class name; "any" counts all objects."""
    objects = record.get("objects")
    if not objects:
        return {}
    counts = objects["per_class"] | {ANY_OBJECT: objects}
    return {name: f"{each['found']:,} of {each['total']:,}" for name, each in counts.items()}


def _swatched(record: Record, name: str, target: str | None) -> Swatch:
    return Swatch(terms.friendly(name), charts.class_color(record, name) or "currentColor", target)


def _difference(score: Record) -> list[str]:
    known = score["low"] is not None and score["high"] is not None
    bounds = f"{terms.signed(score['low'])}\u00a0to\u00a0{terms.signed(score['high'])}" if known else ""
    return [terms.number(score["first"]), terms.number(score["second"]), _signed(score["difference"]), bounds]


def _signed(difference: float | None) -> str:
    return terms.NOT_DEFINED if difference is None else terms.signed(difference)
