"""The headline for one image: what was missed, what was found, and how well the edges fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..classes import ANY_OBJECT_NAME, BACKGROUND, FRIENDLY_NAMES
from ..errors import LabelError
from ..metrics.confusion import checked_counts, mean_defined, scores
from .terms import counted, listed, plural, with_article

FOUND_FROM_IOU, PARTLY_FOUND_FROM_IOU = 0.5, 0.1
TIGHT_FROM_BOUNDARY_IOU, LOOSE_UNDER_BOUNDARY_IOU = 0.6, 0.35
EXTRA_FROM_SHARE = 0.001  # a class that is not in the truth is mentioned from this share of the image on
EXTRA_ALONE_FROM_SHARE = 0.0002  # the same if the model finds nothing of the truth: then a speck stands out
CLASSES_NAMED = 4  # maximum number of classes listed in a clause
FOUND, PARTLY_FOUND, MISSED = "found", "partly found", "missed"


class FoundOrMissed(Protocol):
    """One object of an image: its class, its area in pixels, whether it was found, and what it was taken for."""

    @property
    def class_id(self) -> int: ...

    @property
    def area(self) -> int: ...

    @property
    def found(self) -> bool: ...

    @property
    def taken_for(self) -> int: ...


@dataclass(frozen=True)
class ClassFinding:
    """The judgement on one class of the truth.

    If the truth separates objects, they decide: all, some or none of them were found. If none was found, the class is
    still partly found if its IoU is at least PARTLY_FOUND_FROM_IOU. Without objects (crowds, label maps) only the
    class's IoU decides.

    number: of the class. name: for people. objects: those of the class. overstated: whether most pixels that the model
    gives this class belong to something else.
    """

    number: int
    name: str
    outcome: str
    objects: tuple[FoundOrMissed, ...]
    overstated: bool

    @property
    def missed_objects(self) -> tuple[FoundOrMissed, ...]:
        return tuple(each for each in self.objects if not each.found)

    @property
    def taken_for(self) -> int:
        """The object class that all missed objects were taken for, or BACKGROUND if there is none."""
        called = {BACKGROUND if each.taken_for == each.class_id else each.taken_for for each in self.missed_objects}
        return called.pop() if len(called) == 1 else BACKGROUND

    @property
    def missed_by_size(self) -> str | None:
        """ "small" if all missed objects are smaller than the found ones, "large" if larger; None otherwise."""
        missed = [each.area for each in self.missed_objects]
        found = [each.area for each in self.objects if each.found]
        if max(missed) < min(found):
            return "small"
        return "large" if min(missed) > max(found) else None


@dataclass(frozen=True)
class Verdict:
    """Which object classes of the truth were found (sorted class numbers), and how well the edges fit.

    extra: classes that are not in the truth, but in so much of the prediction that people notice them; the largest
    first. besides: those of them that the headline has not named yet. edges: "tight", "fair", "loose", or None if
    nothing was found. edges_iou: the mean boundary IoU of the found and partly found classes, or nan. sentence: the
    headline in English. findings: one for each class of the truth, the class with the most pixels first, for headlines
    in other languages. told_apart: whether the truth separates objects. scored: whether any pixel counts.
    something_seen: whether the model found anything. names: of the classes.
    """

    found: tuple[int, ...]
    partly: tuple[int, ...]
    missed: tuple[int, ...]
    extra: tuple[int, ...]
    besides: tuple[int, ...]
    edges: str | None
    edges_iou: float
    sentence: str
    findings: tuple[ClassFinding, ...]
    told_apart: bool
    scored: bool
    something_seen: bool
    names: tuple[str, ...]


def verdict(
    matrix: Any,
    boundary: Any,
    names: Sequence[str] = FRIENDLY_NAMES,
    objects: Sequence[FoundOrMissed] | None = None,
) -> Verdict:
    """Judge one image.

    matrix: confusion matrix, integers (n, n), rows are truth. boundary: boundary IoU per class, float (n,).
    names: the n classes' names for people, background first. In binary mode the second name is a class's name or
    ANY_OBJECT_NAME, and all objects belong to it. objects: None if the truth does not separate objects.
    Raises LabelError if the numbers of classes differ.
    """
    counts, boundary = checked_counts(matrix), np.asarray(boundary, np.float64)
    if not len(counts) == len(boundary) == len(names):
        raise LabelError(
            f"a verdict needs as many boundary IoUs and names as classes: the matrix has {len(counts)}, "
            f"and there are {len(boundary)} boundary IoUs and {len(names)} names"
        )
    findings = _findings(counts, names, objects or ())
    extra = _extra(counts, findings)
    besides = _besides(extra, findings)
    found, partly, missed = (
        tuple(sorted(each.number for each in findings if each.outcome == outcome))
        for outcome in (FOUND, PARTLY_FOUND, MISSED)
    )
    edges_iou = mean_defined(boundary[list(found + partly)])
    edges = _edges(edges_iou)
    something_seen, told_apart = bool(counts[:, BACKGROUND + 1 :].any()), objects is not None
    if not counts.any():
        sentences = ["This picture cannot be scored: its ground truth leaves every pixel out."]
    elif not findings:
        sentences = [_nothing_there(extra, something_seen, names)]
    else:
        sentences = [
            _found_and_missed(findings, names, told_apart=told_apart),
            _overstated(findings),
            _seen_besides(besides, names, alone=not (found or partly)),
            f"Edges are {edges}." if edges else "",
        ]
    return Verdict(
        *(found, partly, missed, extra, besides, edges, edges_iou, " ".join(filter(None, sentences)), tuple(findings)),
        *(told_apart, bool(counts.any()), something_seen, tuple(names)),
    )


def _findings(counts: np.ndarray, names: Sequence[str], objects: Sequence[FoundOrMissed]) -> list[ClassFinding]:
    """Judge each class of the truth, the class with the most pixels first."""
    iou, true, seen = scores(counts)["iou"], counts.sum(axis=1), counts.sum(axis=0)
    by_class: dict[int, list[FoundOrMissed]] = {}
    for each in objects:
        by_class.setdefault(1 if len(names) == 2 else each.class_id, []).append(each)
    here = [number for number in range(BACKGROUND + 1, len(counts)) if true[number] or number in by_class]
    findings = []
    for number in sorted(here, key=lambda number: (-true[number], number)):
        own = tuple(by_class.get(number, ()))
        outcome = _outcome(float(np.nan_to_num(iou[number])), own)
        overstated = outcome != MISSED and counts[number, number] < seen[number] / 2
        findings.append(ClassFinding(number, names[number], outcome, own, overstated))
    return findings


def _extra(counts: np.ndarray, findings: Sequence[ClassFinding]) -> tuple[int, ...]:
    """Return the classes that are not in the truth, but in so much of the prediction that people notice them."""
    here, seen = {each.number for each in findings}, counts.sum(axis=0)
    all_missed = bool(findings) and all(each.outcome == MISSED for each in findings)
    enough = max(1, (EXTRA_ALONE_FROM_SHARE if all_missed else EXTRA_FROM_SHARE) * counts.sum())
    large = [n for n in range(BACKGROUND + 1, len(counts)) if n not in here and seen[n] >= enough]
    return tuple(sorted(large, key=lambda n: -seen[n]))


def _outcome(iou: float, objects: Sequence[FoundOrMissed]) -> str:
    if objects and all(each.found for each in objects):
        return FOUND
    if objects and any(each.found for each in objects):
        return PARTLY_FOUND
    if not objects and iou >= FOUND_FROM_IOU:
        return FOUND
    return PARTLY_FOUND if iou >= PARTLY_FOUND_FROM_IOU else MISSED


def _edges(iou: float) -> str | None:
    if np.isnan(iou):
        return None
    if iou >= TIGHT_FROM_BOUNDARY_IOU:
        return "tight"
    return "loose" if iou < LOOSE_UNDER_BOUNDARY_IOU else "fair"


def _nothing_there(extra: tuple[int, ...], something_seen: bool, names: Sequence[str]) -> str:
    """Return the sentence for a truth without objects. It says "to score" because there may be ignored objects."""
    if len(names) > 2:
        there, seen = f"is nothing of the {len(names) - 1} classes", _first([with_article(names[n]) for n in extra])
    else:
        there, seen = ("are no objects" if names[1] == ANY_OBJECT_NAME else f"is no {names[1]}"), "some"
    outcome = "and the model rightly found nothing"
    if extra:
        outcome = f"but the model sees {seen}"
    elif something_seen:
        outcome = "and the model found next to nothing"
    return f"There {there} to score in this picture, {outcome}."


def _found_and_missed(findings: Sequence[ClassFinding], names: Sequence[str], *, told_apart: bool) -> str:
    """Return a sentence such as "Missed all 3 bottles and the dining table; found the chair."."""
    groups: dict[str, list[str]] = {}
    for outcome in (MISSED, PARTLY_FOUND, FOUND):
        for each in findings:
            if each.outcome == outcome:
                verb, told = _told(each, names, told_apart=told_apart)
                groups.setdefault(verb, []).append(told)
    clauses = []
    for verb, classes in groups.items():
        clauses.append(f"{verb} {_first(classes)}")
    sentence = "; ".join(clauses) + "."
    return sentence[0].upper() + sentence[1:]


def _first(classes: Sequence[str]) -> str:
    """Join the first CLASSES_NAMED classes to a list that ends with how many more there are."""
    left = len(classes) - CLASSES_NAMED
    more = [f"{counted(left)} more {'class' if left == 1 else 'classes'}"] if left > 0 else []
    return listed([*classes[:CLASSES_NAMED], *more])


def _told(finding: ClassFinding, names: Sequence[str], *, told_apart: bool) -> tuple[str, str]:
    """Return verb and object of a clause, such as ("found", "5 of 7 people (not the two smallest)")."""
    several, total = plural(finding.name), len(finding.objects)
    missed = finding.missed_objects
    if not told_apart:
        return f"{finding.outcome}:", several if finding.name == ANY_OBJECT_NAME else finding.name
    if not total:
        everything = f"the {several}"
    elif total == 1:
        everything = "the only object" if finding.name == ANY_OBJECT_NAME else f"the {finding.name}"
    else:
        everything = f"both {several}" if total == 2 else f"all {total} {several}"
    if finding.outcome == MISSED:
        return "missed", everything + _taken_for(finding, names)
    if finding.outcome == FOUND:
        return "found", everything
    if len(missed) == total:
        return "found only part of", everything
    remark = _taken_for(finding, names, counted(len(missed)) + " ") or _which(finding)
    return "found", f"{total - len(missed)} of {total} {several}{remark}"


def _which(finding: ClassFinding) -> str:
    """Return " (not the two smallest)", " (not the largest)" or similar; empty if sizes do not explain the misses."""
    missed, size = len(finding.missed_objects), finding.missed_by_size
    count = "" if missed == 1 else f"{counted(missed)} "
    of_two, of_more = {"small": ("smaller", "smallest"), "large": ("larger", "largest"), None: ("", "")}[size]
    return f" (not the {count}{of_two if len(finding.objects) == 2 else of_more})" if size else ""


def _taken_for(finding: ClassFinding, names: Sequence[str], count: str = "") -> str:
    """Return " (taken for a dog)", " (two taken for dogs)" or an empty text."""
    other = finding.taken_for
    if other == BACKGROUND or len(names) == 2:
        return ""
    told = with_article(names[other]) if len(finding.missed_objects) == 1 else plural(names[other])
    return f" ({count}taken for {told})"


def _overstated(findings: Sequence[ClassFinding]) -> str:
    """Describe classes whose prediction is mostly something else, which lowers the IoU although objects were found."""
    names = [plural(each.name) for each in findings if each.overstated]
    return f"Most of what it marks as {listed(names[:CLASSES_NAMED])} is something else." if names else ""


def _besides(extra: Sequence[int], findings: Sequence[ClassFinding]) -> tuple[int, ...]:
    """Return the classes of `extra` without those that the headline says missed objects were taken for."""
    missed = [each for each in findings if each.outcome == MISSED]
    some_found = [each for each in findings if each.outcome == PARTLY_FOUND and any(it.found for it in each.objects)]
    told = {each.taken_for for each in missed[:CLASSES_NAMED] + some_found[:CLASSES_NAMED]}
    return tuple(number for number in extra if number not in told)


def _seen_besides(besides: Sequence[int], names: Sequence[str], *, alone: bool) -> str:
    """Describe predicted classes that are not in the truth. alone: nothing else was found."""
    if not besides:
        return ""
    unknown = _first([with_article(names[number]) for number in besides])
    return f"{'Sees' if alone else 'Also sees'} {unknown} that {'is' if len(besides) == 1 else 'are'} not there."
