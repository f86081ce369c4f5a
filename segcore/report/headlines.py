"""Summaries of an evaluation and of a comparison in a few lines for a terminal."""

from __future__ import annotations

from ..evaluation.run import caption
from .terms import NO_OBJECTS, NO_PROBABILITIES, Record, count_of_images, without_probabilities


def of_evaluation(record: Record) -> str:
    """Summarise the result of `Evaluation.to_dict`."""
    low_high = record["intervals"]["dataset"]
    lines = [
        caption(record, count_of_images(record["images"])),
        f"{'':24}{'dataset':>10}{'95 % interval':>20}{'image mean':>12}",
    ]
    for key, value in record["dataset"].items():
        mean = _cell(record["image_mean"][key])
        if key == "classes_counted":
            lines.append(f"{key:24}{value:>10}{'':>20}{mean:>12}")
        else:
            ends = " to ".join(map(_cell, low_high[key])) if low_high[key] else "-"
            lines.append(f"{key:24}{_cell(value):>10}{ends:>20}{mean:>12}")
    if without_probabilities(record):
        lines.append(NO_PROBABILITIES)
    objects = record["objects"]
    if objects is None:
        return "\n".join([*lines, NO_OBJECTS])
    sizes = ", ".join(f"{size} {each['found']} of {each['total']}" for size, each in objects["by_size"].items())
    lines.append(f"{'objects found':24}{objects['found']} of {objects['total']} ({sizes})")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def of_comparison(record: Record) -> str:
    """Summarise the result of `compare`."""
    images = count_of_images(record["images"])
    lines = [
        caption(record["first"], f"first:  {images}"),
        caption(record["second"], f"second: {images}"),
        f"{'dataset':24}{'first':>10}{'second':>10}{'difference':>12}  95 % interval",
    ]
    for key, row in record["dataset"].items():
        if key == "classes_counted":
            continue
        cells = ["-" if row[part] is None else f"{row[part]:.4f}" for part in ("first", "second")]
        change = ["-" if row[part] is None else f"{row[part]:+.4f}" for part in ("difference", "low", "high")]
        lines.append(f"{key:24}{cells[0]:>10}{cells[1]:>10}{change[0]:>12}  {change[1]} to {change[2]}")
    return "\n".join(lines)
