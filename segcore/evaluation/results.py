"""The outcome of an evaluation as dictionary, table and text: every score, with its 95 % interval."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..metrics import confusion
from . import counts
from .bootstrap import intervals
from .counts import OVERALL_KEYS, PER_CLASS_KEYS, Counts
from .objects import found_of, objects_record
from .run import Run, Scored

RANKED_BY = "foreground_mean_iou"
_FORMULA = tuple("=+-@＝＋－＠")  # how a formula begins in a spreadsheet
_BLANKS = str.maketrans("\t\r\n", "   ")  # spreadsheets leave them out before they look, and end a row at the last two
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
    "careful",
    "refine",
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of a run, or of a part of it; `to_dict` is the command line's JSON.

    The images may be given in any order: what follows from them is the same.
    """

    run: Run
    scored: tuple[Scored, ...]
    seconds: float

    @cached_property
    def counted(self) -> list[Scored]:
        """The images that were not left out, by id."""
        return sorted((each for each in self.scored if each.counts), key=lambda each: each.image.id)

    @cached_property
    def per_image(self) -> Counts:
        """The counts of the images that were counted, along the first axis."""
        return Counts.stacked([each.counts for each in self.counted], self.run.task.num_classes)

    def to_dict(self) -> dict[str, object]:
        """Settings, confusion matrix, dataset and image-mean scores with intervals, per class, per image, objects,
        reliability and all classes of the model; undefined is None, and so is what needs objects where the truth does
        not tell them apart.
        """
        names = self.run.task.names
        total, by_image = self.per_image.total(), self.per_image.scores()
        scores = total.scores()
        left_out = sorted((each for each in self.scored if not each.counts), key=lambda each: each.image.id)
        return self.run.record() | {
            "images": len(self.counted),
            "skipped": [
                {"image_id": each.image.id, "file_name": each.image.file_name, "reason": each.skipped}
                for each in left_out
            ],
            "seconds": round(self.seconds, 3),
            "confusion": total.matrix.tolist(),
            "dataset": counts.overall(scores),
            "image_mean": {key: counts.json_number(confusion.mean_defined(by_image[key])) for key in OVERALL_KEYS},
            "per_class": counts.per_class(scores, names),
            "categories": list(self.run.task.categories.names),
            "intervals": intervals(self.per_image, names),
            "reliability": total.reliability_record(self.run.segmenter.temperature),
            "objects": self._objects_record(),
            "per_image": [
                {"image_id": each.image.id, "file_name": each.image.file_name}
                | counts.overall(by_image, row)
                | found_of(each.objects)
                for row, each in enumerate(self.counted)
            ],
        }

    def _objects_record(self) -> dict[str, object] | None:
        if not self.run.dataset.has_objects:
            return None
        outcomes = [outcome for each in self.counted for outcome in each.objects]
        return objects_record(outcomes, self.run.task.categories.names)

    def to_csv(self) -> str:
        """The same as a table: a row for the dataset, the image mean, each class and each image; undefined is empty."""
        return to_csv(self.to_dict())


def worst_first(record: dict) -> list[dict]:
    """The rows of `per_image`, the lowest foreground mean IoU first; where that is undefined all is as it should be."""
    return sorted(record["per_image"], key=lambda row: 1 if (score := row[RANKED_BY]) is None else score)


def to_csv(record: dict) -> str:
    """What `Evaluation.to_dict` gave, as a table: one row per scope (dataset, image_mean, class, image).

    `<score>_low` and `<score>_high` are the ends of its 95 % interval, where one was taken. The column `precision` is
    the score; the precision of the arithmetic is the column `arithmetic`. A text that a spreadsheet would run as a
    formula has an apostrophe before it.
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
    columns = ["scope", "name", "image_id", *numbers, *_end_names(numbers), *CSV_SETTINGS]
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
