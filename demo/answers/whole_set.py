"""Scores a whole set of images for the page. Nothing here imports Gradio."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.answers.datasets import OTHER_CATEGORIES, Datasets
from demo.answers.label_maps import GONE, UploadedMaps, unpack_upload
from demo.answers.model_pool import ModelPool, categories_of
from demo.waiting.turns import Place, Turns, never
from demo.waiting.visits import SAY_AFTER, SAY_EVERY, is_set_within
from segcore.errors import Cancelled, UsageError
from segcore.evaluation import compare, evaluate, results
from segcore.evaluation.predictions import Predictions
from segcore.evaluation.protocols import protocol
from segcore.evaluation.run import Network, Run, choose_images
from segcore.inference.refine import EDGES, check_refine
from segcore.inference.task import Task
from segcore.models import catalogue
from segcore.report.extremes import pictures
from segcore.report.html import html_report
from segcore.report.origins import thumbnails

if TYPE_CHECKING:
    import torch

MAX_IMAGES = 5000
EXTREMES = 6  # number of images shown as the worst, as the best, and as those with a doubtful truth
_SHOW_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Wanted:
    """A visitor's request. other_model: a second model to compare with, or None. sharp: use borders that follow the
    photographs' edges. archive: an uploaded ZIP of label maps, which are scored instead of the model.
    """

    dataset: str
    images: int
    task: Task
    protocol: str
    resize: str
    model: str
    other_model: str | None = None
    sharp: bool = False
    archive: Path | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of an evaluation: the model, images done of total, and the seconds left, None at first."""

    model: str
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of an evaluation, kept in the visitor's session. It holds records, but no images or label maps.

    comparison: of two models on the same images, or None. stopped: not all images were scored. timed_out: it was
    stopped by the page's time limit. maps: the label maps that were scored instead of a model.
    """

    wanted: Wanted
    record: dict[str, Any] = field(repr=False)
    comparison: dict[str, Any] | None = field(repr=False)
    stopped: bool
    total: int
    timed_out: bool = False
    maps: UploadedMaps | None = None

    @property
    def worst(self) -> list[dict]:
        """The rows of the images where two models differ most, or the worst images of one model."""
        return (self.comparison["per_image"] if self.comparison else self._ranked)[:EXTREMES]

    @property
    def best(self) -> list[dict]:
        """The rows of the best images that are not among the worst, best first. Images without objects are left out."""
        with_objects = [row for row in self._ranked if row[results.RANKED_BY] is not None]
        return with_objects[max(EXTREMES, len(with_objects) - EXTREMES) :][::-1]

    @property
    def doubtful(self) -> list[dict]:
        """The rows of the images whose truth is most doubtful to the model, the most doubtful first."""
        return results.most_doubtful_first(self.record)[:EXTREMES]

    def behind(self, name: str, taken_for: str | None = None) -> list[dict]:
        """The rows of the images behind a class, or behind its pixels that are taken for another, the worst first.

        Both names come from the browser; unknown ones have no images.
        """
        origins = self.record["origins"]
        if taken_for is None:
            return origins["per_class"].get(name, {"worst": []})["worst"]
        pair = name, taken_for
        cells = [each["worst"] for each in origins["confusion"] if (each["truth"], each["prediction"]) == pair]
        return cells[0] if cells else []

    @property
    def classes(self) -> list[str]:
        """The classes in truth or prediction."""
        return [name for name, each in self.record["origins"]["per_class"].items() if each["images"]]

    def taken_for(self, name: str) -> list[str]:
        """What the true pixels of a class are taken for, the most frequent first."""
        cells = [each for each in self.record["origins"]["confusion"] if each["truth"] == name]
        return [each["prediction"] for each in sorted(cells, key=lambda each: -each["pixels"])]

    @property
    def _ranked(self) -> list[dict]:
        return results.worst_first(self.record)


def evaluate_set(
    pool: ModelPool,
    datasets: Datasets,
    wanted: Wanted,
    kept: Path,
    stop: threading.Event,
    visitor: Hashable = None,
    has_left: Callable[[], bool] = never,
) -> Iterator[Progress | Outcome]:
    """Score the images. Yields progress from time to time, and finally the outcome.

    kept: a folder for the counts of each image, so that a later request of any visitor continues from there. stop: ends
    the evaluation early; the outcome then covers the images done so far. It also ends at the page's time limit.
    visitor: each batch waits for a turn of this visitor in the queue. If has_left() is true, the evaluation ends.

    Raises SegcoreError with a message for the visitor; UsageError if nothing was scored before the stop.
    """
    maps = None if wanted.archive is None else unpack_upload(wanted.archive, datasets.get(wanted.dataset))
    runs = _runs(pool, datasets, wanted, maps, visitor, has_left)
    evaluations, deadline = [], time.monotonic() + pool.limits.scoring_seconds
    for run in runs:
        scored: list[evaluate.Scored] = []
        started = time.monotonic()
        yield from _scored(run, kept, lambda: stop.is_set() or has_left(), deadline, scored)
        evaluations.append(evaluate.Evaluation(run, tuple(scored), time.monotonic() - started))
    if not evaluations[0].counted:
        problem = next((each.skipped for each in evaluations[0].scored if each.skipped), None)
        raise UsageError(f"No image could be scored: {problem}" if problem else NOTHING_SCORED)
    comparison = None
    if len(evaluations) == 2 and evaluations[1].counted:
        comparison = compare.compare(*evaluations)
    record = evaluations[-1 if comparison else 0].to_dict()
    stopped = any(len(each.scored) < len(each.run.images) for each in evaluations)
    timed_out = stopped and not stop.is_set()
    yield Outcome(wanted, record, comparison, stopped, len(runs[0].images), timed_out, maps)


async def evaluate_in_turn(
    line: Turns,
    pool: ModelPool,
    datasets: Datasets,
    wanted: Wanted,
    kept: Path,
    stop: threading.Event,
    visitor: Hashable,
    has_left: Callable[[], bool],
) -> AsyncGenerator[Place | Progress | Outcome]:
    """Run `evaluate_set` when it is this evaluation's turn in the queue `line`; until then, yield its place.

    Also raises BusyError if the queue is full.
    """
    latest: list[Progress | Outcome] = []

    def work() -> Outcome:
        for said in evaluate_set(pool, datasets, wanted, kept, stop, visitor, has_left):
            latest[:] = [said]
        return said  # type: ignore[return-value]  # the outcome comes last

    kind = wanted.model, wanted.other_model, wanted.protocol, wanted.resize, wanted.sharp
    ticket = line.submit(visitor, work, kind=kind, size=wanted.images, has_left=lambda: stop.is_set() or has_left())
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    ticket.future.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    pause, said = SAY_AFTER, None
    try:
        while not await is_set_within(pause, over):
            if place := line.place(ticket):
                pause = SAY_EVERY
                yield place
            elif latest and said is not latest[0]:
                pause, said = _SHOW_EVERY, latest[0]
                yield said
        yield ticket.future.result()
    except Cancelled as error:
        raise UsageError(NOTHING_SCORED) from error
    finally:
        line.cancel(ticket)


NOTHING_SCORED = "Stopped before any image was scored."


def _runs(
    pool: ModelPool,
    datasets: Datasets,
    wanted: Wanted,
    maps: UploadedMaps | None,
    visitor: Hashable,
    has_left: Callable[[], bool],
) -> list[Run]:
    """Return the run of the model, or of the label maps in its place, and that of the model to compare with."""
    dataset, chosen = datasets.get(wanted.dataset), protocol(wanted.protocol)
    images = choose_images(dataset, limit=min(max(1, wanted.images), MAX_IMAGES))
    scored: list[Network | Predictions] = [] if maps is None else [maps.predictions(dataset, wanted.task)]
    models = (wanted.model if maps is None else None), wanted.other_model
    names = [pool.resolve(each) for each in models if each]
    if len(names) == 2 and names[0] == names[1]:
        title = catalogue.entry(names[0]).title
        raise UsageError(f"Both models are {title}; choose another to compare it with, or none.")
    if any(categories_of(name) != dataset.categories for name in names):
        raise UsageError(OTHER_CATEGORIES)
    refine = EDGES if wanted.sharp else None
    check_refine(refine)
    networks = [replace(pool.network(name, wanted.resize), refine=refine) for name in names]
    scored += [_in_turn(pool, each, visitor, has_left) for each in networks]
    return [Run(each, dataset, chosen, wanted.task, images) for each in scored]


def _in_turn(pool: ModelPool, network: Network, visitor: Hashable, has_left: Callable[[], bool]) -> Network:
    """Wrap a network so that each batch waits for its turn. Raises Cancelled if the visitor has left."""

    def predict_logits(batch: torch.Tensor) -> torch.Tensor:
        ticket = pool.turns.submit(
            visitor,
            partial(network.predict_logits, batch),
            kind=(network.model, network.resize, "evaluation"),
            has_left=has_left,
            always=True,
        )
        return ticket.future.result()

    return replace(network, predict_logits=predict_logits)


def _scored(
    run: Run, kept: Path, is_over: Callable[[], bool], deadline: float, scored: list[evaluate.Scored]
) -> Iterator[Progress]:
    """Append the outcome of each image to `scored`, until is_over() or the deadline. Yields progress."""
    model, total = run.segmenter.model, len(run.images)
    title = model if isinstance(run.segmenter, Predictions) else catalogue.entry(model).title
    started = shown = time.monotonic()
    yield Progress(title, 0, total, None)
    with suppress(Cancelled), closing(evaluate.score_images(run, resume=_folder_of(run, kept))) as images:
        for each in images:
            scored.append(each)
            now = time.monotonic()
            if now - shown > _SHOW_EVERY:
                shown = now
                yield Progress(title, len(scored), total, (now - started) / len(scored) * (total - len(scored)))
            if is_over() or now > deadline:
                return


def _folder_of(run: Run, kept: Path) -> Path:
    """Return the folder of a run's counts. Each combination of settings has its own folder."""
    settings = json.dumps(run.record() | {"folder": str(run.dataset.folder)})
    return kept / hashlib.sha256(settings.encode()).hexdigest()[:16]


DOWNLOADS = (".html", ".csv", ".json")


def write_download(
    pool: ModelPool, datasets: Datasets, outcome: Outcome, suffix: str, folder: Path, visitor: Hashable = None
) -> Path:
    """Write the report, the table or the record of an outcome into `folder`. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    record = outcome.record
    path = folder / f"{record['split']}_{re.sub('[/:]', '_', record['model'])}{suffix}"
    if suffix == ".html":
        run = _runs(pool, datasets, outcome.wanted, outcome.maps, visitor, never)[-1 if outcome.comparison else 0]
        if run.segmenter.weights_sha256 != record["weights_sha256"]:  # some of the label maps were deleted
            raise UsageError(GONE)
        extremes, doubtful = pictures(run, record)
        copies = thumbnails(run.dataset, record)
        text = html_report(
            record, pictures=extremes, doubtful=doubtful, thumbnails=copies, comparison=outcome.comparison
        )
    elif suffix == ".csv":
        text = results.to_csv(record)
    elif suffix == ".json":
        whole = record | {"comparison": outcome.comparison} if outcome.comparison else record
        text = json.dumps(whole, indent=1, allow_nan=False)
    else:
        raise UsageError(f"there is no download {suffix!r}; choose one of: {', '.join(DOWNLOADS)}")
    path.write_text(text, encoding="utf-8")
    return path
