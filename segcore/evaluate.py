"""A dataset through the steps, image by image, resumable; beside an accelerator, decoded ahead and counted behind."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from . import models
from .coco_file import CocoImage
from .counts import count
from .errors import AnnotationError, Cancelled, ImageError, UsageError
from .journal import Journal
from .objects import judge_objects
from .results import Evaluation, headline, to_csv
from .run import Network, Run, Sample, Scored, choose_images

__all__ = [
    "Evaluation",
    "Network",
    "Run",
    "Sample",
    "Scored",
    "choose_images",
    "evaluate",
    "headline",
    "score_images",
    "to_csv",
]

WORKERS = 2  # threads beside an accelerator; also how many batches they may be ahead of it, and behind


def evaluate(
    run: Run,
    *,
    resume: Path | None = None,
    on_image: Callable[[Sample], None] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Evaluation:
    """Score every image of the run; one that cannot be read is named in the outcome and left out.

    As `score_images`; progress(done, total) counts images.
    """
    started = time.perf_counter()
    scored: list[Scored] = []
    if progress:
        progress(0, len(run.images))
    with closing(score_images(run, resume=resume, on_image=on_image, cancel=cancel)) as images:
        for each in images:
            scored.append(each)
            if progress:
                progress(len(scored), len(run.images))
    return Evaluation(run, tuple(scored), time.perf_counter() - started)


def score_images(
    run: Run,
    *,
    resume: Path | None = None,
    on_image: Callable[[Sample], None] | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Scored]:
    """Yield each image's outcome in the order of the run; whoever stops listening may keep what came until then.

    resume: a folder that keeps each image's counts, so that an interrupted run goes on where it was; batches are
    composed the same way whatever was done before. on_image sees each newly scored image.

    Raises UsageError where `resume` holds another run and where model, ground truth and task are of different
    categories, and Cancelled (what was finished is in `resume`).
    """
    if run.dataset.categories != run.task.categories:
        raise UsageError("the ground truth and the task are of different categories; give the segmenter's to both")
    journal = Journal(resume, run) if resume else None
    with journal.held() if journal else nullcontext():
        done = journal.read() if journal else {}
        with _pool(run.segmenter.device) as pool:
            try:
                for batch in _scored_batches(run, done, pool, keep_samples=on_image is not None, cancel=cancel):
                    if journal:
                        journal.append([each for each, _ in batch if each.counts and each.image.id not in done])
                    for each, sample in batch:
                        if on_image and sample:
                            on_image(sample)
                        yield each
            finally:
                pool.shutdown(cancel_futures=True)


def _pool(device: str) -> Executor:
    """Decoding and counting go on beside an accelerator. On a CPU threads only get in the network's way."""
    return _AtOnce() if device == "cpu" else ThreadPoolExecutor(WORKERS, thread_name_prefix="evaluate")


class _AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*args))
        return future


class _Loaded(NamedTuple):
    """What the network and the scores need of one image."""

    photograph: np.ndarray
    tensor: torch.Tensor
    truth: np.ndarray


_Outcomes = list[tuple[Scored, Sample | None]]


def _scored_batches(
    run: Run, done: dict[int, Scored], pool: Executor, *, keep_samples: bool, cancel: threading.Event | None
) -> Iterator[_Outcomes]:
    """Yield the run's batches in order; the pool decodes the next ones and scores the last ones meanwhile."""
    waiting = iter(run.batches())
    ahead: deque[tuple[tuple[CocoImage, ...], list[Future[_Loaded | str]]]] = deque()
    behind: deque[Future[_Outcomes]] = deque()
    while True:
        while len(ahead) <= WORKERS and (images := next(waiting, None)):
            finished = all(image.id in done for image in images)
            ahead.append((images, [] if finished else [pool.submit(_load, run, image) for image in images]))
        if not ahead:
            break
        if cancel and cancel.is_set():
            break
        images, futures = ahead.popleft()
        if not futures:
            behind.append(pool.submit(lambda images: [(done[image.id], None) for image in images], images))
        else:
            loaded = [future.result() for future in futures]
            logits = _run_network(run, [each for each in loaded if not isinstance(each, str)])
            behind.append(pool.submit(_score_batch, run, images, loaded, logits, keep_samples))
        while behind and (len(behind) > WORKERS or behind[0].done()):
            yield behind.popleft().result()
    for future in behind:
        yield future.result()
    if ahead:
        raise Cancelled("the evaluation was stopped; a folder to resume from keeps what was finished")


def _load(run: Run, image: CocoImage) -> _Loaded | str:
    """An image made ready, or the reason why it cannot be."""
    preprocess = models.preprocess_for(run.segmenter.model, run.resize)
    try:
        photograph = run.dataset.read_image(image.id)
        truth = run.protocol.truth_at_scored_size(run.dataset, image.id, preprocess)
        return _Loaded(photograph, preprocess(photograph), truth)
    except (ImageError, AnnotationError) as error:
        return str(error)


def _run_network(run: Run, loaded: list[_Loaded]) -> Iterator[torch.Tensor]:
    """The logits of each image in order; images of one size go through the network together."""
    by_size: dict[torch.Size, list[int]] = {}
    for position, each in enumerate(loaded):
        by_size.setdefault(each.tensor.shape, []).append(position)
    logits: dict[int, torch.Tensor] = {}
    for positions in by_size.values():
        batch = torch.cat([loaded[position].tensor for position in positions])
        logits.update(zip(positions, run.segmenter.predict_logits(batch), strict=True))
    return (logits[position] for position in range(len(loaded)))


def _score_batch(
    run: Run,
    images: tuple[CocoImage, ...],
    loaded: list[_Loaded | str],
    logits: Iterator[torch.Tensor],
    keep_samples: bool,
) -> _Outcomes:
    outcomes: _Outcomes = []
    for image, each in zip(images, loaded, strict=True):
        if isinstance(each, str):
            outcomes.append((Scored(image, None, skipped=each), None))
            continue
        truth, values = run.task.truth(each.truth), next(logits)
        prediction = run.task.predict(values, truth.shape)
        objects = judge_objects(run.dataset, image.id, prediction, run.task)
        scored = Scored(image, count(values, prediction, truth, run.task), objects)
        outcomes.append((scored, Sample(image, each.photograph, prediction, truth) if keep_samples else None))
    return outcomes
