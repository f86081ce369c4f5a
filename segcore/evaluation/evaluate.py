"""Evaluates a dataset image by image and can resume. With an accelerator, threads decode ahead and count behind."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import Cancelled, ClusterError, UsageError
from ..truth.dataset import ImageId, ImageRecord
from .journal import Journal
from .reader import Loaded, Reader, judge_there, load_there, processes_beside, start_processes
from .results import Evaluation, to_csv
from .run import BatchScorer, Network, Outcomes, Run, Sample, Scored, choose_images
from .score import reader_of, run_network, score_batch

__all__ = [
    "Evaluation",
    "Network",
    "Run",
    "Sample",
    "Scored",
    "choose_images",
    "evaluate",
    "processes_beside",
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
    processes: int = 0,
) -> Evaluation:
    """Score all images of the run. Images that cannot be read are left out and named in the result.

    Arguments and errors are those of `score_images`; progress(done, total) counts images.
    """
    started = time.perf_counter()
    scored: list[Scored] = []
    if progress:
        progress(0, len(run.images))
    scoring = score_images(run, resume=resume, on_image=on_image, cancel=cancel, processes=processes)
    with closing(scoring) as images:
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
    processes: int = 0,
) -> Generator[Scored]:
    """Yield each image's outcome in the order of the run. The caller may stop early and keep what it got.

    resume: a folder for each image's counts, from which an interrupted run can continue. Batches are the same whether
    a run is resumed or not. on_image: is called with each newly scored image. processes: how many read photographs and
    truth and judge objects beside the network, for the same results; `processes_beside` says how many help. They are
    spawned: a script that asks for them needs `if __name__ == "__main__":`.

    Raises UsageError if `resume` holds another run or if ground truth and task have different categories. Raises
    Cancelled, and ClusterError if a process was killed; finished images are then in `resume`.
    """
    if run.dataset.categories != run.task.categories:
        raise UsageError("the ground truth and the task are of different categories; give the segmenter's to both")
    journal = Journal(Path(resume), run) if resume else None
    with journal.held() if journal else nullcontext():
        done = journal.read() if journal else {}
        batches = _scored_batches(run, done, on_image is not None, cancel, processes)
        with closing(batches):
            for batch in batches:
                if journal:
                    journal.append([each for each, _ in batch if each.counts and each.image.id not in done])
                for each, sample in batch:
                    if on_image and sample:
                        on_image(sample)
                    yield each


def _scored_batches(
    run: Run, done: dict[ImageId, Scored], keep_samples: bool, cancel: threading.Event | None, processes: int
) -> Generator[Outcomes]:
    """Yield the outcomes of the run's batches in order. Batches that are done come from the journal."""
    missing = (batch for batch in run.batches() if any(image.id not in done for image in batch))
    if isinstance(run.segmenter, BatchScorer):
        source = run.segmenter.score(run, missing, keep_samples)
    else:
        source = _score_here(run, missing, keep_samples, processes)
    with closing(source) as scored:
        for batch in run.batches():
            if cancel and cancel.is_set():
                raise Cancelled("the evaluation was stopped; a folder to resume from keeps what was finished")
            if all(image.id in done for image in batch):
                yield [(done[image.id], None) for image in batch]
            else:
                yield next(scored)


def _score_here(
    run: Run, batches: Iterable[tuple[ImageRecord, ...]], keep_samples: bool, processes: int
) -> Generator[Outcomes]:
    """Yield the outcomes of each batch in order. Meanwhile the pools load the next and score the last batches."""
    waiting = iter(batches)
    ahead: deque[tuple[tuple[ImageRecord, ...], list[Future[Loaded | str]]]] = deque()
    behind: deque[Future[Outcomes]] = deque()
    most_ahead = max(WORKERS, 2 * processes // run.batch_size)
    with _pools(run, reader_of(run, keep_samples), processes) as (load, score, judge):
        while True:
            while len(ahead) <= most_ahead and (images := next(waiting, None)):
                ahead.append((images, [load(image) for image in images]))
            if not ahead:
                break
            images, futures = ahead.popleft()
            loaded = [future.result() for future in futures]
            logits = run_network(run, [each for each in loaded if not isinstance(each, str)])
            behind.append(score(run, images, loaded, logits, keep_samples, judge))
            while behind and (len(behind) > WORKERS or behind[0].done()):
                yield behind.popleft().result()
        for future in behind:
            yield future.result()


@contextmanager
def _pools(run: Run, reader: Reader, processes: int) -> Iterator[tuple[Callable, Callable, Callable]]:
    """Yield what loads an image and what scores a batch, as futures, and what judges an image's objects.

    Beside an accelerator threads do so, or the processes, which run Python side by side. On a CPU all is done at once:
    threads would slow the network down. Raises ClusterError if a process was killed.
    """
    threads = _AtOnce() if run.segmenter.device == "cpu" else ThreadPoolExecutor(max(WORKERS, processes))
    others = start_processes(reader, processes) if processes else None

    def score(*what: Any) -> Future[Outcomes]:
        return threads.submit(score_batch, *what)

    def load(image: ImageRecord) -> Future[Loaded | str]:
        return others.submit(load_there, image) if others else threads.submit(reader.load, image)

    def judge(*what: Any) -> Any:
        return others.submit(judge_there, *what).result() if others else reader.judge(*what)

    try:
        yield load, score, judge
    except BrokenProcessPool as error:
        raise ClusterError(
            "a process that reads photographs was killed, perhaps because the memory is full; "
            "with a folder to resume from, start again"
        ) from error
    finally:
        threads.shutdown(cancel_futures=True)
        if others:
            others.shutdown(cancel_futures=True)


class _AtOnce(Executor):
    """An executor that runs each function immediately, in the caller's thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future
