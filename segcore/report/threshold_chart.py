"""The curve of binary mode: precision, recall, F1 and IoU against the threshold, with the best threshold."""

from __future__ import annotations

import numpy as np

from .sheets import ACCENT, INK, QUIET, SMALL, grid, sheet_of
from .terms import PER_CLASS, Record, only_class

_WIDTH = 380  # pixels: the width of a phone
_TOLD = (0.1, 0.3, 0.5, 0.7, 0.9)  # thresholds that the description gives
_LINES = {  # colours and dashes, so that the lines are told apart without colour too
    "precision": ("#d55e00", (0, (6, 2))),
    "recall": ("#009e73", (0, (1, 1.5))),
    "f1": (INK, (0, (6, 2, 1, 2))),
    "iou": (ACCENT, "solid"),
}


def best_told(record: Record) -> str:
    """Return a sentence on the best threshold; empty without a curve."""
    curve = record.get("threshold_curve")
    if not curve:
        return ""
    best = curve["best"]
    if best is None:
        return f"No threshold finds any pixel of {only_class(record)}."
    scores = ", ".join(f"{PER_CLASS[key]} {best[key]:.2f}" for key in ("iou", "f1", "precision", "recall"))
    used = record["dataset"]["foreground_mean_iou"]
    decided = "the likeliest class decides" if record["threshold"] == "auto" else f"threshold {record['threshold']}"
    now = "" if used is None else f" The scores above ({decided}) have an IoU of {used:.2f}."
    return (
        f"The best threshold is {best['threshold']:.2f}, by F1 and IoU alike: {scores}.{now} It was chosen on these "
        "images; on others it can be another."
    )


def threshold_chart(record: Record) -> str:
    """Draw the scores against the threshold. Returns SVG text."""
    curve, best = record["threshold_curve"], record["threshold_curve"]["best"]
    at = np.array(curve["thresholds"])
    scores = {key: np.array(curve[key], float) for key in _LINES}
    told = "; ".join(_told(scores, round(threshold * (len(at) - 1)), threshold) for threshold in _TOLD)
    left, top, side = 44, 26, _WIDTH - 44 - 24
    with sheet_of(_WIDTH, top + side + 76) as sheet:
        axes = sheet.axes(left, top, side, side, (0, 1), (0, 1))
        ticks = {"0": 0, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "1": 1}
        grid(axes, ticks, "below")
        grid(axes, ticks, "left")
        if best:
            axes.axvline(best["threshold"], color=INK, alpha=0.5, linewidth=1)
            align, gap = ("right", -5) if best["threshold"] > 0.5 else ("left", 5)
            where = left + side * best["threshold"] + gap
            sheet.text(where, top + side - 12, f"best: {best['threshold']:.2f}", ha=align, size=SMALL)
        for key, values in scores.items():
            color, dashes = _LINES[key]
            axes.plot(at, values, color=color, linewidth=2, linestyle=dashes)
        sheet.text(0, 10, "score", size=SMALL, alpha=QUIET)
        sheet.text(left + side, top + side + 34, "threshold", ha="right", size=SMALL, alpha=QUIET)
        for place, (key, (color, dashes)) in enumerate(_LINES.items()):
            begin = left + place * side / 4
            sample = sheet.axes(begin, top + side + 52, 22, 12, (0, 1), (0, 1))
            sample.plot([0, 1], [0.5, 0.5], color=color, linewidth=2, linestyle=dashes)
            sheet.text(begin + 27, top + side + 58, PER_CLASS[key], size=SMALL)
        return sheet.svg("Scores against the threshold", f"{best_told(record)} {told}.")


def _told(scores: dict[str, np.ndarray], place: int, threshold: float) -> str:
    values = {key: "undefined" if np.isnan(each[place]) else f"{each[place]:.2f}" for key, each in scores.items()}
    return f"At {threshold}: {', '.join(f'{PER_CLASS[key]} {value}' for key, value in values.items())}"
