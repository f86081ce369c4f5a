"""Scores one image against its truth, for all callers, and one batch of a run, from files to counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..imaging.reading import File
from ..inference.refine import Edges
from ..inference.task import Logits, Task
from ..truth.dataset import Dataset, ImageId, ImageRecord
from .counts import Counts, count
from .device_counts import counts_on_card, predict_and_count
from .objects import ObjectOutcome, judge_objects
from .reader import Loaded, Reader
from .run import BatchScorer, Outcomes, Run, Sample, Scored


class ImageScore(NamedTuple):
    """The comparison of one image with its truth.

    prediction, truth: uint8 (H, W), as the task counts them. objects: None if the truth does not separate objects.
    temperature: the model's, by which the logits are already divided; None if it has none.
    """

    prediction: np.ndarray
    truth: np.ndarray
    counts: Counts
    objects: tuple[ObjectOutcome, ...] | None
    temperature: float | None


def score_image(
    logits: Logits,
    truth: np.ndarray,
    task: Task,
    *,
    prediction: np.ndarray | None = None,
    temperature: float | None = None,
    edges: Edges | None = None,
    annotated: tuple[Dataset, ImageId] | None = None,
    on_card: bool = False,
) -> ImageScore:
    """Predict at the size of `truth`, uint8 (H, W) from `task.truth`, and count.

    prediction: uint8 (H, W) as the task counts it, instead of the logits, which are then None; scores that need
    probabilities are undefined. temperature: as in `ImageScore`. edges: if given, it predicts instead of the logits.
    annotated: the data set and the id of the image, to judge its objects too. on_card: predict and count on the device
    of the logits, for tasks without a threshold and without `edges`.
    Raises UsageError if the logits and the task have different categories, and for an unknown image.
    """
    if on_card:
        prediction, counted = predict_and_count(logits, truth, task, temperature)
    else:
        if prediction is None:
            prediction = task.predict(logits, truth.shape, edges)
        counted = count(logits, prediction, truth, task, temperature)
    objects = judge_objects(*annotated, prediction, task) if annotated else None
    return ImageScore(prediction, truth, counted, objects, temperature)


def score_files(run: Run, files: Sequence[File | str], *, keep_samples: bool) -> Outcomes:
    """Score all images of the run as one batch. `files` were read on another machine; a str says why one was not."""
    reader = reader_of(run, keep_samples)
    loaded = [reader.load(image, file) for image, file in zip(run.images, files, strict=True)]
    logits = run_network(run, [each for each in loaded if not isinstance(each, str)])
    return score_batch(run, run.images, loaded, logits, keep_samples, reader.judge)


def reader_of(run: Run, keep_samples: bool) -> Reader:
    """Return what reads the run's images. Samples and refined borders need the photographs themselves, too."""
    return Reader(run.dataset, run.protocol, run.preprocess, run.task, keep_samples or bool(run.segmenter.refine))


def run_network(run: Run, loaded: list[Loaded]) -> Iterator[torch.Tensor]:
    """Return the logits of each image in order. Images of the same size go through the network together."""
    network = run.segmenter
    assert not isinstance(network, BatchScorer)  # it scores its batches itself
    by_size: dict[tuple[int, ...], list[int]] = {}
    for position, each in enumerate(loaded):
        by_size.setdefault(each.pixels.shape, []).append(position)
    predict = network.on_device if network.on_device and counts_on_card(run) else network.predict_logits
    normalise = run.preprocess.normalise
    logits: dict[int, torch.Tensor] = {}
    for positions in by_size.values():
        batch = torch.cat([normalise(loaded[position].pixels) for position in positions])
        logits.update(zip(positions, predict(batch), strict=True))
    return (logits[position] for position in range(len(loaded)))


def score_batch(
    run: Run,
    images: tuple[ImageRecord, ...],
    loaded: list[Loaded | str],
    logits: Iterator[torch.Tensor],
    keep_samples: bool,
    judge: Callable[[ImageId, np.ndarray], tuple[ObjectOutcome, ...] | None],
) -> Outcomes:
    """Score each image of a batch, in order.

    logits: of the images that could be loaded. judge: judges the objects of one image, as `Reader.judge` does.
    """
    outcomes: Outcomes = []
    for image, each in zip(images, loaded, strict=True):
        if isinstance(each, str):
            outcomes.append((Scored(image, None, skipped=each), None))
            continue
        values = next(logits)
        scored = score_image(
            values,
            run.task.truth(each.truth),
            run.task,
            temperature=run.segmenter.temperature,
            edges=Edges(values, each.photograph) if run.segmenter.refine and each.photograph is not None else None,
            on_card=counts_on_card(run),
        )
        objects = judge(image.id, scored.prediction)
        sample = None
        if keep_samples and each.photograph is not None:
            sample = Sample(image, each.photograph, scored.prediction, scored.truth)
        outcomes.append((Scored(image, scored.counts, objects, brightness=each.brightness), sample))
    return outcomes
