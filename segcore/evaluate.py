"""A dataset through the steps: decoded ahead, counted image by image, resumable, and summed up at the end."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import metrics, models, postprocess
from .coco import CocoDataset, CocoImage
from .errors import AnnotationError, Cancelled, ImageError, UsageError
from .protocols import Protocol
from .segmenter import Segmenter
from .task import Logits, Task

SCHEMA = 1
PER_CLASS_KEYS = (*metrics.PER_CLASS_KEYS, "boundary_iou")
Scores = dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Counts:
    """All that is counted of one image, or of several added up; every score is a division away.

    matrix: int64 (n, n), rows are truth; boundary_intersection, boundary_union: int64 (n,); squared_error over
    squared_error_terms is the Brier score.
    """

    matrix: np.ndarray
    boundary_intersection: np.ndarray
    boundary_union: np.ndarray
    squared_error: float
    squared_error_terms: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.matrix + other.matrix,
            self.boundary_intersection + other.boundary_intersection,
            self.boundary_union + other.boundary_union,
            self.squared_error + other.squared_error,
            self.squared_error_terms + other.squared_error_terms,
        )

    @classmethod
    def none(cls, num_classes: int) -> Counts:
        zeros = np.zeros(num_classes, np.int64)
        return cls(np.zeros((num_classes, num_classes), np.int64), zeros, zeros, 0.0, 0)

    def scores(self) -> dict[str, float | np.ndarray]:
        """Every key of the definitions: float, or float64 (n,) for those taken per class; nan where undefined."""
        per_class = metrics.boundary_iou(self.boundary_intersection, self.boundary_union)
        terms = self.squared_error_terms
        return metrics.scores(self.matrix) | {
            "brier": self.squared_error / terms if terms else math.nan,
            "boundary_iou": per_class,
            "mean_boundary_iou": metrics.mean_defined(per_class),
        }


def count(logits: Logits, prediction: np.ndarray, truth: np.ndarray, task: Task) -> Counts:
    """Compare one prediction, uint8 (H, W), with its truth (255 is left out); the logits give the Brier score."""
    matrix = metrics.confusion_matrix(truth, prediction, num_classes=task.num_classes)
    intersection, union = metrics.boundary_counts(truth, prediction, num_classes=task.num_classes)
    error, terms = postprocess.squared_error(logits, truth, binary=task.binary, object_id=task.object_id)
    return Counts(matrix, intersection, union, error, terms)


def overall(scores: dict[str, float | np.ndarray]) -> Scores:
    """The scores that are one number, fit for JSON: undefined is None; `boundary_iou` is the mean over the classes."""
    numbers = {key: value for key, value in scores.items() if np.ndim(value) == 0}
    numbers["boundary_iou"] = numbers.pop("mean_boundary_iou")
    return {key: _json_number(value) for key, value in numbers.items()}


def per_class(scores: dict[str, float | np.ndarray], names: Sequence[str]) -> dict[str, Scores]:
    """The scores of each class by name, fit for JSON."""
    return {name: {key: _json_number(scores[key][row]) for key in PER_CLASS_KEYS} for row, name in enumerate(names)}


def _json_number(value: float) -> float | int | None:
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class Run:
    """What is evaluated and how; two runs of equal `record` give equal counts."""

    segmenter: Segmenter
    dataset: CocoDataset
    protocol: Protocol
    task: Task
    images: tuple[CocoImage, ...]
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"a batch holds at least 1 image, got {self.batch_size}")
        if not self.segmenter.categories == self.dataset.categories == self.task.categories:
            raise UsageError(
                "the model, the ground truth and the task must be of the same categories; open the dataset and make "
                "the task with the segmenter's"
            )

    @property
    def resize(self) -> str:
        return self.protocol.resize_for(self.segmenter.resize)

    def record(self) -> dict[str, object]:
        """The settings, as every exported file says them."""
        return {
            "schema": SCHEMA,
            "model": self.segmenter.model,
            "weights_sha256": self.segmenter.weights_sha256,
            "protocol": self.protocol.name,
            "resize": self.resize,
            **self.task.record(),
            "split": self.dataset.split,
            "device": self.segmenter.device,
            "precision": self.segmenter.precision,
        }

    def caption(self, image: CocoImage) -> str:
        """One line that says what a picture of one of its images shows."""
        return caption(self.record(), f"image {image.id}")

    def batches(self) -> list[tuple[CocoImage, ...]]:
        return [self.images[start : start + self.batch_size] for start in range(0, len(self.images), self.batch_size)]


def caption(record: dict, subject: str) -> str:
    """What was scored and how, in one line: model with its weights, protocol, resize, mode, precision."""
    mode = record["mode"]
    if record["class"] is not None:
        mode += f" ({record['class']}, threshold {record['threshold']})"
    return (
        f"{subject} of {record['split']} - {record['model']} ({record['weights_sha256'][:8]}) - {mode} - "
        f"protocol {record['protocol']}, resize {record['resize']}, {record['device']}, {record['precision']}"
    )


def headline(record: dict) -> str:
    """What `Evaluation.to_dict` gave, in a few lines for a terminal."""
    lines = [caption(record, f"{record['images']} images"), f"{'':24}{'dataset':>10}{'image mean':>12}"]
    for key, value in record["dataset"].items():
        cells = ["-" if each is None else f"{each:.4f}" for each in (value, record["image_mean"][key])]
        if key == "classes_counted":
            cells = [str(value), cells[1]]
        lines.append(f"{key:24}{cells[0]:>10}{cells[1]:>12}")
    return "\n".join(lines)


def choose_images(
    dataset: CocoDataset, *, image_ids: Sequence[int] | None = None, limit: int | None = None
) -> tuple[CocoImage, ...]:
    """The named images, or all, in the order of their ids, at most `limit`. Raises UsageError for unknown ids."""
    images = dataset.images if image_ids is None else tuple(dataset.image(number) for number in sorted(set(image_ids)))
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 image, got {limit}")
    return images[:limit]


@dataclass(frozen=True, eq=False)
class Scored:
    """One image's outcome: its counts, or the reason why it was left out."""

    image: CocoImage
    counts: Counts | None
    skipped: str | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """What a caller may look at while an image is scored: the photograph and both label maps at the scored size."""

    image: CocoImage
    photograph: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of a run; `to_dict` is the command line's JSON."""

    run: Run
    scored: tuple[Scored, ...]
    seconds: float

    @property
    def counted(self) -> list[Scored]:
        return [each for each in self.scored if each.counts is not None]

    @property
    def total(self) -> Counts:
        """All images' counts added up."""
        return sum((each.counts for each in self.counted), Counts.none(self.run.task.num_classes))

    def to_dict(self) -> dict[str, object]:
        """Settings, confusion matrix, dataset and image-mean scores, per class and per image; undefined is None."""
        total, scores = self.total, self.total.scores()
        rows = [overall(each.counts.scores()) for each in self.counted]
        skipped = [
            {"image_id": each.image.id, "file_name": each.image.file_name, "reason": each.skipped}
            for each in self.scored
            if each.counts is None
        ]
        return self.run.record() | {
            "images": len(rows),
            "skipped": skipped,
            "seconds": round(self.seconds, 3),
            "confusion": total.matrix.tolist(),
            "dataset": overall(scores),
            "image_mean": {key: _mean([row[key] for row in rows]) for key in overall(scores)},
            "per_class": per_class(scores, self.run.task.names),
            "per_image": [
                {"image_id": each.image.id, "file_name": each.image.file_name} | row
                for each, row in zip(self.counted, rows, strict=True)
            ],
        }

    def to_csv(self) -> str:
        """The same as a table: a row for the dataset, the image mean, each class and each image; undefined is empty."""
        return to_csv(self.to_dict())


def _mean(values: Sequence[float | None]) -> float | None:
    return _json_number(metrics.mean_defined([math.nan if value is None else value for value in values]))


CSV_SETTINGS = ("model", "weights_sha256", "protocol", "resize", "mode", "class", "threshold", "split", "arithmetic")


def to_csv(record: dict) -> str:
    """What `Evaluation.to_dict` gave, as a table: one row per scope (dataset, image_mean, class, image).

    The column `precision` is the score; the precision of the arithmetic is the column `arithmetic`.
    """
    rows = [{"scope": scope} | record[scope] for scope in ("dataset", "image_mean")]
    rows += [{"scope": "class", "name": name} | scores for name, scores in record["per_class"].items()]
    rows += [{"scope": "image", "name": row["file_name"]} | row for row in record["per_image"]]
    named = record | {"arithmetic": record["precision"]}
    settings = {key: named[key] for key in CSV_SETTINGS}
    numbers = [key for key in record["dataset"]] + [key for key in PER_CLASS_KEYS if key not in record["dataset"]]
    text = io.StringIO()
    columns = ["scope", "name", "image_id", *numbers, *CSV_SETTINGS]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | settings for row in rows)
    return text.getvalue()


def evaluate(
    run: Run,
    *,
    resume: Path | None = None,
    on_image: Callable[[Sample], None] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Evaluation:
    """Score every image of the run; one that cannot be read is named in the outcome and left out.

    resume: a folder that keeps each image's counts, so that an interrupted run goes on where it was; batches are
    composed the same way whatever was done before. on_image sees each newly scored image; progress counts images.

    Raises UsageError where `resume` holds another run, and Cancelled (what was finished is in `resume`).
    """
    started = time.perf_counter()
    journal = _Journal(resume, run) if resume else None
    done = journal.read() if journal else {}
    scored: list[Scored] = []
    if progress:
        progress(0, len(run.images))
    with ThreadPoolExecutor(max_workers=1) as ahead:
        for batch in _batches_to_score(run, done, ahead, cancel):
            fresh = batch.done or _score_batch(run, batch, on_image)
            if journal and not batch.done:
                journal.append([each for each in fresh if each.counts])
            scored += fresh
            if progress:
                progress(len(scored), len(run.images))
    return Evaluation(run, tuple(scored), time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Images to go through the network together: decoded, or already done before."""

    images: tuple[CocoImage, ...]
    loaded: list[tuple[np.ndarray, torch.Tensor, np.ndarray] | str]  # photograph, tensor and truth, or why not
    done: list[Scored]


def _batches_to_score(
    run: Run, done: dict[int, Scored], ahead: ThreadPoolExecutor, cancel: threading.Event | None
) -> Iterator[_Batch]:
    """Yield the run's batches in order, the next one being decoded while the caller works on this one."""

    def load(images: tuple[CocoImage, ...]) -> _Batch:
        if all(image.id in done for image in images):
            return _Batch(images, [], [done[image.id] for image in images])
        return _Batch(images, [_load(run, image) for image in images], [])

    upcoming = None
    for images in run.batches():
        following = ahead.submit(load, images)
        if upcoming:
            yield upcoming.result()
        if cancel and cancel.is_set():
            raise Cancelled("the evaluation was stopped; a folder to resume from keeps what was finished")
        upcoming = following
    if upcoming:
        yield upcoming.result()


def _load(run: Run, image: CocoImage) -> tuple[np.ndarray, torch.Tensor, np.ndarray] | str:
    preprocess = models.preprocess_for(run.segmenter.model, run.resize)
    try:
        photograph = run.dataset.read_image(image.id)
        return photograph, preprocess(photograph), run.protocol.truth_at_scored_size(run.dataset, image.id, preprocess)
    except (ImageError, AnnotationError) as error:
        return str(error)


def _score_batch(run: Run, batch: _Batch, on_image: Callable[[Sample], None] | None) -> list[Scored]:
    logits = _run_network(run.segmenter, [each for each in batch.loaded if not isinstance(each, str)])
    scored = []
    for image, loaded in zip(batch.images, batch.loaded, strict=True):
        if isinstance(loaded, str):
            scored.append(Scored(image, None, loaded))
            continue
        photograph, _, labels = loaded
        truth, values = run.task.truth(labels), next(logits)
        prediction = run.task.predict(values, truth.shape)
        scored.append(Scored(image, count(values, prediction, truth, run.task)))
        if on_image:
            on_image(Sample(image, photograph, prediction, truth))
    return scored


def _run_network(segmenter: Segmenter, loaded: list[tuple]) -> Iterator[torch.Tensor]:
    """The logits of each image in order; images of one size go through the network together."""
    by_size: dict[torch.Size, list[int]] = {}
    for position, (_, tensor, _) in enumerate(loaded):
        by_size.setdefault(tensor.shape, []).append(position)
    logits: dict[int, torch.Tensor] = {}
    for positions in by_size.values():
        batch = torch.cat([loaded[position][1] for position in positions])
        logits.update(zip(positions, segmenter.predict_logits(batch), strict=True))
    return (logits[position] for position in range(len(loaded)))


class _Journal:
    """A file of one JSON line per scored image behind a first line that says what is evaluated.

    Images that were left out are not in it, so that they are tried again once they have been mended.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.path = folder / "progress.jsonl"
        self.images = {image.id: image for image in run.images}
        made_of = {"batch_size": run.batch_size, "image_ids": list(self.images), "ground_truth": _fingerprint(run)}
        self.header = json.dumps(run.record() | made_of)
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[int, Scored]:
        """What was finished before, by image id; a last line that was cut off is dropped from the file."""
        if not self.path.exists():
            self.path.write_text(self.header + "\n", encoding="utf-8")
            return {}
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        if not lines or not lines[0].endswith("\n"):
            self.path.unlink()
            return self.read()
        if lines[0].rstrip("\n") != self.header:
            raise UsageError(
                f"{self.path} belongs to a run with other settings or images; give --resume another folder"
            )
        if not lines[-1].endswith("\n"):
            self.path.write_text("".join(lines[:-1]), encoding="utf-8")
            lines.pop()
        try:
            return {each.image.id: each for each in map(self._decode, lines[1:])}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{self.path} is damaged ({error!r}); give --resume another folder") from error

    def append(self, scored: list[Scored]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(self._encode(each) for each in scored)

    def _encode(self, scored: Scored) -> str:
        counts = {key: np.asarray(value).tolist() for key, value in vars(scored.counts).items()}
        return json.dumps({"image_id": scored.image.id} | counts) + "\n"

    def _decode(self, line: str) -> Scored:
        record = json.loads(line)
        image = self.images[record.pop("image_id")]
        arrays = {key: np.array(value, np.int64) for key, value in record.items() if isinstance(value, list)}
        return Scored(image, Counts(**record | arrays))


def _fingerprint(run: Run) -> str:
    """The SHA-256 of the records and annotations of a run's images: counts taken with others must not be added to."""
    digest = hashlib.sha256()
    for image in run.images:
        digest.update(repr((image, run.dataset.objects.get(image.id))).encode())
    return digest.hexdigest()
