"""One download of COCO images: its paths, limits and threads."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from ..errors import Cancelled, NoRoomError
from ..files.atomic import atomic_write
from ..files.locks import disk
from . import coco
from .coco_json import CocoImage

THREADS = 8
Item = TypeVar("Item")

OFFICIAL_URL = "https://s3.amazonaws.com/images.cocodataset.org"  # the bucket behind images.cocodataset.org, over HTTPS
# The stages passed to `progress`. The first is counted in bytes, the others in photographs.
ANNOTATIONS, READING, CHECKING, PHOTOGRAPHS = "annotations", "reading annotations", "checking", "photographs"
ARCHIVE = "annotations_trainval2017.zip"
CHUNK = 1 << 20


@dataclass(eq=False)
class Job:
    """The arguments of one `fetch_coco` call, and the bytes that its folder takes so far."""

    folder: Path
    split: str
    base_url: str
    max_bytes: float
    timeout: float
    progress: Callable[[str, int, int | None], None] | None
    cancel: threading.Event
    used: int = 0

    def __post_init__(self) -> None:
        self.base_url = self.base_url.rstrip("/")

    @property
    def own(self) -> Path:
        return coco.annotation_file(self.folder, self.split)

    @property
    def complete(self) -> Path:
        """All annotations of the split; `own` holds only those of the downloaded photographs."""
        return self.own.parent / "whole" / self.own.name

    @property
    def archive(self) -> Path:
        return self.complete.with_name(ARCHIVE)

    @property
    def official(self) -> bool:
        return self.base_url == OFFICIAL_URL

    def photograph(self, record: CocoImage) -> Path:
        return self.folder / self.split / record.file_name

    def url(self, folder: str, name: str) -> str:
        return f"{self.base_url}/{quote(folder)}/{quote(name)}"

    def report(self, stage: str, done: int, total: int | None) -> None:
        if self.progress:
            self.progress(stage, done, total)

    def check_room(self, size: int) -> None:
        """Raise NoRoomError unless the folder may grow by `size` bytes."""
        if self.used + size > self.max_bytes:
            raise NoRoomError(
                f"{self.folder} takes {self.used / 1e6:,.1f} of the {self.max_bytes / 1e6:,.1f} MB that it may, and "
                f"{size / 1e6:,.1f} MB more are needed; allow more with --max-gb (in Python: max_bytes)"
            )


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write `path` atomically and make its folder. Raises DownloadError or NoRoomError if the disk refuses."""
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            yield file


def in_background(work: Callable[[threading.Event], Any], cancel: threading.Event) -> Any:
    """Run `work(stop)` in a thread and return its result. Raises Cancelled as soon as `cancel` is set."""
    with closing(in_threads(lambda _, stop: work(stop), [None], cancel)) as finished:
        ((_, future),) = finished
    return future.result()


def in_threads(
    work: Callable[[Item, threading.Event], Any], items: Iterable[Item], cancel: threading.Event
) -> Generator[tuple[Item, Future]]:
    """Run `work(item, stop)` for all items in threads. Yields (item, future) in the order in which they finish.

    Raises Cancelled once `cancel` is set. Running work is then told to stop, and is awaited for at most one second,
    because a thread that waits for a silent server cannot be interrupted.
    """
    waiting, stop = iter(items), threading.Event()
    running: set[threading.Thread] = set()
    done: queue.SimpleQueue[tuple[threading.Thread, Item, Future]] = queue.SimpleQueue()

    def run(item: Item) -> None:
        future: Future = Future()
        try:
            future.set_result(work(item, stop))
        except BaseException as error:
            future.set_exception(error)
        done.put((threading.current_thread(), item, future))

    try:
        while not cancel.is_set():
            for item in itertools.islice(waiting, THREADS - len(running)):
                thread = threading.Thread(target=run, args=(item,), daemon=True)
                running.add(thread)
                thread.start()
            if not running:
                return
            with suppress(queue.Empty):
                thread, item, future = done.get(timeout=0.1)
                running.remove(thread)
                yield item, future
        raise Cancelled("stopped; run this again to go on")
    finally:
        stop.set()
        patience = time.monotonic() + 1.0
        for thread in running:
            thread.join(max(0.0, patience - time.monotonic()))
