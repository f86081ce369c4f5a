"""Compares images of a data set, and visitors' photographs, with their truth. Nothing here imports Gradio."""

from __future__ import annotations

import functools
import json
import math
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from demo.answers import photographs
from demo.answers.certainty import Certainty
from demo.answers.comparison import ComparedView, Subject, against_truth
from demo.answers.datasets import OTHER_CATEGORIES
from demo.answers.model_pool import ModelPool
from demo.view import pictures
from segcore.classes import BACKGROUND
from segcore.errors import UsageError
from segcore.evaluation import results, run
from segcore.evaluation.protocols import protocol
from segcore.imaging import drawing, figures, reading
from segcore.inference.export import Decided
from segcore.inference.segmentation import Segmentation
from segcore.inference.task import Task
from segcore.models import loading
from segcore.truth import supplied
from segcore.truth.dataset import Dataset, ImageId

# Comparing a photograph of 100 megapixels with its truth takes hundreds of megabytes and several seconds.
LARGE = 20_000_000  # pixels
LARGE_AT_A_TIME = 2
_room_for_large = threading.BoundedSemaphore(LARGE_AT_A_TIME)


@dataclass(frozen=True, eq=False)
class Compared:
    """One image of a data set with its prediction, and the earlier results of this visitor."""

    dataset: Dataset = field(repr=False)
    image_id: ImageId
    photo: dict = field(repr=False)  # the screen copy in the viewer's format
    result: Segmentation
    results: dict[tuple, Segmentation] = field(default_factory=dict, repr=False)
    network_runs: int = 0
    protocol: str = "original"  # the requested protocol, which may determine the resize

    @property
    def path(self) -> Path:
        return self.dataset.path(self.image_id)

    @functools.cached_property
    def sharp(self) -> Segmentation:
        """The result with borders that follow the photograph's edges."""
        return self.result.refined(self.dataset.read_image(self.image_id))

    @functools.cached_property
    def certainty(self) -> Certainty:
        """How sure the model is, for every task."""
        return Certainty.of(self.result.logits, self.result.size_hw)


def compare(
    pool: ModelPool,
    before: Compared | None,
    dataset: Dataset,
    image_id: ImageId,
    model: str,
    protocol_name: str,
    resize: str,
) -> Compared:
    """Segment one image of the dataset as `evaluate` does, in float32. Earlier results of the visitor are reused.

    Raises SegcoreError with a message for the visitor.
    """
    resize = protocol(protocol_name).resize_for(resize)
    kept = before.results if before else {}
    path = dataset.path(image_id)
    key = (path, pool.resolve(model), resize)
    photo = before.photo if before is not None and before.path == path else None
    result, ran = kept.get(key), False
    if photo is None or result is None:
        photograph = dataset.read_image(image_id)
        photo = photo or pictures.encode_photo(reading.fit_within(photograph, photographs.SCREEN_SIDE))
        if result is None:
            result, ran = pool.segment_file(path, photograph, model, resize=resize, exact=True)
    runs = (before.network_runs if before else 0) + ran
    return Compared(dataset, image_id, photo, result, photographs.remembered(kept, key, result), runs, protocol_name)


def is_known(pool: ModelPool, compared: Compared, model: str, protocol_name: str, resize: str) -> bool:
    """Whether there is a result of the shown image with these settings, so that the network need not run."""
    return (compared.path, pool.resolve(model), protocol(protocol_name).resize_for(resize)) in compared.results


def view_compared(compared: Compared, task: Task, protocol_name: str, sharp: bool = False) -> ComparedView:
    """Compare the prediction with the dataset's truth by a protocol. It does not run the network.

    sharp: use borders that follow the photograph's edges.
    """
    if compared.dataset.categories != task.categories:
        raise UsageError(OTHER_CATEGORIES)
    dataset, chosen = compared.dataset, protocol(protocol_name)
    preprocess = loading.preprocess_for(compared.result.provenance.model, compared.result.provenance.resize)
    truth = task.truth(chosen.truth_at_scored_size(dataset, compared.image_id, preprocess))
    photo = compared.photo
    if chosen.at_input_size and chosen.resize == "squeeze":  # it compares squeezed images, so it shows them squeezed
        photo = pictures.encode_photo(preprocess.resize_image(dataset.read_image(compared.image_id)))
    subject = Subject(
        compared.image_id,
        dataset.image(compared.image_id).file_name,
        dataset.split,
        dataset.other_categories(compared.image_id),
    )
    return against_truth(
        compared.sharp if sharp else compared.result,
        truth,
        task,
        chosen,
        subject,
        certainty=compared.certainty,
        photo=photo,
        shown_hw=truth.shape,
        network_runs=compared.network_runs,
        annotated=(dataset, compared.image_id),
    )


def view_own_truth(shown: photographs.Shown, truth: supplied.OwnTruth, task: Task, sharp: bool = False) -> ComparedView:
    """Compare the prediction of a visitor's photograph with the truth that they uploaded, at the full size.

    At most LARGE_AT_A_TIME large photographs are compared at once. Raises LabelError if the truth does not suit the
    task.
    """
    with _room_for_large if math.prod(shown.result.size_hw) > LARGE else nullcontext():
        return against_truth(
            shown.seen(sharp),
            truth.labels(task),
            task,
            protocol("original"),
            Subject(None, shown.source.name, supplied.SPLIT, truth.others),
            certainty=shown.certainty,
            photo=shown.photo,
            shown_hw=shown.screen.shape[:2],
            network_runs=shown.network_runs,
        )


def figure(
    photograph: np.ndarray,
    result: Segmentation,
    view: ComparedView,
    folder: Path,
    visible: photographs.Visible = photographs.EVERYTHING,
) -> Path:
    """Write a figure of photograph, uint8 (h, w, 3), prediction and truth into `folder`. Returns its path.

    result: the compared one. visible: the labels and the least probability that are painted, as in the viewer; the
    truth has no probability.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image_id, file_name = view.record["image_id"], view.record["file_name"]
    path = folder / f"{Path(file_name).stem}_figure.png"
    seen = Decided(result, view.task, view.prediction).visible(visible.hidden, visible.at_least)
    path.write_bytes(
        figures.figure(
            photograph,
            seen.prediction,
            np.where(np.isin(view.truth, list(visible.hidden)), np.uint8(BACKGROUND), view.truth),
            title=run.caption(view.record, file_name if image_id is None else f"image {image_id}"),
            names=view.task.friendly_names,
            palette=view.task.palette,
        )
    )
    return path


def scores_file(view: ComparedView, folder: Path, suffix: str) -> Path:
    """Write the record of one comparison as .json or .csv into `folder`. Returns its path."""
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
    pool: ModelPool, dataset: Dataset, image_id: str, mode: str, class_name: str, protocol_name: str, model: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Answer `/evaluate_coco`: prediction, truth and errors over the photograph at the scored size, and the scores.

    image_id: as text.
    """
    chosen = dataset.id_of(image_id)
    compared = compare(pool, None, dataset, chosen, model, protocol_name, "squeeze")
    task = Task(mode, class_name, categories=compared.result.categories)
    view = view_compared(compared, task, protocol_name)
    height, width = view.truth.shape
    photograph = np.asarray(
        Image.fromarray(dataset.read_image(chosen)).resize((width, height), Image.Resampling.BILINEAR)
    )
    painted = (
        drawing.overlay(photograph, view.prediction, palette=task.palette),
        drawing.overlay(photograph, view.truth, palette=task.palette),
        drawing.overlay(photograph, view.errors, palette=drawing.ERROR_PALETTE),
    )
    return *painted, view.record
