"""One batch through the steps: its images made ready, the network, and what is counted of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..errors import AnnotationError, ImageError
from ..imaging.reading import File
from ..inference.refine import Edges
from ..models import loading
from ..truth.dataset import ImageRecord
from .counts import count
from .objects import judge_objects
from .run import Outcomes, Run, Sample, Scored


class Loaded(NamedTuple):
    """What the network and the scores need of one image."""

    photograph: np.ndarray
    tensor: torch.Tensor
    truth: np.ndarray


def score_files(run: Run, files: Sequence[File | str], *, keep_samples: bool) -> Outcomes:
    """The outcomes of all images of the run as one batch, of files that were read, or could not be (why), elsewhere."""
    loaded = [load(run, image, file) for image, file in zip(run.images, files, strict=True)]
    logits = run_network(run, [each for each in loaded if not isinstance(each, str)])
    return score(run, run.images, loaded, logits, keep_samples)


def load(run: Run, image: ImageRecord, file: File | str | None = None) -> Loaded | str:
    """An image made ready, or the reason why it cannot be; `file` as in `score_files`, by default the dataset's own."""
    if isinstance(file, str):
        return file
    preprocess = loading.preprocess_for(run.segmenter.model, run.resize)
    try:
        photograph = run.dataset.read_image(image.id, file)
        truth = run.protocol.truth_at_scored_size(run.dataset, image.id, preprocess)
        return Loaded(photograph, preprocess(photograph), truth)
    except (ImageError, AnnotationError) as error:
        return str(error)


def run_network(run: Run, loaded: list[Loaded]) -> Iterator[torch.Tensor]:
    """The logits of each image in order; images of one size go through the network together."""
    by_size: dict[torch.Size, list[int]] = {}
    for position, each in enumerate(loaded):
        by_size.setdefault(each.tensor.shape, []).append(position)
    logits: dict[int, torch.Tensor] = {}
    for positions in by_size.values():
        batch = torch.cat([loaded[position].tensor for position in positions])
        logits.update(zip(positions, run.segmenter.predict_logits(batch), strict=True))
    return (logits[position] for position in range(len(loaded)))


def score(
    run: Run,
    images: tuple[ImageRecord, ...],
    loaded: list[Loaded | str],
    logits: Iterator[torch.Tensor],
    keep_samples: bool,
) -> Outcomes:
    """What comes of each image of a batch, in order; logits: of those that could be loaded."""
    outcomes: Outcomes = []
    for image, each in zip(images, loaded, strict=True):
        if isinstance(each, str):
            outcomes.append((Scored(image, None, skipped=each), None))
            continue
        truth, values = run.task.truth(each.truth), next(logits)
        edges = Edges(values, each.photograph) if run.segmenter.refine else None
        prediction = run.task.predict(values, truth.shape, edges)
        objects = judge_objects(run.dataset, image.id, prediction, run.task)
        scored = Scored(image, count(values, prediction, truth, run.task, run.segmenter.temperature), objects)
        outcomes.append((scored, Sample(image, each.photograph, prediction, truth) if keep_samples else None))
    return outcomes
