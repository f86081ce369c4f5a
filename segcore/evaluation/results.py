"""The results of an evaluation, or of one image, as a dictionary and as CSV, with 95 % intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..inference.task import Task
from ..metrics import confusion, thresholds
from ..truth.dataset import ImageId
from ..truth.tags import Tags
from . import counts
from .bootstrap import intervals
from .counts import OVERALL_KEYS, PER_CLASS_KEYS, Counts
from .objects import found_of, objects_record
from .origins import origins
from .run import Run, Scored
from .score import ImageScore
from .slices import slices

RANKED_BY = "foreground_mean_iou"
_FORMULA = tuple("=+-@＝＋－＠")  # first characters of a formula in a spreadsheet
_BLANKS = str.maketrans("\t\r\n", "   ")  # spreadsheets ignore a leading tab, and end a row at CR and LF
CSV_SETTINGS = (
    "model",
    "weights_sha256",
    "protocol",
    "resize",
    "mode",
    "class",
    "threshold",
    "split",
    "arithmetic",
    "engine",
    "tta",
    "careful",  # the old name of "tta", until version 0.2
    "refine",
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a run, or of a part of it. `to_dict` is the command line's JSON.

    The order of the images does not matter.
    """

    run: Run
    scored: tuple[Scored, ...]
    seconds: float

    @cached_property
    def counted(self) -> list[Scored]:
        """The images that were not left out, sorted by id."""
        return sorted((each for each in self.scored if each.counts), key=lambda each: each.image.id)

    @cached_property
    def per_image(self) -> Counts:
        """The counts of the images that were counted, along the first axis."""
        return Counts.stacked([each.counts for each in self.counted if each.counts], self.run.task.num_classes)

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """The images that were left out, sorted by id, each with the reason, as JSON values."""
        left_out = sorted((each for each in self.scored if not each.counts), key=lambda each: each.image.id)
        return [
            {"image_id": each.image.id, "file_name": each.image.file_name, "reason": each.skipped} for each in left_out
        ]

    def to_dict(self, tags: Tags | None = None) -> dict[str, Any]:
        """Return settings, confusion matrix, scores of dataset, image mean, classes and images, intervals, objects,
        reliability, the curve over thresholds, the model's classes, the images behind the scores, and the scores of
        parts of the data set.

        tags: of the images; each value is a part of the data set. Undefined values are None; so is "objects" if the
        truth does not separate objects.
        """
        by_image, temperature = self.per_image.scores(), self.run.segmenter.temperature
        quality = self.per_image.label_quality()
        return self.run.record() | {
            "images": len(self.counted),
            "skipped": self.skipped,
            "seconds": round(self.seconds, 3),
            **scores_record(self.per_image, self.run.task, temperature),
            "image_mean": {key: counts.json_number(confusion.mean_defined(by_image[key])) for key in OVERALL_KEYS},
            "threshold_curve": self._threshold_curve(),
            "objects": self._objects_record(),
            "origins": origins([each.image for each in self.counted], self.per_image.matrix, self.run.task.names),
            "slices": slices(self.counted, self.per_image, tags, has_objects=self.run.dataset.has_objects),
            "per_image": [
                {"image_id": each.image.id, "file_name": each.image.file_name}
                | counts.overall(by_image, row)
                | {"label_quality": counts.json_number(quality[row]), "brightness": each.brightness}
                | found_of(each.objects)
                for row, each in enumerate(self.counted)
            ],
        }

    def _threshold_curve(self) -> dict[str, Any] | None:
        """None in multiclass mode, without probabilities, and with refined borders, which have other probabilities."""
        if not self.run.task.binary or self.run.segmenter.refine:
            return None
        return thresholds.record(self.per_image.total().by_threshold)

    def _objects_record(self) -> dict[str, object] | None:
        if not self.run.dataset.has_objects:
            return None
        outcomes = [outcome for each in self.counted for outcome in each.objects or ()]
        return objects_record(outcomes, self.run.task.categories.names)

    def to_csv(self) -> str:
        """Return the scores as CSV: a row for the dataset, the image mean, each class and each image."""
        return to_csv(self.to_dict())


def scores_record(per_image: Counts, task: Task, temperature: float | None) -> dict[str, Any]:
    """Return the scores of N images: confusion matrix, dataset and class scores, intervals, reliability.

    per_image: the counts along a first axis. temperature: the model's, None if it has none.
    """
    total = per_image.total()
    scores = total.scores()
    return {
        "confusion": total.matrix.tolist(),
        "dataset": counts.overall(scores),
        "per_class": counts.per_class(scores, task.names),
        "categories": list(task.categories.names),
        "intervals": intervals(per_image, task.names),
        "reliability": total.reliability_record(temperature),
    }


def image_record(
    settings: dict[str, Any], image_id: ImageId | None, file_name: str, scored: ImageScore, task: Task
) -> dict[str, Any]:
    """Return the record of one image: its scores by the keys of `evaluate`, flat and as a "dataset" of one image.

    settings: the result of `run.settings`. image_id: None for an image that is in no dataset.
    """
    shared = scores_record(Counts.stacked([scored.counts], task.num_classes), task, scored.temperature)
    objects = None if scored.objects is None else objects_record(scored.objects, task.categories.names)
    named = {"image_id": image_id, "file_name": file_name}
    quality = {"label_quality": counts.json_number(scored.counts.label_quality())}
    flat = named | shared["dataset"] | quality | found_of(scored.objects)
    return settings | flat | shared | {"objects": objects}


def worst_first(record: Mapping[str, Any]) -> list[dict]:
    """Return the rows of `per_image`, the lowest foreground mean IoU first. An undefined score counts as perfect."""
    return sorted(record["per_image"], key=lambda row: 1 if (score := row[RANKED_BY]) is None else score)


def most_doubtful_first(record: Mapping[str, Any]) -> list[dict]:
    """Return the rows of `per_image` with a label quality, the lowest first: their truth may be wrong."""
    known = [row for row in record["per_image"] if row.get("label_quality") is not None]
    return sorted(known, key=lambda row: row["label_quality"])


def to_csv(record: dict) -> str:
    """Convert the result of `Evaluation.to_dict` to CSV, with one row per scope (dataset, image_mean, class, image).

    `<score>_low` and `<score>_high` are the ends of the 95 % interval; undefined values are empty. The column
    `precision` is the score; the numeric precision is in the column `arithmetic`. A text that a spreadsheet would take
    for a formula gets a leading apostrophe.
    """
    bounds = record.get("intervals", {"dataset": {}, "image_mean": {}, "per_class": {}})
    rows = [{"scope": scope} | record[scope] | _ends(bounds[scope]) for scope in ("dataset", "image_mean")]
    rows += [
        {"scope": "class", "name": name} | scores | _ends(bounds["per_class"].get(name, {}))
        for name, scores in record["per_class"].items()
    ]
    rows += [{"scope": "image", "name": row["file_name"]} | row for row in record["per_image"]]
    named = record | {"arithmetic": record["precision"]}
    settings = {key: named[key] for key in CSV_SETTINGS}
    numbers = list(dict.fromkeys((*OVERALL_KEYS, *PER_CLASS_KEYS)))
    columns = ["scope", "name", "image_id", *numbers, *_end_names(numbers), "label_quality", *CSV_SETTINGS]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell_text(value) for key, value in (row | settings).items()} for row in rows)
    return text.getvalue()


def _cell_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.translate(_BLANKS)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _end_names(keys: Iterable[str]) -> list[str]:
    return [f"{key}_{end}" for key in keys for end in ("low", "high")]


def _ends(bounds: dict[str, list[float] | None]) -> dict[str, float]:
    defined = {key: ends for key, ends in bounds.items() if ends}
    return dict(zip(_end_names(defined), np.ravel(list(defined.values())).tolist(), strict=True))
