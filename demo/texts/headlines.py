"""The headline for one image in other languages: what was found and missed, as lists, which need no grammar of cases.

For example "Found: 2 dogs, 5 of 7 people. Missed: 3 bottles (taken for: cup)."
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from demo.texts import ENGLISH, filled, joined, translate
from segcore.classes import ANY_OBJECT_NAME, BACKGROUND
from segcore.report.terms import plural
from segcore.report.verdict import CLASSES_NAMED, FOUND, MISSED, PARTLY_FOUND, ClassFinding, Verdict

_GROUPS = {MISSED: "Missed: {names}.", PARTLY_FOUND: "Only partly found: {names}.", FOUND: "Found: {names}."}
_BY_SIZE = {
    "small": ("{told} (missed: the smallest)", "{told} (missed: the {count} smallest)"),
    "large": ("{told} (missed: the largest)", "{told} (missed: the {count} largest)"),
}
_EDGES = {"tight": "Edges are tight.", "fair": "Edges are fair.", "loose": "Edges are loose."}


def headline(verdict: Verdict, language: str) -> str:
    """Return the headline of a verdict in a language."""
    if language == ENGLISH:
        return verdict.sentence
    return " ".join(_sentences(verdict, language)).replace("。 ", "。")  # Chinese has no spaces between sentences


def _sentences(verdict: Verdict, language: str) -> Iterator[str]:
    if not verdict.scored:
        yield translate("This picture cannot be scored: its ground truth leaves every pixel out.", language)
    elif not verdict.findings:
        yield _nothing_there(verdict, language)
    else:
        yield from _found_and_missed(verdict, language)
        overstated = [things(each.name, language) for each in verdict.findings if each.overstated]
        besides = _first([translate(verdict.names[number], language) for number in verdict.besides], language)
        also = "Also seen" if verdict.found or verdict.partly else "Seen"
        yield from _list("Marked, but mostly something else: {names}.", overstated[:CLASSES_NAMED], language)
        yield from _list(f"{also}, but not there: {{names}}.", besides, language)
        if verdict.edges:
            yield translate(_EDGES[verdict.edges], language)


def _list(sentence: str, names: Sequence[str], language: str) -> Iterator[str]:
    if names:
        yield filled(sentence, language, names=joined(list(names), language))


def _nothing_there(verdict: Verdict, language: str) -> str:
    several = len(verdict.names) > 2
    classes = filled("{count} classes", language, count=len(verdict.names) - 1)
    sought = classes if several else translate(verdict.names[1], language)
    if verdict.extra:
        seen = [translate(verdict.names[number], language) for number in verdict.extra]
        names = joined(_first(seen, language), language)
        return filled("Nothing to find in this picture ({sought}), but the model sees: {names}.", language,
                      sought=sought, names=names)  # fmt: skip
    sentence = "Nothing to find in this picture ({sought}), and the model rightly found nothing."
    if verdict.something_seen:
        sentence = "Nothing to find in this picture ({sought}), and the model found next to nothing."
    return filled(sentence, language, sought=sought)


def _found_and_missed(verdict: Verdict, language: str) -> Iterator[str]:
    for group, sentence in _GROUPS.items():
        names = [_told(each, verdict, language) for each in verdict.findings if _group(each) == group]
        yield from _list(sentence, _first(names, language), language)


def _first(names: list[str], language: str) -> list[str]:
    """Return the first CLASSES_NAMED names, and how many more there are."""
    left = len(names) - CLASSES_NAMED
    if left <= 0:
        return names
    more = "1 more class" if left == 1 else "{count} more classes"
    return [*names[:CLASSES_NAMED], filled(more, language, count=left)]


def _group(finding: ClassFinding) -> str:
    """Return the group of a class. A class of which some objects were found is told with its numbers as found."""
    some_found = len(finding.missed_objects) < len(finding.objects)
    return FOUND if finding.outcome == PARTLY_FOUND and some_found else finding.outcome


def _told(finding: ClassFinding, verdict: Verdict, language: str) -> str:
    """Return a class with its numbers, such as "5 of 7 people (missed: the smallest)"."""
    say = functools.partial(filled, language=language)
    missed, total = len(finding.missed_objects), len(finding.objects)
    several = things(finding.name, language)
    if not total:
        of_pixels = not verdict.told_apart and finding.name != ANY_OBJECT_NAME
        return translate(finding.name, language) if of_pixels else several
    if missed in (0, total):
        told = say("{count} {things}", count=total, things=things(finding.name, language, total))
    else:
        told = say("{found} of {total} {things}", found=total - missed, total=total, things=several)
    if not missed or (missed == total and finding.outcome == PARTLY_FOUND):
        return told
    if finding.taken_for != BACKGROUND and len(verdict.names) > 2:
        return say("{told} (taken for: {name})", told=told, name=translate(verdict.names[finding.taken_for], language))
    if missed < total and finding.missed_by_size:
        one, more = _BY_SIZE[finding.missed_by_size]
        return say(one if missed == 1 else more, told=told, count=missed)
    return told


def things(name: str, language: str, count: int = 2) -> str:
    """Return a class's name in a language, in singular or plural."""
    singular = "object" if name == ANY_OBJECT_NAME else name
    if count == 1:
        return translate(singular, language)
    several = plural(name)
    return translate(f"{several} (several)" if several == name else several, language)
