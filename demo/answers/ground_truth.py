"""What the tabs show of a result beside its truth, as plain functions from inputs to outputs; no Gradio."""

from __future__ import annotations

import functools
import json
import math
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from demo.answers import photographs
from demo.answers.datasets import OTHER_CATEGORIES
from demo.answers.model_pool import Engine
from demo.view import pictures
from segcore.classes import BACKGROUND, IGNORE_INDEX
from segcore.errors import UsageError
from segcore.evaluation import results, run
from segcore.evaluation.protocols import Protocol, protocol
from segcore.evaluation.score import ImageScore, score_image
from segcore.imaging import drawing, figures, reading
from segcore.inference.provenance import MadeBy
from segcore.inference.segmentation import Segmentation
from segcore.inference.task import Task
from segcore.models import loading
from segcore.report import terms, verdict, words
from segcore.truth import supplied
from segcore.truth.dataset import Dataset, ImageId

# To compare a photograph of 100 megapixels with its truth takes hundreds of megabytes, and seconds.
LARGE = 20_000_000  # pixels
LARGE_AT_A_TIME = 2
_room_for_large = threading.BoundedSemaphore(LARGE_AT_A_TIME)


@dataclass(frozen=True, eq=False)
class Compared:
    """One image of a data set with its prediction, and what was computed for this visitor before."""

    dataset: Dataset = field(repr=False)
    image_id: ImageId
    photo: dict = field(repr=False)  # the screen copy as the viewer takes it
    result: Segmentation
    results: dict[tuple, Segmentation] = field(default_factory=dict, repr=False)
    network_runs: int = 0
    protocol: str = "original"  # by which it was asked for, which may have chosen the resize

    @property
    def path(self) -> Path:
        return self.dataset.path(self.image_id)

    @functools.cached_property
    def sharp(self) -> Segmentation:
        """The result with borders that follow the photograph."""
        return self.result.refined(self.dataset.read_image(self.image_id))


class Subject(NamedTuple):
    """Which picture is scored; image_id is None outside data sets; other_objects are of none of the model's classes."""

    image_id: ImageId | None
    file_name: str
    split: str
    other_objects: Sequence[str]


@dataclass(frozen=True, eq=False)
class ComparedView:
    """All that a tab shows of a result beside its truth.

    matrix: confusion matrix, int64 (n, n), rows are truth. kinds: the kinds of the map of errors that occur, with their
    pixels. record: what files and the endpoint say.
    """

    viewer: dict
    task: Task
    verdict: str
    warning: str
    matrix: np.ndarray
    kinds: Sequence[tuple[drawing.ErrorKind, int]]
    made_by: MadeBy
    network_runs: int
    protocol: Protocol
    record: dict
    prediction: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)


def compare(
    engine: Engine,
    before: Compared | None,
    dataset: Dataset,
    image_id: ImageId,
    model: str,
    protocol_name: str,
    resize: str,
) -> Compared:
    """Segment one image of the dataset as `evaluate` does, in float32, unless this visitor had just that before.

    Raises SegcoreError in words for the visitor.
    """
    resize = protocol(protocol_name).resize_for(resize)
    kept = before.results if before else {}
    path = dataset.path(image_id)
    key = (path, engine.resolve(model), resize)
    same_image, ran = before is not None and before.path == path, key not in kept
    photograph = None if same_image and not ran else dataset.read_image(image_id)
    if same_image:
        photo = before.photo
    else:
        photo = pictures.encode_photo(reading.fit_within(photograph, photographs.SCREEN_SIDE))
    result = engine.segment(photograph, model, resize=resize, exact=True) if ran else kept[key]
    runs = (before.network_runs if before else 0) + ran
    return Compared(dataset, image_id, photo, result, photographs.remembered(kept, key, result), runs, protocol_name)


def is_known(engine: Engine, compared: Compared, model: str, protocol_name: str, resize: str) -> bool:
    """Whether the image in view was segmented so before, so that nothing has to run."""
    return (compared.path, engine.resolve(model), protocol(protocol_name).resize_for(resize)) in compared.results


def view_compared(compared: Compared, task: Task, protocol_name: str, sharp: bool = False) -> ComparedView:
    """Set the prediction against the dataset's truth by a protocol; runs no network.

    sharp: with borders that follow the photograph.
    """
    if compared.dataset.categories != task.categories:
        raise UsageError(OTHER_CATEGORIES)
    dataset, chosen = compared.dataset, protocol(protocol_name)
    preprocess = loading.preprocess_for(compared.result.made_by.model, compared.result.made_by.resize)
    truth = task.truth(chosen.truth_at_scored_size(dataset, compared.image_id, preprocess))
    photo = compared.photo
    if chosen.name == "report":  # compared squeezed, so shown squeezed
        photo = pictures.encode_photo(preprocess.resize_image(dataset.read_image(compared.image_id)))
    subject = Subject(
        compared.image_id,
        dataset.image(compared.image_id).file_name,
        dataset.split,
        dataset.other_categories(compared.image_id),
    )
    result = compared.sharp if sharp else compared.result
    scored = _score(result, truth, task, (dataset, compared.image_id))
    view = _view(
        scored,
        result,
        task,
        chosen,
        subject,
        photo=photo,
        shown_hw=truth.shape,
        network_runs=compared.network_runs,
    )
    if scored.objects is None:
        return replace(view, warning=f"{view.warning} {terms.NO_OBJECTS}".strip())
    objects = words.objects_sentence(scored.objects, task.friendly_names) if scored.objects else ""
    return replace(view, verdict=f"{view.verdict} {objects}".strip())


def view_own_truth(shown: photographs.Shown, task: Task, sharp: bool = False) -> ComparedView:
    """Set the prediction of a visitor's photograph against the truth that they brought, at the photograph's full size.

    Of large ones, LARGE_AT_A_TIME at a time. Raises LabelError where their truth says nothing on this task.
    """
    with _room_for_large if math.prod(shown.result.size_hw) > LARGE else nullcontext():
        result = shown.seen(sharp)
        return _view(
            _score(result, shown.truth.labels(task), task),
            result,
            task,
            protocol("original"),
            Subject(None, shown.source.name, supplied.SPLIT, shown.truth.others),
            photo=shown.photo,
            shown_hw=shown.screen.shape[:2],
            network_runs=shown.network_runs,
        )


def _view(
    scored: ImageScore,
    result: Segmentation,
    task: Task,
    chosen: Protocol,
    subject: Subject,
    *,
    photo: dict,
    shown_hw: tuple[int, int],
    network_runs: int,
) -> ComparedView:
    """What a tab shows of one scored image.

    photo: what the viewer gets of the photograph; shown_hw: the size at which it shows the label maps.
    """
    prediction, truth, counted = scored.prediction, scored.truth, scored.counts
    settings = run.settings(result.made_by, chosen, result.made_by.resize, task, subject.split)
    boundary_iou = counted.scores()["per_class"]["boundary_iou"]
    errors = drawing.errors_map(truth, prediction, task.num_classes)
    return ComparedView(
        viewer=_comparison(photo, task, prediction, truth, errors, shown_hw),
        verdict=verdict.verdict(counted.matrix, boundary_iou, task.friendly_names).sentence,
        warning=_other_objects(subject.other_objects),
        task=task,
        matrix=counted.matrix,
        kinds=_kinds(errors),
        made_by=result.made_by,
        network_runs=network_runs,
        protocol=chosen,
        record=results.image_record(settings, subject.image_id, subject.file_name, scored, task),
        prediction=prediction,
        truth=truth,
        errors=errors,
    )


def _score(
    result: Segmentation, truth: np.ndarray, task: Task, annotated: tuple[Dataset, ImageId] | None = None
) -> ImageScore:
    """Set a result against a truth as `task` counts it, uint8 (H, W) of the scored size; runs no network."""
    temperature = loading.temperature(result.made_by.model)
    return score_image(result.logits, truth, task, temperature=temperature, edges=result.edges, annotated=annotated)


def _comparison(
    photo: dict,
    task: Task,
    prediction: np.ndarray,
    truth: np.ndarray,
    errors: np.ndarray,
    shown_hw: tuple[int, int],
) -> dict:
    """The viewer's value: photograph, prediction, truth and errors side by side; its numbers are of the scored size."""
    unpainted = photographs.unpainted(task)
    error_legend = [
        pictures.legend_entry(kind.number, kind.name, kind.color, f"{pixels:,} px")
        for kind, pixels in _kinds(errors)
        if kind.color
    ]
    panels = [
        pictures.panel("Photograph"),
        pictures.panel("Prediction", _resized(prediction, shown_hw), _shares(task, prediction), unpainted=unpainted),
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
    """A label map at another size by nearest neighbours, itself where it has that size."""
    if labels.shape == size_hw:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size_hw[::-1], Image.Resampling.NEAREST))


def _kinds(errors: np.ndarray) -> list[tuple[drawing.ErrorKind, int]]:
    """The kinds of error that the map holds, with their pixels."""
    pixels = drawing.count_errors(errors)
    return [(kind, pixels[kind.name]) for kind in drawing.ERROR_KINDS if pixels[kind.name]]


def _shares(task: Task, labels: np.ndarray) -> list[dict]:
    # Not bincount: it would make a copy of 8 bytes a pixel.
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


def _other_objects(names: Sequence[str]) -> str:
    """The warning about objects that are of none of the model's classes."""
    if not names:
        return ""
    return (
        f"This picture also holds objects that the model does not know ({', '.join(names)}). "
        "The truth counts them as background, so calling one of them a known class is scored as wrong."
    )


def figure(photograph: np.ndarray, view: ComparedView, task: Task, folder: Path) -> Path:
    """The report's figure, photograph, uint8 (h, w, 3), prediction and truth side by side, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    image_id, file_name = view.record["image_id"], view.record["file_name"]
    path = folder / f"{Path(file_name).stem}_figure.png"
    path.write_bytes(
        figures.figure(
            photograph,
            view.prediction,
            view.truth,
            title=run.caption(view.record, file_name if image_id is None else f"image {image_id}"),
            names=task.friendly_names,
            palette=task.palette,
        )
    )
    return path


def scores_file(view: ComparedView, folder: Path, suffix: str) -> Path:
    """The record of one comparison as .json or .csv, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(view.record['file_name']).stem}_scores{suffix}"
    if suffix == ".json":
        text = json.dumps(view.record, indent=1, allow_nan=False)
    else:
        row = {"image_id": view.record["image_id"], "file_name": view.record["file_name"]} | view.record["dataset"]
        text = results.to_csv(view.record | {"image_mean": view.record["dataset"], "per_image": [row]})
    path.write_text(text, encoding="utf-8")
    return path


def evaluate_for_program(
    engine: Engine, dataset: Dataset, image_id: str, mode: str, class_name: str, protocol_name: str, model: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """`/evaluate_coco`: prediction, truth and errors over the photograph at the scored size, and the scores.

    image_id: as a person writes it.
    """
    image_id = dataset.id_of(image_id)
    compared = compare(engine, None, dataset, image_id, model, protocol_name, "squeeze")
    task = Task(mode, class_name, categories=compared.result.categories)
    view = view_compared(compared, task, protocol_name)
    height, width = view.truth.shape
    photograph = np.asarray(
        Image.fromarray(dataset.read_image(image_id)).resize((width, height), Image.Resampling.BILINEAR)
    )
    pictures = (
        drawing.overlay(photograph, view.prediction, palette=task.palette),
        drawing.overlay(photograph, view.truth, palette=task.palette),
        drawing.overlay(photograph, view.errors, palette=drawing.ERROR_PALETTE),
    )
    return *pictures, view.record
