"""One image judged in plain words: what was found, what was missed, and how well the edges fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classes import ANY_OBJECT_NAME, BACKGROUND, FRIENDLY_NAMES
from ..errors import LabelError
from ..metrics.confusion import checked_counts, mean_defined, scores

FOUND_FROM_IOU, PARTLY_FOUND_FROM_IOU = 0.5, 0.1
TIGHT_FROM_BOUNDARY_IOU, LOOSE_UNDER_BOUNDARY_IOU = 0.6, 0.35
EXTRA_FROM_SHARE = 0.005  # a class that is not there is worth a word from this share of the picture on
_Numbers = tuple[int, ...]  # class numbers, in order


@dataclass(frozen=True)
class Verdict:
    """What was found of the truth's object classes (class numbers, in order) and how well the edges fit.

    `extra` are the classes seen in at least EXTRA_FROM_SHARE of the picture that are not in its truth. `edges` is
    "tight", "fair", "loose" or None where nothing was found; `edges_iou` is the mean boundary IoU of the classes
    found at least partly, or nan. `sentence` says it all.
    """

    found: tuple[int, ...]
    partly: tuple[int, ...]
    missed: tuple[int, ...]
    extra: tuple[int, ...]
    edges: str | None
    edges_iou: float
    sentence: str


def verdict(matrix: Any, boundary: Any, names: Sequence[str] = FRIENDLY_NAMES) -> Verdict:
    """Judge one image by its confusion matrix, integers (n, n), and its boundary IoU per class, float (n,).

    `names` are what people call the n classes, background first; the second of binary mode's two is a class's
    name or ANY_OBJECT_NAME. Raises LabelError for sizes that do not belong together.
    """
    counts, boundary = checked_counts(matrix), np.asarray(boundary, np.float64)
    if not len(counts) == len(boundary) == len(names):
        raise LabelError(
            f"a verdict needs as many boundary IoUs and names as classes: the matrix has {len(counts)}, "
            f"and there are {len(boundary)} boundary IoUs and {len(names)} names"
        )
    iou = scores(counts)["iou"]
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    objects = range(BACKGROUND + 1, len(counts))
    here = [number for number in objects if true[number]]
    found = tuple(number for number in here if iou[number] >= FOUND_FROM_IOU)
    missed = tuple(number for number in here if iou[number] < PARTLY_FOUND_FROM_IOU)
    partly = tuple(number for number in here if number not in found + missed)
    enough = max(1, EXTRA_FROM_SHARE * counts.sum())
    extra = tuple(number for number in objects if not true[number] and predicted[number] >= enough)
    edges_iou = mean_defined(boundary[list(found + partly)])
    edges = _edges(edges_iou)

    if not counts.any():
        sentences = ["This picture cannot be scored: its ground truth leaves every pixel out."]
    elif not here:
        sentences = [_nothing_there(extra, bool(predicted[BACKGROUND + 1 :].any()), names)]
    else:
        sentences = [_found(found, partly, missed, names), _seen_besides(extra, names)]
        sentences.append(f"The edges are {edges} (boundary IoU {edges_iou:.2f})." if edges else "")
    return Verdict(found, partly, missed, extra, edges, edges_iou, " ".join(filter(None, sentences)))


def _edges(iou: float) -> str | None:
    if np.isnan(iou):
        return None
    if iou >= TIGHT_FROM_BOUNDARY_IOU:
        return "tight"
    return "loose" if iou < LOOSE_UNDER_BOUNDARY_IOU else "fair"


def _nothing_there(extra: _Numbers, something_seen: bool, names: Sequence[str]) -> str:
    """The sentence for a truth without objects; "to score", since ignored ones may be in the picture."""
    if len(names) > 2:
        there, seen = f"is nothing of the {len(names) - 1} classes", _listed(extra, names)
    else:
        there, seen = ("are no objects" if names[1] == ANY_OBJECT_NAME else f"is no {names[1]}"), "some"
    outcome = "and the model rightly found nothing"
    if extra:
        outcome = f"but the model sees {seen}"
    elif something_seen:
        outcome = "and the model found next to nothing"
    return f"There {there} to score in this picture, {outcome}."


def _found(found: _Numbers, partly: _Numbers, missed: _Numbers, names: Sequence[str]) -> str:
    here = found + partly + missed
    if len(here) == 1:
        verb = "Found" if found else "Only partly found" if partly else "Missed"
        if len(names) > 2:
            return f"{verb} the only class here: {_listed(here, names)}."
        return f"{verb} the {'objects' if names[1] == ANY_OBJECT_NAME else names[1]}."
    if len(found) == len(here):
        return "Found both classes." if len(here) == 2 else f"Found all {len(here)} classes."
    parts = [f"Found {len(found)} of {len(here)} classes" if found else f"Found none of the {len(here)} classes"]
    kinds = ("partly found", partly), ("missed", missed)
    parts += [f"{kind}: {_listed(numbers, names)}" for kind, numbers in kinds if numbers]
    return "; ".join(parts) + "."


def _seen_besides(extra: _Numbers, names: Sequence[str]) -> str:
    if not extra:
        return ""
    verb = "is" if len(extra) == 1 else "are"
    return f"The model also sees {_listed(extra, names)}, which {verb} not there."


def _listed(numbers: _Numbers, names: Sequence[str]) -> str:
    """bird; bird and boat; bird, boat and bus; nothing for none."""
    words = [names[number] for number in numbers]
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
