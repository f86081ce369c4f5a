"""Names of scores and classes, and formats of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..categories import VOC
from ..classes import ANY_OBJECT, ANY_OBJECT_NAME, FRIENDLY_NAMES
from ..inference.provenance import LABEL_MAPS

Record = Mapping[str, Any]  # the result of `Evaluation.to_dict`
NOT_DEFINED = "N/A"
NO_OBJECTS = "How many objects were found is not counted: the ground truth is label maps, which do not tell them apart."
NO_PROBABILITIES = "The Brier score and the calibration are left out: label maps hold no probabilities."
# Name and explanation of each overall score, in reading order.
OVERALL = {
    "pixel_accuracy": ("Pixel accuracy", "share of pixels that got the right label"),
    "foreground_mean_iou": (
        "Mean IoU of the objects",
        "overlap with the truth, averaged over the classes without background",
    ),
    "mean_iou": ("Mean IoU", "the same with background, which flatters it"),
    "f1_macro": ("F1, mean over classes", "also called Dice: overlap counted kindlier than IoU"),
    "f1_weighted": ("F1, weighted", "the same, each class by its share of true pixels"),
    "mse": ("MSE", "mean squared error of the masks: in binary mode the share of wrong pixels"),
    "brier": ("Brier score", "the same with the model's probabilities; over-confidence raises it"),
    "boundary_iou": ("Boundary IoU", "how well the edges fit"),
    "mean_accuracy": ("Mean class accuracy", "recall averaged over the classes"),
    "frequency_weighted_iou": ("IoU, weighted", "IoU averaged by each class's share of true pixels"),
    "classes_counted": ("Classes counted", "how many classes the means are over"),
}
PER_CLASS = {
    "iou": "IoU",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "boundary_iou": "Boundary IoU",
}
RESIZES = {
    "squeeze": "squeezed to 520 × 520",
    "aspect": "shorter side 520",
    "fit": "longer side 520",
    "torchvision": "shorter side 520, no limit",
    "none": "none: the label maps as they were given",
}
SIZES = {  # COCO's sizes, with their limits in words
    "small": "under 32 × 32 pixels",
    "medium": "under 96 × 96 pixels",
    "large": "96 × 96 pixels and more",
}
PARTS = {"object_size": "largest object", "objects": "number of objects", "brightness": "brightness of the photograph"}
PARTS_REMARK = (
    "Each part is scored as a set of its own. The largest object has COCO's sizes: small under 32 × 32 pixels, medium "
    "under 96 × 96. Dark: mean luma under 90 of 255; bright: from 140. Few images give a wide interval, and parts can "
    "hold different classes."
)
LEVELS = ((0.9, "excellent"), (0.75, "good"), (0.5, "rough"))  # the least IoU of each word; the page reads them, too
POOR = "poor"
_NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()
_PLURALS = {"person": "people", "sheep": "sheep", ANY_OBJECT_NAME: "objects"}


def percent(share: float) -> str:
    """Format a share 0..1 in whole percent, with "under 1 %" for small shares."""
    return "under 1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")


def number(value: float | int | None) -> str:
    """Format a score with four digits, a count as it is, and None as "N/A"."""
    if value is None:
        return NOT_DEFINED
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def signed(difference: float) -> str:
    """Format a difference with its sign (U+2212 for minus) and three digits."""
    return f"{difference:+.3f}".replace("-", "−")


def friendly(name: str) -> str:
    """Return a class's name for people: "TV" for "tvmonitor", "any object" for "any"; other names do not change."""
    number = VOC.number(name)
    if name == ANY_OBJECT:
        return ANY_OBJECT_NAME
    return name if number is None else FRIENDLY_NAMES[number]


def plural(name: str) -> str:
    """Return the plural: people, buses, sheep, dining tables, TVs, skies, bushes."""
    if name in _PLURALS:
        return _PLURALS[name]
    if re.search("[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")


def score_words(key: str, only: str | None = None) -> tuple[str, str]:
    """Return name and explanation of a score of OVERALL. only: the foreground class in binary mode."""
    if key == "foreground_mean_iou" and only is not None:
        return f"IoU of {only}", "overlap with the truth: shared pixels over all pixels of either"
    return OVERALL[key]


def iou_word(iou: float) -> str:
    """Return the word for an IoU or a mean IoU: "excellent", "good", "rough" or "poor"."""
    return next((word for least, word in LEVELS if iou >= least), POOR)


def only_class(record: Record) -> str | None:
    """Return the name of binary mode's foreground class for people; None in multiclass mode."""
    return None if record["class"] is None else friendly(record["class"])


def without_objects(record: Record) -> bool:
    """Whether the truth is label maps, which do not separate objects."""
    return "objects" in record and record["objects"] is None


def without_probabilities(record: Record) -> bool:
    """Whether label maps of another program were scored, which hold no probabilities."""
    return record.get("engine") == LABEL_MAPS


def intervals(record: Record, part: str) -> Mapping[str, Any]:
    """Return the intervals of the scores in "dataset", "image_mean" or "per_class"; empty if there are none."""
    return (record.get("intervals") or {}).get(part) or {}


def interval(record: Record, bounds: Sequence[float] | None) -> str:
    """Format an interval, such as "95 % interval 0.41 to 0.62"; empty if there is none."""
    return f"{percent(record['intervals']['level'])} interval {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else ""


def listed(words: Sequence[str]) -> str:
    """Join words: "bird"; "bird and boat"; "bird, boat and bus"; an empty text for none."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def counted(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def count_of_images(number: int) -> str:
    """Format a number of images: "1 image", "5,000 images"."""
    return "1 image" if number == 1 else f"{number:,} images"
