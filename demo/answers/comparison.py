"""Compares one result with its truth: scores, verdict, map of errors, and the other values that a tab shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from demo.answers import photographs
from demo.answers.certainty import Certainty
from demo.view import pictures
from segcore.classes import BACKGROUND, IGNORE_INDEX
from segcore.evaluation import results, run
from segcore.evaluation.protocols import Protocol
from segcore.evaluation.score import score_image
from segcore.imaging import drawing
from segcore.inference.provenance import Provenance
from segcore.inference.segmentation import Segmentation
from segcore.inference.task import Task
from segcore.metrics import scores
from segcore.models import loading
from segcore.report import terms, verdict
from segcore.truth.dataset import Dataset, ImageId

# The scores that a confusion matrix alone gives.
FLOORS = (
    *("pixel_accuracy", "foreground_mean_iou", "mean_iou", "f1_macro", "f1_weighted", "mse", "mean_accuracy"),
    "frequency_weighted_iou",
)


class Subject(NamedTuple):
    """The image that is scored.

    image_id: None for an image that is in no data set. other_objects: names of its objects outside the model's classes.
    """

    image_id: ImageId | None
    file_name: str
    split: str
    other_objects: Sequence[str]


@dataclass(frozen=True, eq=False)
class ComparedView:
    """The values that a tab shows for a result and its truth.

    matrix: confusion matrix, int64 (n, n), rows are truth. kinds: the kinds in the map of errors, with their numbers of
    pixels. record: for files and the endpoint.
    """

    viewer: dict
    task: Task
    judgement: verdict.Verdict
    warning: str
    matrix: np.ndarray
    kinds: Sequence[tuple[drawing.ErrorKind, int]]
    provenance: Provenance
    network_runs: int
    protocol: Protocol
    record: dict
    prediction: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)

    @property
    def verdict(self) -> str:
        """The headline in English."""
        return self.judgement.sentence

    @property
    def all_background(self) -> dict[str, float]:
        """The scores of a prediction of nothing but background, by their keys."""
        matrix = np.zeros_like(self.matrix)
        matrix[:, BACKGROUND] = self.matrix.sum(axis=1)
        found = scores(matrix)
        return {key: found[key] for key in FLOORS} | {"brier": found["mse"]}  # without any doubt


def against_truth(
    result: Segmentation,
    truth: np.ndarray,
    task: Task,
    chosen: Protocol,
    subject: Subject,
    *,
    certainty: Certainty,
    photo: dict,
    shown_hw: tuple[int, int],
    network_runs: int,
    annotated: tuple[Dataset, ImageId] | None = None,
) -> ComparedView:
    """Compare a result with a truth for `task`, uint8 (H, W) of the scored size. It does not run the network.

    certainty: of the result. photo: the viewer's copy of the photograph. shown_hw: the size of the label maps in the
    viewer. annotated: the dataset and the image whose objects are judged; None if no objects are known.
    """
    temperature = loading.temperature(result.provenance.model)
    scored = score_image(result.logits, truth, task, temperature=temperature, edges=result.edges, annotated=annotated)
    settings = run.settings(result.provenance, chosen, result.provenance.resize, task, subject.split)
    matrix, boundary_iou = scored.counts.matrix, scored.counts.scores()["per_class"]["boundary_iou"]
    errors = drawing.errors_map(truth, scored.prediction, task.num_classes)
    return ComparedView(
        viewer=_comparison(photo, task, certainty, scored.prediction, truth, errors, shown_hw),
        judgement=verdict.verdict(matrix, boundary_iou, task.friendly_names, scored.objects),
        warning=_warning(subject.other_objects, counts_objects=annotated is None or scored.objects is not None),
        task=task,
        matrix=matrix,
        kinds=_kinds(errors),
        provenance=result.provenance,
        network_runs=network_runs,
        protocol=chosen,
        record=results.image_record(settings, subject.image_id, subject.file_name, scored, task),
        prediction=scored.prediction,
        truth=truth,
        errors=errors,
    )


def _comparison(
    photo: dict,
    task: Task,
    certainty: Certainty,
    prediction: np.ndarray,
    truth: np.ndarray,
    errors: np.ndarray,
    shown_hw: tuple[int, int],
) -> dict:
    """Return the viewer's value: photograph, prediction, truth and errors. Pixels are counted at the scored size."""
    unpainted = photographs.unpainted(task)
    error_legend = [
        pictures.legend_entry(kind.number, kind.name, kind.color, f"{pixels:,} px")
        for kind, pixels in _kinds(errors)
        if kind.color
    ]
    panels = [
        pictures.panel("Photograph"),
        pictures.panel(
            "Prediction",
            _resized(prediction, shown_hw),
            _shares(task, prediction),
            unpainted=unpainted,
            certainty=certainty.encoded(prediction, task),
        ),
        pictures.panel("Ground truth", _resized(truth, shown_hw), _shares(task, truth), unpainted=unpainted),
        pictures.panel(
            "Errors",
            _resized(errors, shown_hw),
            error_legend,
            group="errors",
            unpainted={0: "rightly background"},
            named=False,
        ),
    ]
    return pictures.view(photo, panels, layout="grid")


def _resized(labels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a label map by nearest neighbours."""
    if labels.shape == size_hw:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size_hw[::-1], Image.Resampling.NEAREST))


def _kinds(errors: np.ndarray) -> list[tuple[drawing.ErrorKind, int]]:
    """Return the kinds of error in the map, with their numbers of pixels."""
    pixels = drawing.count_errors(errors)
    return [(kind, pixels[kind.name]) for kind in drawing.ERROR_KINDS if pixels[kind.name]]


def _shares(task: Task, labels: np.ndarray) -> list[dict]:
    # Not np.bincount: it would allocate 8 bytes per pixel.
    pixels = np.array([np.count_nonzero(labels == number) for number in range(task.num_classes)])
    numbers = [number for number in np.argsort(-pixels, kind="stable") if pixels[number]]
    entries = [
        pictures.legend_entry(int(number), task.friendly_names[number], photographs.color_of(task, number))
        for number in numbers
        if number != BACKGROUND
    ]
    if IGNORE_INDEX in labels:
        entries.append(pictures.legend_entry(IGNORE_INDEX, "left out", "#9a9a9a"))
    return entries


def _warning(other_objects: Sequence[str], *, counts_objects: bool) -> str:
    """Return what a reader must know about the truth, one or two lines; usually an empty text."""
    sentences = []
    if other_objects:
        sentences.append(
            f"This picture also holds objects that the model does not know ({', '.join(other_objects)}). "
            "The truth counts them as background, so calling one of them a known class is scored as wrong."
        )
    if not counts_objects:
        sentences.append(terms.NO_OBJECTS)
    return "\n".join(sentences)
