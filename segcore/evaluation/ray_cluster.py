"""Runs evaluations and predictions on a Ray cluster. Files are sent to workers, and each worker has its own model."""

from __future__ import annotations

import itertools
import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch

from .. import __version__
from ..errors import ClusterError, ImageError, UsageError
from ..imaging.reading import File
from ..inference.openvino import Calibration
from ..inference.refine import check_refine, opencv_version
from ..inference.task import Task
from ..models import catalogue, loading
from ..truth.dataset import ImageRecord
from .ray_worker import Worker
from .run import Outcomes, Run, Scored

log = logging.getLogger(__name__)

START_SECONDS = 120  # time for a worker to be scheduled and to load its model
TRIES = 3  # a job that has lost this many workers is given up
_QUEUED = 2  # jobs at each worker: the current one and the next one
_OUT_OF_TURN = 8  # jobs per worker that may start before the oldest one is done
_LOCAL = "local"


@dataclass(eq=False)
class _Job:
    number: int
    arguments: tuple
    losses: int = 0
    answer: Any = None  # Ray's reference to the result


@dataclass(eq=False)
class _Hired:
    """The cluster's view of a worker: Ray's handle, the facts from `Worker.start`, and its jobs, oldest first."""

    actor: Any
    facts: dict[str, Any] = field(default_factory=dict)
    jobs: list[_Job] = field(default_factory=list)


class Cluster:
    """Workers that replace a `Segmenter` in a `Run`. Close it, or use it in a `with` block.

    model, device, precision, resize, engine, tta, refine: as for a `Segmenter`, except int8, because each worker would
    calibrate it by itself. address: None for workers on this machine, reached only over its loopback interface; or a
    running Ray cluster, "host:6379", or "auto" for the one that includes this machine.
    workers: their number; by default one for each GPU, or without GPUs one for each machine. They share a machine's
    processors. on_lost: is called with a sentence for each lost worker; its jobs are done again.

    Only files and their truth are sent. Each machine needs segcore, and the model's weights at the same path.
    Raises UsageError without Ray and for more workers than processors; ClusterError if no worker can be started, or if
    workers would compute different results.
    """

    def __init__(
        self,
        model: str = "auto",
        *,
        device: str = "auto",
        precision: str = "auto",
        resize: str = "squeeze",
        engine: str = "auto",
        tta: bool = False,
        refine: str | None = None,
        address: str | None = None,
        workers: int | None = None,
        on_lost: Callable[[str], None] = log.warning,
    ) -> None:
        self.model, self.resize = catalogue.resolve(model), resize
        self.categories, self.weights_sha256 = loading.categories(self.model), loading.weights_sha256(self.model)
        if precision == "int8":
            raise UsageError("int8 is for one machine; choose the precision float32 or bfloat16 for several workers")
        check_refine(refine)
        self.tta, self.refine = tta, refine
        self.calibration: Calibration | None = None
        self.temperature = loading.temperature(self.model)
        self._options: dict[str, Any] = {
            "model": self.model,
            "device": device,
            "precision": precision,
            "resize": resize,
            "engine": engine,
            "tta": tta,
            "refine": refine,
        }
        self._on_lost = on_lost
        self._ray, self._connected = import_ray(local=address in (None, _LOCAL)), False
        self._workers: list[_Hired] = []
        self._starting: dict[Any, _Hired] = {}
        try:
            self._connected = _connect(self._ray, address)
            self._start_workers(workers)
        except BaseException:
            self.close()
            raise
        facts = self._workers[0].facts
        self.device, self.precision, self.engine = facts["device"], facts["precision"], facts["engine"]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and the local cluster or connection that this object made."""
        for each in (*self._workers, *self._starting.values()):
            self._ray.kill(each.actor)
        self._workers, self._starting = [], {}
        if self._connected:
            self._ray.shutdown()

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The facts that each worker reported when it started, such as host, pid, device and precision."""
        return [each.facts for each in self._workers]

    def score(self, run: Run, batches: Iterable[tuple[ImageRecord, ...]], keep_samples: bool) -> Generator[Outcomes]:
        """Yield the outcomes of each batch of the run's images, in order."""
        sent: deque[tuple[ImageRecord, ...]] = deque()

        def jobs() -> Iterator[tuple]:
            for images in batches:
                sent.append(images)
                files = [_file(run.dataset.path(image.id)) for image in images]
                part = replace(run, segmenter=cast(Any, None), dataset=run.dataset.part(images), images=images)
                yield part, files, keep_samples

        for outcomes in self._results("score", jobs()):
            images = sent.popleft()
            lost = isinstance(outcomes, str)
            yield [(Scored(image, None, skipped=outcomes), None) for image in images] if lost else outcomes

    def predict(self, paths: Iterable[Path], task: Task, **options: bool) -> Iterator[dict[str, bytes] | str]:
        """Yield, in order, the files that `write_results` makes of each photograph, by the ends of their names.

        options: those of `write_results`. If a photograph cannot be read, a sentence says why.
        """
        return self._results("predict", ((_file(path), task, options) for path in paths))

    # ---- the workers

    def _start_workers(self, wanted: int | None) -> None:
        count, self._threads, self._gpus = self._shares(wanted)
        for _ in range(count):
            self._hire()
        end = time.monotonic() + START_SECONDS
        while self._starting and (started := self._wait(self._starting, max(0.0, end - time.monotonic()))):
            self._welcome(started)
        self._check_someone_is_there()

    def _shares(self, wanted: int | None) -> tuple[int, int, bool]:
        """Return the number of workers, the threads of each, and whether each has a GPU."""
        machines = [each["Resources"] for each in self._ray.nodes() if each["Alive"] and each["Resources"].get("CPU")]
        on_gpus = self._options["device"].startswith(("auto", "cuda")) and any("GPU" in each for each in machines)
        machines = [each for each in machines if "GPU" in each or not on_gpus]
        room = int(sum(each["GPU" if on_gpus else "CPU"] for each in machines))
        count = (room if on_gpus else len(machines)) if wanted is None else wanted
        if not 1 <= count <= room:
            unit = "GPUs" if on_gpus else "processors"
            raise UsageError(f"{count} workers were asked for, and Ray has {room} {unit}; ask for 1 to {room}")
        most = math.ceil(count / len(machines))  # on one machine
        return count, max(1, min(int(each["CPU"] // max(most, each.get("GPU", 0))) for each in machines)), on_gpus

    def _hire(self) -> None:
        actor = self._ray.remote(num_cpus=self._threads, num_gpus=int(self._gpus))(Worker)
        # With a GPU, a worker has several threads: some decode and count while one computes.
        hired = _Hired(actor.options(scheduling_strategy="SPREAD", max_concurrency=1 + 2 * self._gpus).remote())
        self._starting[hired.actor.start.remote(self._options, self._threads)] = hired

    def _welcome(self, started: Any) -> None:
        """Add a started worker. Raises ClusterError if it would compute other results than the other workers."""
        hired = self._starting.pop(started)
        try:
            facts = self._ray.get(started)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ClusterError(
                f"a worker could not be started ({reason}); every machine needs segcore {__version__} with what it "
                "requires, for the same version of Python, and memory for the model"
            ) from error
        if isinstance(facts, str):
            self._ray.kill(hired.actor)
            raise ClusterError(f"a worker could not be started: {facts}")
        ours: dict[str, Any] = {"segcore": __version__, "torch": torch.__version__, "weights": self.weights_sha256}
        ours["opencv"] = opencv_version() if self.refine else None
        for key, needed in (self._workers[0].facts if self._workers else ours).items():
            if key not in ("host", "pid", "card") and facts[key] != needed:
                self._ray.kill(hired.actor)
                raise ClusterError(
                    f"the worker on {facts['host']} has {key} {facts[key]}, but {needed} is needed: results are "
                    "the same only where these are, so make them so, or choose --device, --precision and --engine"
                )
        hired.facts = facts
        self._workers.append(hired)

    def _check_someone_is_there(self) -> None:
        if not self._workers:
            raise ClusterError(
                f"no worker could be started within {START_SECONDS} seconds; see with `ray status` whether the "
                "cluster has room, or ask for fewer workers"
            )

    # ---- the work

    def _results(self, method: str, jobs: Iterable[tuple]) -> Iterator[Any]:
        """Yield the result of `Worker.method` for each job, in the order of the jobs.

        For a job that has lost TRIES workers, a sentence takes the place of the result.
        """
        new = (_Job(number, arguments) for number, arguments in enumerate(jobs))
        waiting: list[_Job] = []
        begun = 0
        done: dict[int, Any] = {}
        try:
            for turn in itertools.count():
                while turn not in done:
                    while worker := self._worker_with_room(alone=bool(waiting)):
                        latest = turn + _OUT_OF_TURN * len(self._workers)
                        job = waiting.pop(0) if waiting else next(new, None) if begun < latest else None
                        if job is None:
                            break
                        job.answer = getattr(worker.actor, method).remote(*job.arguments)
                        worker.jobs.append(job)
                        begun = max(begun, job.number + 1)
                    # While all workers are lost and others start, jobs may be left that nobody could take.
                    if self._workers and not waiting and not any(each.jobs for each in self._workers):
                        return
                    finished, lost = self._next_answer()
                    done |= finished | {each.number: _GIVEN_UP for each in lost if each.losses >= TRIES}
                    waiting += [each for each in lost if each.losses < TRIES]
                yield done.pop(turn)
        finally:  # the caller may stop early and start another task
            for worker in self._workers:
                worker.jobs.clear()

    def _worker_with_room(self, *, alone: bool) -> _Hired | None:
        """Return the worker with the fewest jobs, or None if all queues are full.

        alone: return only an idle worker, for a job that was lost with its worker. It may have killed that worker, and
        must not take other jobs with it.
        """
        most = 1 if alone else _QUEUED + 2 * self._gpus
        free = [each for each in self._workers if len(each.jobs) < most and not any(job.losses for job in each.jobs)]
        return min(free, key=lambda each: len(each.jobs), default=None)

    def _next_answer(self) -> tuple[dict[int, Any], list[_Job]]:
        """Wait for the next event. Returns new results by job number, and the jobs of a lost worker."""
        asked = {job.answer: (worker, job) for worker in self._workers for job in worker.jobs}
        answer = self._wait([*asked, *self._starting], None if asked else START_SECONDS)
        if answer not in asked:
            if answer:
                self._welcome_another(answer)
            self._check_someone_is_there()
            return {}, []
        worker, job = asked[answer]
        try:
            result = self._ray.get(job.answer)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError:
            return {}, self._replace(worker)
        worker.jobs.remove(job)
        return {job.number: result}, []

    def _wait(self, asked: Iterable[Any], seconds: float | None) -> Any | None:
        """Wait for one of these references. Returns it, or None after `seconds`."""
        answered, _ = self._ray.wait(list(asked), timeout=seconds)
        return answered[0] if answered else None

    def _replace(self, lost: _Hired) -> list[_Job]:
        """Replace a lost worker. Returns its jobs."""
        self._workers.remove(lost)
        self._ray.kill(lost.actor)
        self._hire()
        self._on_lost(f"a worker on {lost.facts['host']} was lost; what it was at is done again")
        for job in lost.jobs:
            job.losses += 1
        return lost.jobs

    def _welcome_another(self, started: Any) -> None:
        try:
            self._welcome(started)
        except ClusterError as error:
            if not self._workers:
                raise
            self._on_lost(f"{error}; the others go on without it")


_GIVEN_UP = f"the worker that was at it was lost {TRIES} times, perhaps for want of memory; try it alone"


def _file(path: Path) -> File | str:
    """Read a file to send it, or return why it cannot be read."""
    try:
        return File.at(path)
    except ImageError as error:
        return str(error)


def import_ray(*, local: bool) -> ModuleType:
    """Import Ray with its usage statistics switched off. Raises UsageError if it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if local:  # Ray reads it when imported; with 0, a local cluster uses only the loopback interface
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("work on several workers needs Ray; install it with: pip install ray") from None
    return ray


def _connect(ray: ModuleType, address: str | None) -> bool:
    """Join the cluster at `address`, or start a local one. Returns False if Ray was connected already.

    Raises ClusterError if there is no cluster.
    """
    if ray.is_initialized():
        return False
    if address not in (None, _LOCAL, "auto"):  # check first: Ray would try for minutes and then end the process
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, ValueError, OverflowError) as error:
            raise ClusterError(
                f"no Ray cluster answers at {address}; give the HOST:PORT that `ray start --head` told"
            ) from error
    try:
        ray.init(address or _LOCAL, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        problem = f"there is no Ray cluster to join ({error}); start one with `ray start --head`, or leave out --ray"
        raise ClusterError(problem) from error
    return True
