"""Evaluates a dataset image by image and can resume. With an accelerator, threads decode ahead and count behind."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from ..errors import Cancelled, UsageError
from ..truth.dataset import ImageId, ImageRecord
from .journal import Journal
from .results import Evaluation, to_csv
from .run import BatchScorer, Network, Outcomes, Run, Sample, Scored, choose_images
from .score import Loaded, load, run_network, score_batch

__all__ = [
    "Evaluation",
    "Network",
    "Run",
    "Sample",
    "Scored",
    "choose_images",
    "evaluate",
    "score_images",
    "to_csv",
]

WORKERS = 2  # threads beside an accelerator, and batches that may be decoded ahead or wait to be counted


def evaluate(
    run: Run,
    *,
    resume: str | Path | None = None,
    on_image: Callable[[Sample], None] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Evaluation:
    """Score all images of the run. Images that cannot be read are left out and named in the result.

    Arguments and errors are those of `score_images`; progress(done, total) counts images.
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
    resume: str | Path | None = None,
    on_image: Callable[[Sample], None] | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Scored]:
    """Yield each image's outcome in the order of the run. The caller may stop early and keep what it got.

    resume: a folder for each image's counts, from which an interrupted run can continue. Batches are the same whether
    a run is resumed or not. on_image: is called with each newly scored image.

    Raises UsageError if `resume` holds another run or if ground truth and task have different categories. Raises
    Cancelled; finished images are then in `resume`.
    """
    if run.dataset.categories != run.task.categories:
        raise UsageError("the ground truth and the task are of different categories; give the segmenter's to both")
    journal = Journal(Path(resume), run) if resume else None
    with journal.held() if journal else nullcontext():
        done = journal.read() if journal else {}
        batches = _scored_batches(run, done, keep_samples=on_image is not None, cancel=cancel)
        with closing(batches):
            for batch in batches:
                if journal:
                    journal.append([each for each, _ in batch if each.counts and each.image.id not in done])
                for each, sample in batch:
                    if on_image and sample:
                        on_image(sample)
                    yield each


def _scored_batches(
    run: Run, done: dict[ImageId, Scored], *, keep_samples: bool, cancel: threading.Event | None
) -> Generator[Outcomes]:
    """Yield the outcomes of the run's batches in order. Batches that are done come from the journal."""
    missing = (batch for batch in run.batches() if any(image.id not in done for image in batch))
    source = run.segmenter.score if isinstance(run.segmenter, BatchScorer) else _score_here
    with closing(source(run, missing, keep_samples)) as scored:
        for batch in run.batches():
            if cancel and cancel.is_set():
                raise Cancelled("the evaluation was stopped; a folder to resume from keeps what was finished")
            if all(image.id in done for image in batch):
                yield [(done[image.id], None) for image in batch]
            else:
                yield next(scored)


def _score_here(run: Run, batches: Iterable[tuple[ImageRecord, ...]], keep_samples: bool) -> Generator[Outcomes]:
    """Yield the outcomes of each batch in order. Meanwhile the pool decodes the next and scores the last batches."""
    waiting = iter(batches)
    ahead: deque[tuple[tuple[ImageRecord, ...], list[Future[Loaded | str]]]] = deque()
    behind: deque[Future[Outcomes]] = deque()
    with _pool(run.segmenter.device) as pool:
        try:
            while True:
                while len(ahead) <= WORKERS and (images := next(waiting, None)):
                    ahead.append((images, [pool.submit(load, run, image) for image in images]))
                if not ahead:
                    break
                images, futures = ahead.popleft()
                loaded = [future.result() for future in futures]
                logits = run_network(run, [each for each in loaded if not isinstance(each, str)])
                behind.append(pool.submit(score_batch, run, images, loaded, logits, keep_samples))
                while behind and (len(behind) > WORKERS or behind[0].done()):
                    yield behind.popleft().result()
            for future in behind:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _pool(device: str) -> Executor:
    """Return threads for decoding and counting beside an accelerator. On a CPU they would slow the network down."""
    return _AtOnce() if device == "cpu" else ThreadPoolExecutor(WORKERS, thread_name_prefix="evaluate")


class _AtOnce(Executor):
    """An executor that runs each function immediately, in the caller's thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future
