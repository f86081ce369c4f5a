"""The findings of a comparison of two runs as sentences."""

from __future__ import annotations

from collections.abc import Iterable

from ..classes import BACKGROUND
from .terms import Record, count_of_images, friendly, listed, only_class, percent, plural, signed


def comparison_sentence(comparison: Record) -> str:
    """Return the sentence that says which run is better, or that there is no clear difference."""
    first, second = comparison["first"], comparison["second"]
    only = only_class(first)
    name = "mean IoU of the objects" if only is None else f"IoU of {only}"
    score = comparison["dataset"]["foreground_mean_iou"]
    if score["difference"] is None:
        return f"No comparison: the {name} is undefined in at least one of the two."
    difference = signed(score["difference"])
    if score["low"] is None or score["high"] is None:
        images = count_of_images(comparison["images"])
        return f"The {name} differs by {difference}; with {images} there is no interval for that."
    known = f"{percent(comparison['level'])} interval {signed(score['low'])} to {signed(score['high'])}"
    if not clear(score):
        return f"No clear difference: {name} {difference} ({known}, which holds zero)."
    kind = "run" if first["weights_sha256"] == second["weights_sha256"] else "model"  # one model with two settings
    better = "second" if score["difference"] > 0 else "first"
    return f"The {better} {kind} is better: {name} {difference} ({known})."


def clear(score: Record) -> bool:
    """Whether the interval of a difference excludes zero, so that the difference is not just chance."""
    return score["low"] is not None and score["high"] is not None and (score["low"] > 0 or score["high"] < 0)


def comparison_findings(comparison: Record) -> list[str]:
    """Return the verdict, the classes that clearly differ, and the numbers of images on which each run is better."""
    sentences = [comparison_sentence(comparison)]
    if only_class(comparison["first"]) is None:
        sentences += _classes_won(comparison["per_class"])
    return [*sentences, _images_won(each["difference"] for each in comparison["per_image"])]


def _classes_won(per_class: Record) -> list[str]:
    iou = {name: scores["iou"] for name, scores in list(per_class.items())[BACKGROUND + 1 :]}
    clearly = sorted((name for name in iou if clear(iou[name])), key=lambda name: -abs(iou[name]["difference"]))
    sentences = []
    for side, sign in (("second", 1), ("first", -1)):
        won = [name for name in clearly if sign * iou[name]["difference"] > 0]
        if won:
            told = [f"{plural(friendly(name))} ({signed(iou[name]['difference'])})" for name in won]
            sentences.append(f"The {side} is clearly better at {listed(told)}.")
    return sentences


def _images_won(differences: Iterable[float | None]) -> str:
    known = [each for each in differences if each is not None]
    won, lost = sum(each > 0 for each in known), sum(each < 0 for each in known)
    same = len(known) - won - lost
    return f"The second is better on {count_of_images(won)}, worse on {lost:,} and the same on {same:,}."
