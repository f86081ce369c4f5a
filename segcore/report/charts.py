"""Charts of an evaluation's record as SVG to embed in a page. They use the page's text colour, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..categories import screen_palette
from ..classes import ANY_OBJECT, BACKGROUND
from .differences import clear
from .origins import cell_target, cell_told
from .sheets import ACCENT, FAINT, INK, QUIET, SMALL, Link, Sheet, dot, grid, key, sheet_of, standing_out
from .terms import SIZES, Record, friendly, intervals, listed, only_class, percent, signed
from .words import confidence_sentence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRONG = "#d55e00"  # Okabe and Ito's vermilion; colour-blind people can tell it from the accent

_WIDTH = 380  # pixels: the width of a phone; wider charts scroll
_ROW = 25
_NAMES = 96  # pixels for a class's name
_LETTERS = 16  # of a class's name that have room there
_NUMBER = 40
_CHANCE_BELOW = 0.001  # bins of confidence with a smaller share of the pixels are left out


# ---- the charts


def per_class_chart(record: Record) -> str:
    """Draw the IoU of each class with its interval, best first. Returns SVG text. It lists classes without a score."""
    scores = {name: each["iou"] for name, each in record["per_class"].items()}
    names = sorted((name for name in scores if scores[name] is not None), key=lambda name: -scores[name])
    undefined = [friendly(name) for name in scores if scores[name] is None]
    title = "IoU of each class"
    if not names:
        return _nothing(title, "No class has a score.")
    bounds = {name: intervals(record, "per_class").get(name, {}).get("iou") for name in names}
    told = [f"{friendly(name)} {scores[name]:.2f}{_known(bounds[name])}" for name in names]
    description = f"Best first: {', '.join(told)}."
    if undefined:
        description += f" In neither truth nor prediction: {listed(undefined)}."

    top, height = 24, _ROW * len(names)
    with sheet_of(_WIDTH, top + height + 26) as sheet:
        axes = sheet.axes(_NAMES + 8, top, _WIDTH - _NAMES - _NUMBER - 20, height, (0, 1), (len(names) - 0.5, -0.5))
        grid(axes, {"0": 0, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "1": 1}, "above")
        for row, name in enumerate(names):
            middle = top + (row + 0.5) * _ROW
            sheet.text(_NAMES, middle, _short(friendly(name)), ha="right")
            _bar(axes, row, scores[name], bounds[name], class_color(record, name))
            sheet.text(_WIDTH - 4, middle, f"{scores[name]:.2f}", ha="right", weight="bold")
        if any(bounds.values()):
            remark = f"the line: {percent(record['intervals']['level'])} interval"
            sheet.text(_WIDTH - 4, top + height + 15, remark, ha="right", size=SMALL, alpha=QUIET)
        return sheet.svg(title, description)


def _known(bounds: Sequence[float] | None) -> str:
    return f" ({bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else ""


def _bar(axes: Axes, row: int, value: float, bounds: Sequence[float] | None, color: str | None) -> None:
    """Draw a bar and its interval. The part of the interval on the bar has a contrasting shade."""
    axes.barh(row, value, 0.62, color=color or INK, alpha=1 if color else 0.45)
    axes.barh(row, value, 0.62, color="none", edgecolor=INK, alpha=0.3, linewidth=0.8)
    low, high = bounds or (value, value)
    for start, end, tip, ink in (
        (low, min(value, high), low, standing_out(color)),
        (max(value, low), high, high, INK),
    ):
        if start < end:
            axes.hlines(row, start, end, color=ink, linewidth=1.5)
            axes.vlines(tip, row - 0.16, row + 0.16, color=ink, linewidth=1.5)


def confusion_chart(record: Record, *, linked: bool = False) -> str:
    """Draw the confusion matrix as shares of the true pixels (rows) by prediction (columns). Returns SVG text.

    It has the classes in truth or prediction. Right and wrong predictions have different colours. linked: each cell
    with pixels is a link to the images behind it, which the page then has to contain (`origins.targets`).
    """
    matrix, names = np.array(record["confusion"], np.int64), list(record["per_class"])
    present = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    title = "What the true pixels of each class are called"
    if not present.size:
        return _nothing(title, "No pixel was compared.")
    matrix, names = matrix[np.ix_(present, present)], [friendly(names[number]) for number in present]
    true = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, true, out=np.full(matrix.shape, np.nan), where=true > 0)

    count = len(names)
    upright = count == 2  # there is room for their names side by side
    cell = 112 if upright else min(72, max(32, 560 // count))
    left, top = _NAMES + 8, 40 if upright else 108
    width = max(_WIDTH, left + count * cell + (0 if upright else 64))
    with sheet_of(width, top + count * cell + 44) as sheet:
        axes = sheet.axes(left, top, count * cell, count * cell, (-0.5, count - 0.5), (count - 0.5, -0.5))
        for row, name in enumerate(names):
            middle = (row + 0.5) * cell
            sheet.text(left - 8, top + middle, _short(name), ha="right")
            if upright:
                sheet.text(left + middle, top - 14, _short(name), ha="center")
            else:
                sheet.text(left + middle + 2, top - 6, _short(name), rotation=45, rotation_mode="anchor", va="baseline")
            if true[row]:
                _cells(axes, row, shares[row], unit=" %" if cell >= 48 else "")
            else:
                sheet.text(left + 6, top + middle, "no true pixels", size=SMALL, alpha=QUIET)
        _cell_lines(axes, count)
        sheet.text(left - 8, top - 14, "true ↓  called →", ha="right", size=SMALL, alpha=QUIET)
        key(sheet, left, top + count * cell + 24, [(ACCENT, "right"), (WRONG, "wrong")])
        sheet.text(left + 132, top + count * cell + 24, "% of the row's pixels", size=SMALL, alpha=QUIET)
        links = _links(record, present.tolist(), left, top, cell) if linked else ()
        return sheet.svg(title, _confusion_told(shares, names), links)


def _links(record: Record, present: list[int], left: float, top: float, cell: float) -> list[Link]:
    """Return the links of the cells. present: the classes of the chart's rows and columns."""
    names = list(record["per_class"])
    links = []
    for each in record["origins"]["confusion"]:
        row, column = (present.index(names.index(each[side])) for side in ("truth", "prediction"))
        place = left + column * cell, top + row * cell, cell, cell
        links.append(Link(cell_target(record, each), cell_told(each), *place))
    return links


def _cells(axes: Axes, row: int, shares: np.ndarray, *, unit: str) -> None:
    for column in np.flatnonzero(shares):
        share, right = shares[column], row == column
        depth = 0.9 * share**0.6  # in proportion, small shares would not be seen
        axes.bar(column, 1, 1, row - 0.5, color=ACCENT if right else WRONG, alpha=depth, linewidth=0)
        if share >= 0.01:
            ink, weight = "#ffffff" if right and depth > 0.72 else INK, "bold" if right else "normal"
            middle: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
            axes.text(float(column), row, f"{100 * share:.0f}{unit}", color=ink, weight=weight, size=SMALL, **middle)


def _cell_lines(axes: Axes, count: int) -> None:
    axes.hlines(np.arange(count + 1) - 0.5, -0.5, count - 0.5, color=INK, alpha=FAINT, linewidth=0.8)
    axes.vlines(np.arange(count + 1) - 0.5, -0.5, count - 0.5, color=INK, alpha=FAINT, linewidth=0.8)


def _confusion_told(shares: np.ndarray, names: Sequence[str]) -> str:
    """Return the cells to label: the diagonal, and the largest other share of each row."""
    told = []
    for row, name in enumerate(names):
        if np.isnan(shares[row, row]):
            told.append(f"{name} is called, but nowhere true")
            continue
        others = np.where(np.arange(len(names)) == row, -1, shares[row])
        worst = int(others.argmax())
        most = f", {percent(others[worst])} called {names[worst]}" if others[worst] >= 0.01 else ""
        told.append(f"{name} {percent(shares[row, row])} right{most}")
    return f"Of the true pixels: {'; '.join(told)}."


def object_size_chart(record: Record) -> str:
    """Draw the shares of small, medium and large objects that were found, with their counts. Returns SVG text."""
    objects = record.get("objects")
    title = "Objects found, by size"
    if not objects or not objects["total"]:
        return _nothing(title, "There are no objects to find.")
    rows = [(name, objects["by_size"][name], limits) for name, limits in SIZES.items()]
    told = [
        f"{name} ({limits}) {size['found']:,} of {size['total']:,} found" if size["total"] else f"no {name} ones"
        for name, size, limits in rows
    ]
    row_height = 58
    with sheet_of(_WIDTH, row_height * len(rows)) as sheet:
        for row, (name, size, limits) in enumerate(rows):
            top = row * row_height
            sheet.text(0, top + 12, name, weight="bold")
            sheet.text(66, top + 12, limits, size=SMALL, alpha=QUIET)
            axes = sheet.axes(0, top + 26, _WIDTH, 14, (0, 1), (-0.5, 0.5))
            axes.barh(0, 1, 1, color=INK, alpha=0.1)
            if not size["total"]:
                sheet.text(_WIDTH, top + 12, "none here", ha="right", size=SMALL, alpha=QUIET)
                continue
            share = size["found"] / size["total"]
            axes.barh(0, share, 1, color=ACCENT)
            sheet.text(_WIDTH - 52, top + 12, f"{size['found']:,} of {size['total']:,}", ha="right")
            sheet.text(_WIDTH, top + 12, percent(share), ha="right", weight="bold")
        return sheet.svg(title, f"{'; '.join(told)}.")


def reliability_chart(record: Record) -> str:
    """Draw the reliability diagram: accuracy against confidence. Returns SVG text.

    The area of a point grows with its share of the pixels; points with very few pixels are pale. The shares are below.
    """
    reliability = record.get("reliability")
    title = "How sure the model is, and how often it is right"
    bins = [each for each in reliability["bins"] if each["pixels"]] if reliability else []
    if not bins:
        return _nothing(title, "The model's confidence was not compared with the truth.")
    says, right = (np.array([each[key] for each in bins]) for key in ("confidence", "accuracy"))
    shares = np.array([each["pixels"] for each in bins], float)
    shares /= shares.sum()
    told = [f"says {percent(each['confidence'])}, right {percent(each['accuracy'])}" for each in bins]
    description = f"{confidence_sentence(record)} Bin by bin: {'; '.join(told)}."

    left, top, side = 44, 26, _WIDTH - 44 - 24
    with sheet_of(_WIDTH, top + side + 134) as sheet:
        axes = sheet.axes(left, top, side, side, (0, 1), (0, 1))
        ticks = {"0": 0, "25 %": 0.25, "50 %": 0.5, "75 %": 0.75, "100 %": 1}
        grid(axes, ticks, "below")
        grid(axes, ticks, "left")
        _points(axes, says, right, shares)
        sheet.text(0, 10, "how often it is right", size=SMALL, alpha=QUIET)
        sheet.text(left + side, top + side + 34, "how sure the model says it is", ha="right", size=SMALL, alpha=QUIET)
        sheet.text(left + 12, top + 20, "too modest", size=SMALL, alpha=QUIET)
        sheet.text(left + side - 12, top + side - 18, "too sure of itself", ha="right", size=SMALL, alpha=QUIET)
        _histogram(sheet, bins, shares, left, top + side + 52, side)
        return sheet.svg(title, description.strip())


def _points(axes: Axes, says: np.ndarray, right: np.ndarray, shares: np.ndarray) -> None:
    """Draw the diagonal, the area between it and the model's curve, and the model's points."""
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.5, linewidth=1.2, linestyle=(0, (4, 3)))
    many = shares >= _CHANCE_BELOW
    gap = np.append(says[many], says[many][::-1]), np.append(right[many], says[many][::-1])
    axes.fill(*gap, color=ACCENT, alpha=0.14, linewidth=0)
    axes.plot(says[many], right[many], color=ACCENT, linewidth=2)
    for x, y, share in zip(says, right, shares, strict=True):
        dot(axes, x, y, 24 + 420 * share, color=ACCENT, alpha=1 if share >= _CHANCE_BELOW else 0.35)


def _histogram(sheet: Sheet, bins: Sequence[Record], shares: np.ndarray, left: int, top: int, width: int) -> None:
    axes = sheet.axes(left, top, width, 56, (0, 1), (0, max(shares)))
    for each, share in zip(bins, shares, strict=True):
        axes.bar(each["low"], share, each["high"] - each["low"], align="edge", color=ACCENT, alpha=0.55)
    axes.hlines(0, 0, 1, color=INK, alpha=0.4, linewidth=0.8)
    sheet.text(left, top + 70, "share of the pixels", size=SMALL, alpha=QUIET)
    most = int(np.argmax(shares))
    edge, side, gap = (bins[most]["low"], "right", -6) if bins[most]["low"] >= 0.5 else (bins[most]["high"], "left", 6)
    sheet.text(left + width * edge + gap, top + 8, percent(shares[most]), ha=side, size=SMALL)


def difference_chart(comparison: Record) -> str:
    """Draw the differences of IoU (second - first run) of the objects' mean and each class. Returns SVG text."""
    only = only_class(comparison["first"])
    overall = [] if only else [("all objects", comparison["dataset"]["foreground_mean_iou"])]
    classes = [(friendly(name), scores["iou"]) for name, scores in comparison["per_class"].items()]
    known = [each for each in classes if each[1]["difference"] is not None]
    known.sort(key=lambda each: -each[1]["difference"])
    rows = [each for each in overall if each[1]["difference"] is not None] + known
    title = "Difference in IoU, second less first"
    if not rows:
        return _nothing(title, "No class has a score in both.")
    told = [f"{name} {signed(each['difference'])}{_known_difference(each)}" for name, each in rows]
    ends = [end for _, each in rows for end in (each["difference"], each["low"], each["high"]) if end is not None]
    reach = next((step for step in (0.02, 0.05, 0.1, 0.2, 0.5) if max(map(abs, ends)) <= step), 1)

    top, height = 46, _ROW * len(rows)
    left, width = _NAMES + 8, _WIDTH - _NAMES - 80
    with sheet_of(_WIDTH, top + height + 26) as sheet:
        axes = sheet.axes(left, top, width, height, (-reach, reach), (len(rows) - 0.5, -0.5))
        grid(axes, {f"−{reach:g}": -reach, "0": 0, f"+{reach:g}": reach}, "above")
        axes.axvline(0, color=INK, alpha=0.6, linewidth=1)
        if len(rows) > len(known):
            axes.axhline(0.5, color=INK, alpha=FAINT, linewidth=0.8)
        for row, (name, each) in enumerate(rows):
            weight = "bold" if row < len(rows) - len(known) else "normal"
            _difference(axes, row, each)
            sheet.text(_NAMES, top + (row + 0.5) * _ROW, _short(name), ha="right", weight=weight)
            sheet.text(_WIDTH - 4, top + (row + 0.5) * _ROW, signed(each["difference"]), ha="right", weight=weight)
        sheet.text(left + width / 2 - 12, 10, "← first is better", ha="right", size=SMALL, alpha=QUIET)
        sheet.text(left + width / 2 + 12, 10, "second is better →", size=SMALL, alpha=QUIET)
        return sheet.svg(title, f"{', '.join(told)}.")


def _known_difference(score: Record) -> str:
    known = score["low"] is not None and score["high"] is not None
    return f" ({signed(score['low'])} to {signed(score['high'])})" if known else ""


def _difference(axes: Axes, row: int, score: Record) -> None:
    """Draw a dot and its interval, in colour if the interval excludes zero."""
    color, alpha = (ACCENT if score["difference"] > 0 else WRONG, 1) if clear(score) else (INK, 0.4)
    if score["low"] is not None and score["high"] is not None:
        axes.hlines(row, score["low"], score["high"], color=color, alpha=alpha, linewidth=2)
    dot(axes, score["difference"], row, 56, color=color, alpha=alpha)


def _nothing(title: str, sentence: str) -> str:
    """Return a sentence in place of a chart, which says why there is none."""
    with sheet_of(_WIDTH, 48) as sheet:
        sheet.text(_WIDTH / 2, 24, sentence, ha="center", alpha=QUIET)
        return sheet.svg(title, sentence)


# ---- their parts


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1].rstrip()}…"


def class_color(record: Record, name: str) -> str | None:
    """Return the colour of a class on overlays; None for the background."""
    categories = record["categories"]
    number = 1 if name == ANY_OBJECT else categories.index(name)
    return None if number == BACKGROUND else "#" + bytes(screen_palette(len(categories))[number]).hex()
