"""A run: the data set, model, protocol and task of an evaluation, and the result of each image."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, runtime_checkable
from typing import Protocol as Interface

import numpy as np
import torch

from ..errors import UsageError
from ..imaging import figures
from ..inference.openvino import Calibration
from ..inference.provenance import arithmetic, arithmetic_record, mode
from ..inference.segmenter import Segmenter
from ..inference.task import Task
from ..models import loading
from ..models.catalogue import public_name
from ..models.transforms import Preprocess
from ..truth.dataset import Dataset, ImageId, ImageRecord
from .counts import Counts
from .objects import ObjectOutcome
from .protocols import Protocol

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Network:
    """The parts of a `Segmenter` that an evaluation needs, for callers that run the network themselves.

    predict_logits: normalised float (N, 3, h, w) -> float32 logits (N, 21, h', w'), on the CPU. on_device: the same,
    but the logits stay on the graphics card, which then predicts and counts; None if that is not possible.
    """

    model: str
    weights_sha256: str
    resize: str
    device: str
    precision: str
    predict_logits: Callable[[torch.Tensor], torch.Tensor]
    engine: str = "torch"
    tta: bool = False
    calibration: Calibration | None = None
    refine: str | None = None
    temperature: float | None = None
    on_device: Callable[[torch.Tensor], torch.Tensor] | None = None


@runtime_checkable
class BatchScorer(Interface):
    """Something that scores batches on other machines, such as a `Cluster`. It has the attributes of a `Network`."""

    model: str
    weights_sha256: str
    resize: str
    device: str
    precision: str
    engine: str
    tta: bool
    calibration: Calibration | None
    refine: str | None
    temperature: float | None

    def score(self, run: Run, batches: Iterable[tuple[ImageRecord, ...]], keep_samples: bool) -> Generator[Outcomes]:
        """Yield the outcomes of each batch of the run's images, in order."""


@dataclass(frozen=True, eq=False)
class Run:
    """The settings and images of an evaluation. Two runs with equal `record` give equal counts.

    segmenter: what predicts; a `Cluster` does so on several machines. dataset: of `open_dataset`. protocol: of
    `evaluation.protocols.protocol`. images: those of the dataset to score, such as `dataset.images`. batch_size: images
    that go through the network together. Raises UsageError for a batch size under 1.
    """

    segmenter: Segmenter | Network | BatchScorer
    dataset: Dataset
    protocol: Protocol
    task: Task
    images: tuple[ImageRecord, ...]
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"a batch holds at least 1 image, got {self.batch_size}")

    @property
    def resize(self) -> str:
        return self.protocol.resize_for(self.segmenter.resize)

    @property
    def preprocess(self) -> Preprocess:
        network = self.segmenter
        if isinstance(network, Segmenter):
            return network.preprocess_for(self.resize)
        return loading.preprocess_for(network.model, self.resize)

    def record(self) -> dict[str, Any]:
        """Return the settings as exported files record them."""
        return settings(self.segmenter, self.protocol, self.resize, self.task, self.dataset.split)

    def caption(self, image: ImageRecord) -> str:
        """Return one line that describes a figure of one of the images."""
        return caption(self.record(), f"image {image.id}")

    def batches(self) -> list[tuple[ImageRecord, ...]]:
        return [self.images[start : start + self.batch_size] for start in range(0, len(self.images), self.batch_size)]


def settings(network: Any, protocol: Protocol, resize: str, task: Task, split: str) -> dict[str, Any]:
    """Return the settings of an evaluation as exported files record them.

    network: a `Segmenter`, a `Network` or a `Provenance`.
    """
    return {
        "schema": SCHEMA,
        "model": public_name(network.model),
        "weights_sha256": network.weights_sha256,
        "protocol": protocol.name,
        "resize": resize,
        **task.record(),
        "split": split,
        **arithmetic_record(network),
    }


def caption(record: Mapping[str, Any], subject: str) -> str:
    """Describe the settings of an evaluation in one line: model and weights, mode, protocol, resize, precision."""
    return (
        f"{subject} of {record['split']} - {record['model']} ({record['weights_sha256'][:8]}) - {mode(record)} - "
        f"protocol {record['protocol']}, resize {record['resize']}, {arithmetic(record)}"
    )


def choose_images(
    dataset: Dataset, *, image_ids: Sequence[ImageId] | None = None, limit: int | None = None
) -> tuple[ImageRecord, ...]:
    """Return the images with these ids, or all, sorted by id, at most `limit`. Raises UsageError for unknown ids."""
    wanted = None if image_ids is None else sorted(set(image_ids))
    images = tuple(dataset.images if wanted is None else map(dataset.image, wanted))
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 image, got {limit}")
    return images[:limit]


@dataclass(frozen=True, eq=False)
class Scored:
    """The result of one image: its counts and objects, or the reason why it was left out.

    objects: None if the truth does not separate objects. brightness: of the photograph, as `slices.brightness`.
    """

    image: ImageRecord
    counts: Counts | None
    objects: tuple[ObjectOutcome, ...] | None = None
    skipped: str | None = None
    brightness: float | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """An image that has just been scored, for callbacks: the photograph, and both label maps at the scored size."""

    image: ImageRecord
    photograph: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray

    def figure(self, run: Run, outlined: np.ndarray | None = None) -> bytes:
        """Draw photograph, prediction and truth side by side, with a line about the run. Returns the PNG's bytes.

        outlined: as in `figures.figure`.
        """
        return figures.figure(
            self.photograph,
            self.prediction,
            self.truth,
            title=run.caption(self.image),
            names=run.task.friendly_names,
            palette=run.task.palette,
            outlined=outlined,
        )


Outcomes = list[tuple[Scored, Sample | None]]
