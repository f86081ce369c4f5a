"""What the ground-truth tab does, as plain functions from inputs to outputs; knows nothing of Gradio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo import handlers, tables, viewer_data
from demo.engine import Engine
from segcore import counts, draw, image, metrics, models, results, run
from segcore.classes import BACKGROUND, IGNORE_INDEX
from segcore.coco import CocoDataset
from segcore.preprocess import Preprocess
from segcore.protocols import Protocol, protocol
from segcore.segmenter import MadeBy, Segmentation
from segcore.task import Task


@dataclass(frozen=True, eq=False)
class Compared:
    """One image of a COCO folder with its prediction, and what was computed for this visitor before."""

    image_id: int
    photo: dict = field(repr=False)  # the screen copy as the viewer takes it
    result: Segmentation
    results: dict[tuple, Segmentation] = field(default_factory=dict, repr=False)
    network_runs: int = 0


@dataclass(frozen=True, eq=False)
class ComparedView:
    """All that the ground-truth tab shows; `record` is what its files and its endpoint say."""

    viewer: dict
    verdict: str
    warning: str
    overall: str
    per_class: str
    made_by: str
    record: dict
    prediction: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)


def compare(
    engine: Engine,
    before: Compared | None,
    dataset: CocoDataset,
    image_id: int,
    model: str,
    protocol_name: str,
    resize: str,
) -> Compared:
    """Segment one image of the dataset as `evaluate` does, in float32, unless this visitor had just that before.

    Raises SegcoreError in words for the visitor.
    """
    resize = protocol(protocol_name).resize_for(resize)
    results = before.results if before else {}
    key = (image_id, engine.resolve(model), resize)
    same_image, ran = before is not None and before.image_id == image_id, key not in results
    photograph = None if same_image and not ran else dataset.read_image(image_id)
    if same_image:
        photo = before.photo
    else:
        photo = viewer_data.encode_photo(image.fit_within(photograph, handlers.SCREEN_SIDE))
    result = engine.segment(photograph, model, resize=resize, exact=True) if ran else results[key]
    runs = (before.network_runs if before else 0) + ran
    return Compared(image_id, photo, result, handlers.remembered(results, key, result), runs)


def view_compared(
    dataset: CocoDataset, compared: Compared, task: Task, protocol_name: str, *, photo_sent: bool = False
) -> ComparedView:
    """Set the prediction against the truth by a protocol; runs no network.

    `photo_sent`: the visitor's browser has the photograph already.
    """
    chosen = protocol(protocol_name)
    preprocess = models.preprocess_for(compared.result.made_by.model, compared.result.made_by.resize)
    truth = task.truth(chosen.truth_at_scored_size(dataset, compared.image_id, preprocess))
    logits = compared.result.logits
    prediction = task.predict(logits, truth.shape)
    counted = counts.count(logits, prediction, truth, task)
    scores = counted.scores()
    record = _score_record(compared, dataset, task, chosen, scores, counted.matrix)
    errors = draw.errors_map(truth, prediction)
    photo = _photo_as_compared(dataset, compared, chosen, preprocess, sent=photo_sent)
    return ComparedView(
        viewer=_comparison(photo, task, prediction, truth, errors),
        verdict=metrics.verdict(counted.matrix, scores["per_class"]["boundary_iou"], task.friendly_names).sentence,
        warning=_other_objects(dataset.other_categories(compared.image_id)),
        overall=tables.overall(record["dataset"], task),
        per_class=tables.per_class(record["per_class"], counted.matrix, task) + tables.errors(_kinds(errors)),
        made_by=tables.made_by(compared.result.made_by, network_runs=compared.network_runs, protocol=chosen),
        record=record,
        prediction=prediction,
        truth=truth,
        errors=errors,
    )


def _score_record(
    compared: Compared,
    dataset: CocoDataset,
    task: Task,
    chosen: Protocol,
    scores: dict[str, Any],
    matrix: np.ndarray,
) -> dict[str, object]:
    """The settings, this image's scores by the keys of `evaluate`, flat and as a "dataset" of one, and per class."""
    made_by: MadeBy = compared.result.made_by
    numbers = counts.overall(scores)
    return {
        "schema": run.SCHEMA,
        "image_id": compared.image_id,
        "file_name": dataset.image(compared.image_id).file_name,
        "model": made_by.model,
        "weights_sha256": made_by.weights_sha256,
        "protocol": chosen.name,
        "resize": made_by.resize,
        **task.record(),
        "split": dataset.split,
        "device": made_by.device,
        "precision": made_by.precision,
        **numbers,
        "confusion": matrix.tolist(),
        "dataset": numbers,
        "per_class": counts.per_class(scores, task.names),
    }


def _photo_as_compared(
    dataset: CocoDataset, compared: Compared, chosen: Protocol, preprocess: Preprocess, *, sent: bool
) -> dict:
    photo = compared.photo
    if chosen.name == "report":  # compared squeezed, so shown squeezed
        photo = viewer_data.encode_photo(preprocess.resize_image(dataset.read_image(compared.image_id)))
    return viewer_data.already_sent(photo) if sent else photo


def _comparison(photo: dict, task: Task, prediction: np.ndarray, truth: np.ndarray, errors: np.ndarray) -> dict:
    """The viewer's value: photograph, prediction, truth and errors side by side, as they were compared."""
    unpainted = handlers.unpainted(task)
    error_legend = [
        viewer_data.legend_entry(kind.number, kind.name, kind.color, f"{pixels:,} px")
        for kind, pixels in _kinds(errors)
        if kind.color
    ]
    panels = [
        viewer_data.panel("Photograph"),
        viewer_data.panel("Prediction", prediction, _shares(task, prediction), unpainted=unpainted),
        viewer_data.panel("Ground truth", truth, _shares(task, truth), unpainted=unpainted),
        viewer_data.panel(
            "Errors", errors, error_legend, group="errors", unpainted={0: "rightly background"}, named=False
        ),
    ]
    return viewer_data.view(photo, panels, layout="grid")


def _kinds(errors: np.ndarray) -> list[tuple[draw.ErrorKind, int]]:
    """The kinds of error that the map holds, with their pixels."""
    pixels = draw.count_errors(errors)
    return [(kind, pixels[kind.name]) for kind in draw.ERROR_KINDS if pixels[kind.name]]


def _shares(task: Task, labels: np.ndarray) -> list[dict]:
    pixels = np.bincount(labels.ravel(), minlength=256)
    numbers = [number for number in np.argsort(-pixels[: task.num_classes], kind="stable") if pixels[number]]
    entries = [
        viewer_data.legend_entry(int(number), task.friendly_names[number], handlers.color_of(task, number))
        for number in numbers
        if number != BACKGROUND
    ]
    if pixels[IGNORE_INDEX]:
        entries.append(viewer_data.legend_entry(IGNORE_INDEX, "left out", "#9a9a9a"))
    return entries


def _other_objects(names: Sequence[str]) -> str:
    """The warning about objects that are none of the 20 classes."""
    if not names:
        return ""
    return (
        f"This picture also holds objects outside the 20 classes ({', '.join(names)}). "
        "The truth counts them as background, so calling one of them a known class is scored as wrong."
    )


def figure(dataset: CocoDataset, compared: Compared, view: ComparedView, task: Task, folder: Path) -> Path:
    """The report's figure, photograph, prediction and truth side by side, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(view.record['file_name']).stem}_figure.png"
    path.write_bytes(
        draw.figure(
            dataset.read_image(compared.image_id),
            view.prediction,
            view.truth,
            title=run.caption(view.record, f"image {compared.image_id}"),
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
    engine: Engine, dataset: CocoDataset, image_id: int, mode: str, class_name: str, protocol_name: str, model: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """`/evaluate_coco`: prediction, truth and errors over the photograph at the scored size, and the scores."""
    task = Task(mode, class_name)
    compared = compare(engine, None, dataset, image_id, model, protocol_name, "squeeze")
    view = view_compared(dataset, compared, task, protocol_name)
    height, width = view.truth.shape
    photograph = np.asarray(
        Image.fromarray(dataset.read_image(image_id)).resize((width, height), Image.Resampling.BILINEAR)
    )
    pictures = (
        draw.overlay(photograph, view.prediction, palette=task.palette),
        draw.overlay(photograph, view.truth, palette=task.palette),
        draw.overlay(photograph, view.errors, palette=draw.ERROR_PALETTE),
    )
    return *pictures, view.record
