"""Records of evaluations and comparisons, made from a few counts, for the tests of what is told of them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from segcore.classes import VOC_NAMES
from segcore.evaluation.origins import origins
from segcore.metrics import confusion

SETTINGS = {
    "schema": 1,
    "model": "deeplabv3_resnet101",
    "weights_sha256": "586e9e4e" + "0" * 56,
    "protocol": "original",
    "resize": "squeeze",
    "mode": "multiclass",
    "class": None,
    "threshold": None,
    "split": "val2017",
    "device": "cpu",
    "precision": "float32",
    "engine": "torch",
    "tta": False,
    "careful": False,
    "calibration": None,
    "refine": None,
    "seconds": 12.3,
}
# Of 1000 pixels of cats 100 are missed and 200 called dog; of 500 of sofas 120 are called chair.
PIXELS = {
    ("background", "background"): 8000,
    ("background", "cat"): 60,
    ("background", "dog"): 40,
    ("cat", "cat"): 700,
    ("cat", "dog"): 200,
    ("cat", "background"): 100,
    ("dog", "dog"): 400,
    ("dog", "background"): 100,
    ("sofa", "sofa"): 300,
    ("sofa", "chair"): 120,
    ("sofa", "background"): 80,
    ("tvmonitor", "tvmonitor"): 98,
    ("tvmonitor", "background"): 1,
    ("tvmonitor", "cat"): 1,
}


def size_counts(small=(0, 0), medium=(0, 0), large=(0, 0)) -> dict:
    """Found and total of each size, as a record holds them, with their sums."""
    sizes = {"small": small, "medium": medium, "large": large}
    return {
        "total": sum(total for _, total in sizes.values()),
        "found": sum(found for found, _ in sizes.values()),
        "by_size": {name: {"total": total, "found": found} for name, (found, total) in sizes.items()},
    }


def reliability(*bins: tuple[int, float, float]) -> dict:
    """Ten bins; `bins` are pixels, confidence and accuracy, each of which belongs where its confidence says."""
    rows = [{"low": n / 10, "high": (n + 1) / 10, "pixels": 0, "confidence": None, "accuracy": None} for n in range(10)]
    for pixels, confidence, accuracy in bins:
        rows[min(9, int(confidence * 10))] |= {"pixels": pixels, "confidence": confidence, "accuracy": accuracy}
    total = sum(pixels for pixels, _, _ in bins)
    error = sum(pixels * abs(confidence - accuracy) for pixels, confidence, accuracy in bins) / total if total else None
    return {"calibration_error": error, "temperature": None, "calibration_error_before": None, "bins": rows}


def record(pixels=PIXELS, *, names=VOC_NAMES, spread: float | None = 0.02, images: int = 100, **changes) -> dict:
    """A record with these pixels by (truth, prediction), its intervals `spread` wide to both sides; None: without."""
    matrix = np.zeros((len(names), len(names)), np.int64)
    for (truth, prediction), count in pixels.items():
        matrix[names.index(truth), names.index(prediction)] = count
    scores = confusion.scores(matrix) | {"brier": 0.01, "boundary_iou": confusion.scores(matrix)["iou"] / 2}
    dataset = {key: _number(scores[key]) for key in (*confusion.OVERALL_KEYS, "brier")} | {"boundary_iou": 0.25}
    per_class = {
        name: {key: _number(scores[key][row]) for key in (*confusion.PER_CLASS_KEYS, "boundary_iou")}
        for row, name in enumerate(names)
    }
    made = SETTINGS | {
        "images": images,
        "skipped": [],
        "confusion": matrix.tolist(),
        "dataset": dataset,
        "image_mean": {key: None if value is None else value / 2 for key, value in dataset.items()},
        "per_class": per_class,
        "categories": list(VOC_NAMES),
        "intervals": None,
        "reliability": reliability((900, 0.98, 0.97), (100, 0.55, 0.5)),
        "objects": size_counts((21, 97), (30, 40), (45, 50)) | {"per_class": {}},
        "per_image": [image(number, dataset) for number in range(1, images + 1)],
    }
    if spread is not None:
        made["intervals"] = {
            "level": 0.95,
            "resamples": 1000,
            "seed": 0,
            "dataset": _spread(dataset, spread),
            "image_mean": _spread(made["image_mean"], spread),
            "per_class": {name: _spread(each, spread) for name, each in per_class.items()},
        }
    made |= changes
    first = made["per_image"][0]["image_id"] if made["per_image"] else 1  # all pixels are this image's
    return {"origins": origins([SimpleNamespace(id=first)], matrix[None], names)} | made


def image(number: int, scores: dict, **changes) -> dict:
    """The row of one image."""
    file_name = f"{number:012}.jpg"
    return {"image_id": number, "file_name": file_name} | scores | {"objects_total": 3, "objects_found": 2} | changes


def binary_record(
    class_name: str = "person", pixels: tuple[int, int, int, int] = (800, 50, 50, 100), **changes
) -> dict:
    """A record of binary mode; pixels: rightly background, extra, missed, rightly the class."""
    names = ("background", class_name)
    pairs = [(truth, prediction) for truth in names for prediction in names]
    settings = {"mode": "binary", "class": class_name, "threshold": "auto"}
    return record(dict(zip(pairs, pixels, strict=True)), names=names, **settings | changes)


def difference(first: float | None, second: float | None, reach: float | None = 0.01) -> dict:
    """What a comparison says of one score."""
    if first is None or second is None:
        return {"first": first, "second": second, "difference": None, "low": None, "high": None}
    change = second - first
    low, high = (None, None) if reach is None else (change - reach, change + reach)
    return {"first": first, "second": second, "difference": change, "low": low, "high": high}


def comparison(headline: dict | None = None, **iou: dict) -> dict:
    """A comparison of two models by their headline and the IoU of some classes; those not named are undefined."""
    undefined = difference(None, None)
    headline = headline or difference(0.5, 0.581, 0.045)
    return {
        "schema": 1,
        "first": SETTINGS,
        "second": SETTINGS | {"model": "other", "weights_sha256": "f" * 64, "resize": "aspect"},
        "images": 4,
        "level": 0.95,
        "resamples": 1000,
        "seed": 0,
        "dataset": {"pixel_accuracy": difference(0.9, 0.92), "foreground_mean_iou": headline},
        "per_class": {name: {"iou": iou.get(name, undefined)} for name in VOC_NAMES},
        "per_image": [
            {
                "image_id": number,
                "file_name": f"{number}.jpg",
                "first": 0.5,
                "second": 0.5 + change,
                "difference": change,
            }
            for number, change in enumerate((0.25, -0.125, 0.0625, 0.0), start=1)
        ],
    }


def _number(value: float) -> float | int | None:
    return value if isinstance(value, int) else float(value) if math.isfinite(value) else None


def _spread(scores: dict, spread: float) -> dict:
    return {key: None if value is None else [value - spread, value + spread] for key, value in scores.items()}
