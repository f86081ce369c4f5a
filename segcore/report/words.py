"""The findings of an evaluation as sentences for people who do not program."""

from __future__ import annotations

import numpy as np

from ..classes import ANY_OBJECT_NAME, BACKGROUND
from .terms import (
    NO_OBJECTS,
    NO_PROBABILITIES,
    Record,
    count_of_images,
    friendly,
    interval,
    intervals,
    listed,
    only_class,
    percent,
    plural,
    with_article,
    without_objects,
    without_probabilities,
)

INT8_AGREES_FROM = 0.99  # share of pixels; int8 is not recommended below it
CALIBRATED_BELOW = 0.02  # calibration error below which the confidence is reliable
WIDE_INTERVAL, FEW_IMAGES = 0.1, 30  # a score is uncertain with a wider interval or fewer images
CONFUSIONS_SHOWN, CONFUSION_FROM_SHARE = 4, 0.05
CLASSES_NAMED = 3
RELIABLE_FROM_OBJECTS = 5  # minimum number of objects for a statement about a class or size
TELLING_BIN_SHARE = 0.01  # minimum share of the pixels for a bin of confidence to be an example


# ---- numbers and names


def calibrated(photographs: int, agreement: float) -> str:
    """Describe how well int8 agrees with float32, and what to do if it does not."""
    said = f"int8 gives {agreement:.1%} of the pixels the class that float32 gives them (photographs: {photographs})"
    if agreement < INT8_AGREES_FROM:
        said += "; that is little: give more photographs of your kind with --calibration, or choose another precision"
    return said


# ---- what an evaluation found


def findings(record: Record) -> list[str]:
    """Return the findings in the record of an evaluation, the most important first, each in one or two sentences."""
    if not record["images"]:
        return ["No image could be scored."]
    sentences = [
        _headline(record),
        _objects(record),
        *_classes(record),
        *_confusions(record),
        _missed_pixels(record),
        _imagined(record),
        NO_PROBABILITIES if without_probabilities(record) else confidence_sentence(record),
        _left_out(record),
    ]
    return [sentence for sentence in sentences if sentence]


def _headline(record: Record) -> str:
    score, images = record["dataset"]["foreground_mean_iou"], record["images"]
    only = only_class(record)
    name = "mean IoU of the objects" if only is None else f"IoU of {only}"
    if score is None:
        return f"There is nothing to take the {name} of: no object is in the truth or in the prediction."
    told = f"The {name} is {score:.2f}"
    if images == 1:
        return f"{told} on 1 image, which says nothing about how the model does on others."
    bounds = intervals(record, "dataset").get("foreground_mean_iou")
    if not bounds:
        return f"{told} over {count_of_images(images)}."
    if images < FEW_IMAGES or bounds[1] - bounds[0] >= WIDE_INTERVAL:
        known = f"it is only known to be between {bounds[0]:.2f} and {bounds[1]:.2f}"
        return f"{told}. With {count_of_images(images)} {known}."
    return f"{told} ({interval(record, bounds)}) over {count_of_images(images)}."


def _objects(record: Record) -> str:
    if without_objects(record):
        return NO_OBJECTS
    objects = record.get("objects")
    if not objects or not objects["total"]:
        return ""
    only = only_class(record)
    one, several = ("object", "objects") if only in (None, ANY_OBJECT_NAME) else (only, plural(only))
    total, found = objects["total"], objects["found"]
    if total == 1:
        return f"{'Found' if found else 'Missed'} the only {one}."
    if found in (0, total):
        return f"Found {'all' if found else 'none of the'} {total:,} {several}."
    told = f"Found {found:,} of {total:,} {several}"
    worst = _worst_size(objects["by_size"])
    if worst:
        size = objects["by_size"][worst]
        told += f"; {worst} ones are missed most: {size['found']:,} of {size['total']:,} found"
    return f"{told}.{_hard_to_find(objects['per_class']) if only is None else ''}"


def _worst_size(by_size: Record) -> str | None:
    """Return the size with the smallest share of found objects, or None if all shares are equal."""
    telling = {name: size for name, size in by_size.items() if size["total"] >= RELIABLE_FROM_OBJECTS}
    shares = {name: size["found"] / size["total"] for name, size in telling.items()}
    return min(shares, key=lambda name: shares[name]) if len(set(shares.values())) > 1 else None


def _hard_to_find(per_class: Record) -> str:
    telling = {name: each for name, each in per_class.items() if each["total"] >= RELIABLE_FROM_OBJECTS}
    worst = sorted(telling, key=lambda name: telling[name]["found"] / telling[name]["total"])[:CLASSES_NAMED]
    half_missed = [name for name in worst if telling[name]["found"] < telling[name]["total"] / 2]
    if not half_missed:
        return ""
    told = [f"{plural(friendly(name))} ({telling[name]['found']} of {telling[name]['total']})" for name in half_missed]
    return f" Fewer than half are found of {listed(told)}."


def _classes(record: Record) -> list[str]:
    """Name the classes of the truth at both ends of the chart of classes, and those that may be there by chance."""
    mean = record["dataset"]["foreground_mean_iou"]
    if only_class(record) is not None or mean is None:
        return []
    iou = _iou_in_truth(record)
    best = sorted((name for name in iou if iou[name] > mean), key=lambda name: -iou[name])[:CLASSES_NAMED]
    worst = sorted((name for name in iou if iou[name] < mean), key=lambda name: iou[name])[:CLASSES_NAMED]

    def told(names: list[str]) -> str:
        return listed([f"{plural(friendly(name))} ({iou[name]:.2f})" for name in names])

    sentences = []
    if best:  # "by area", because a class can lead here and have most of its objects missed
        sentences.append(f"Of the objects, the model is best at {told(best)}, by overlapping area (IoU).")
    if worst:
        beginning = "Of the classes in the truth, it" if _imagined(record) else "It"
        sentences.append(f"{beginning} is weakest at {told(worst)}.")
    unsure = [plural(friendly(name)) for name in best + worst if not _clearly_off(record, name, mean)]
    if unsure and intervals(record, "dataset").get("foreground_mean_iou"):
        sentences.append(f"For {listed(unsure)} this may be chance; more images would tell.")
    return sentences


def _clearly_off(record: Record, name: str, mean: float) -> bool:
    """Whether the interval of a class's IoU leaves the mean out. A class in only one image has no interval."""
    low, high = intervals(record, "per_class").get(name, {}).get("iou") or (mean, mean)
    return low < high and not low <= mean <= high


def _iou_in_truth(record: Record) -> dict[str, float]:
    """Return the IoU of the object classes that have true pixels, by name."""
    true = np.array(record["confusion"]).sum(axis=1)
    scores = list(record["per_class"].items())[BACKGROUND + 1 :]
    return {name: each["iou"] for (name, each), pixels in zip(scores, true[BACKGROUND + 1 :], strict=True) if pixels}


def _confusions(record: Record) -> list[str]:
    """Describe the most frequent confusions of one object class with another."""
    matrix, names = np.array(record["confusion"], float), list(record["per_class"])
    shares = np.divide(matrix, matrix.sum(axis=1, keepdims=True), out=np.zeros_like(matrix), where=matrix > 0)
    shares[BACKGROUND] = shares[:, BACKGROUND] = 0
    np.fill_diagonal(shares, 0)
    worst = np.argsort(-shares, axis=None, kind="stable")[:CONFUSIONS_SHOWN]
    pairs = [np.unravel_index(place, shares.shape) for place in worst]
    return [
        f"{percent(shares[true, called])} of the true {friendly(names[true])} pixels are called "
        f"{friendly(names[called])}."
        for true, called in pairs
        if shares[true, called] >= CONFUSION_FROM_SHARE
    ]


def _missed_pixels(record: Record) -> str:
    """Describe the shares of object pixels called background, and of background pixels called objects."""
    matrix, names = np.array(record["confusion"]), list(record["per_class"])
    only = only_class(record)
    noun = "object" if only in (None, ANY_OBJECT_NAME) else only
    true, called = matrix[BACKGROUND + 1 :].sum(axis=1), matrix[:, BACKGROUND + 1 :].sum()
    sentences = []
    if true.sum():
        missed = matrix[BACKGROUND + 1 :, BACKGROUND]
        told = f"{percent(missed.sum() / true.sum())} of the true {noun} pixels are missed: they are called background"
        shares = np.divide(missed, true, out=np.zeros(len(true)), where=true > 0)
        worst = int(shares.argmax())
        if np.count_nonzero(true) > 1 and shares[worst] >= CONFUSION_FROM_SHARE:
            told += f", most of all those of {friendly(names[worst + 1])} ({percent(shares[worst])})"
        sentences.append(f"{told}.")
    if called:
        extra = matrix[BACKGROUND, BACKGROUND + 1 :].sum() / called
        sentences.append(f"{percent(extra)} of the pixels called {with_article(noun)} are background.")
    return " ".join(sentences)


def _imagined(record: Record) -> str:
    """Describe the classes that are predicted but in no image's truth. Their IoU of 0 lowers the mean."""
    matrix, names = np.array(record["confusion"]), list(record["per_class"])
    seen = matrix.sum(axis=0).astype(bool) & ~matrix.sum(axis=1).astype(bool)
    imagined = [friendly(name) for name, is_so in zip(names, seen, strict=True) if is_so]
    if not imagined or only_class(record) is not None:
        return ""
    return f"Seen, but in no image's truth: {listed(imagined)}. Each counts with an IoU of 0 in the means."


def confidence_sentence(record: Record) -> str:
    """Describe whether the model's confidence is reliable, with an example; empty if it was not measured."""
    reliability = record.get("reliability")
    if not reliability or reliability["calibration_error"] is None:
        return ""
    error = reliability["calibration_error"]
    calibrated = calibration_remark(reliability)
    if error < CALIBRATED_BELOW:
        differ = f"the two differ by {100 * error:.1f} percentage points"
        return f"The model is about as sure as it is right: {differ}. {calibrated}"
    bins = [each for each in reliability["bins"] if each["pixels"]]
    surplus = sum(each["pixels"] * (each["confidence"] - each["accuracy"]) for each in bins)
    sign = 1 if surplus >= 0 else -1
    pixels = [each["pixels"] for each in bins]
    telling = [each for each in bins if each["pixels"] >= min(TELLING_BIN_SHARE * sum(pixels), max(pixels))]
    example = max(telling, key=lambda each: sign * (each["confidence"] - each["accuracy"]))
    told = "The model is over-confident" if sign > 0 else "The model is less sure than it could be"
    says, right = _surely(example["confidence"]), _surely(example["accuracy"])
    return f"{told}: where it says {says}, it is right {right} of the time. {calibrated}"


def calibration_remark(reliability: Record) -> str:
    """Describe whether the confidence is calibrated, and whether that helps on these images."""
    if reliability.get("temperature") is None:
        return "Its confidence has not been calibrated."
    errors = reliability["calibration_error"], reliability["calibration_error_before"]
    after, before = (f"{100 * error:.1f}" for error in errors)
    if after == before:
        return f"Its confidence is calibrated, which makes no difference on these images: {after} points either way."
    effect = "helps" if errors[0] < errors[1] else "does not help"
    numbers = f"the mean difference is {after} points with it, {before} without"
    return f"Its confidence is calibrated, which {effect} on these images: {numbers}."


def _surely(share: float) -> str:
    """Return the share as `percent` does, but "over 99 %" for shares just below 1."""
    return "over 99 %" if 0.995 <= share < 1 else percent(share)


def _left_out(record: Record) -> str:
    skipped = len(record["skipped"])
    if not skipped:
        return ""
    return f"{count_of_images(skipped)} could not be read and {'is' if skipped == 1 else 'are'} in none of the numbers."
