"""COCO on demand: as many photographs of a split as are asked for, in a folder that is complete at any time."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import queue
import re
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from ..classes import object_id
from ..errors import AnnotationError, Cancelled, DownloadError, ImageError, NoRoomError, SegcoreError, UsageError
from ..files import download
from ..files.download import alone, disk
from ..imaging import reading
from . import coco, coco_json
from .coco import CocoDataset
from .coco_json import CocoImage

OFFICIAL_URL = "https://s3.amazonaws.com/images.cocodataset.org"  # images.cocodataset.org's own bucket, by HTTPS
MAX_BYTES = 4 * 10**9

# The stages that `progress` is told of; the first is counted in bytes, the others in photographs.
ANNOTATIONS, READING, CHECKING, PHOTOGRAPHS = "annotations", "reading annotations", "checking", "photographs"

_ARCHIVE = "annotations_trainval2017.zip"
_OFFICIAL_ARCHIVE = {
    "expected_bytes": 252_907_541,
    "sha256_prefix": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
}
_OFFICIAL_SPLITS = ("train2017", "val2017")
_UNSOUND = (  # what zipfile raises of a file that is damaged, or made to do harm
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_TEMPORARY = ".segcore.tmp"
_THREADS = 8
_GIVE_UP_AFTER = 3 * _THREADS  # failures in a row
_SAVE_EVERY = 30.0  # seconds
_CHUNK = 1 << 20
_decoders = threading.Semaphore(2)  # a photograph may take hundreds of megabytes while it is checked

Item = TypeVar("Item")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchedCoco:
    """What `fetch_coco` leaves: open it with `CocoDataset.open(folder, split)`.

    `ids` are those of the images asked for that are here, in order; `failed` says, by file name, why a photograph
    is not here; `available` is how many images of the split there are of the kind that was asked for.
    """

    folder: Path
    split: str
    ids: tuple[int, ...]
    failed: Mapping[str, str]
    available: int


def fetch_coco(
    folder: str | os.PathLike[str],
    split: str = "val2017",
    *,
    count: int,
    classes: Sequence[str | int] = (),
    seed: int = 0,
    base_url: str | None = None,
    max_bytes: float = MAX_BYTES,
    timeout: float = 30.0,
    progress: Callable[[str, int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> FetchedCoco:
    """Fetch `count` images of a split, with their annotations, into a folder in COCO's layout.

    Which ones follows from `seed`, `count` and `classes` alone: images with an object or crowd region of any of
    these, or all. The images of a smaller count are among those of a larger. Where there are fewer, all are taken.

    The split's whole annotations are fetched once, into `annotations/whole/`. `annotations/instances_<split>.json`
    has the part of them whose photographs lie in `<split>/`, are whole and have the size that was annotated,
    whichever call brought them. Where there is such a file already that this function did not write, it stays as
    it is, serves as the whole, and only photographs are fetched. A photograph that is damaged is fetched again.
    Nothing appears under its name before it is complete; after a call that was stopped or killed, the next goes on.

    The published annotations come as a zip file of 253 MB for all splits. It is deleted once the split's own file
    (20 MB for val2017, 448 MB for train2017) is out of it: few who want a handful of images want the other split
    too, and those download it a second time.

    base_url: a mirror of COCO's layout, asked for `annotations/annotations_trainval2017.zip`, for
    `annotations/instances_<split>.json` where that answers 404, and for `<split>/<file name>`.
    max_bytes: what the folder's annotations and photographs may take on disk, those of other splits included; the
    part of the annotations that is written in the end comes on top.
    timeout: seconds of silence that end a try. progress(stage, done, total): bytes of ANNOTATIONS, photographs of
    CHECKING and PHOTOGRAPHS; READING cannot say how far it is. It may be called from another thread. While another
    thread or process fetches into the same folder, this one waits.

    Photographs that cannot be had are named in the result. Raises DownloadError where the annotations cannot be
    had, where nothing more comes from the server or where the folder cannot be written, NoRoomError if `max_bytes`
    or the disk is used up, AnnotationError for a file of annotations that is broken, Cancelled, and UsageError for
    a split, class or number that does not exist. What is here by then can be used, but for the last two.
    """
    if count < 1:
        raise UsageError(f"the count must be at least 1 image, got {count}")
    if not max_bytes > 0:
        raise UsageError(f"the folder must be allowed more than 0 bytes, got {max_bytes}")
    if not re.fullmatch(r"\w[\w .-]*", split) or split.casefold() == "annotations":
        raise UsageError(f"a split is a name such as val2017, not {split!r}")
    numbers = [object_id(each) for each in classes]
    base_url = (base_url or OFFICIAL_URL).rstrip("/")
    job = _Job(Path(folder), split, base_url, max_bytes, timeout, progress, cancel or threading.Event())
    with disk(job.own):
        job.own.parent.mkdir(parents=True, exist_ok=True)
    with alone(job.own.with_name(".fetch-coco.lock"), f"into {folder}", job.cancel):
        with disk(job.folder):
            job.used = _tidy(job)
        plan = _plan(job, numbers, count, seed)
        here = _check(job, plan.present)
        failed = _fetch_photographs(job, plan, here)
    ids = tuple(sorted(each.id for each in plan.chosen if each.id in here))
    return FetchedCoco(job.folder, split, ids, failed, plan.available)


@dataclass(eq=False)
class _Job:
    folder: Path
    split: str
    base_url: str
    max_bytes: float
    timeout: float
    progress: Callable[[str, int, int | None], None] | None
    cancel: threading.Event
    used: int = 0  # bytes that the folder takes

    @property
    def own(self) -> Path:
        return coco.annotation_file(self.folder, self.split)

    @property
    def whole(self) -> Path:
        return self.own.parent / "whole" / self.own.name

    @property
    def archive(self) -> Path:
        return self.whole.with_name(_ARCHIVE)

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
        """Raise NoRoomError unless the folder may take `size` bytes more."""
        if self.used + size > self.max_bytes:
            raise NoRoomError(
                f"{self.folder} takes {self.used / 1e6:,.1f} of the {self.max_bytes / 1e6:,.1f} MB that it may, and "
                f"{size / 1e6:,.1f} MB more are needed; allow more with --max-gb (in Python: max_bytes)"
            )


def _tidy(job: _Job) -> int:
    """Remove what a killed process left half-written; the bytes that annotations and photographs take."""
    used = 0
    for name in {"annotations", job.split, *coco.splits(job.folder)}:
        for folder, _, files in os.walk(job.folder / name):
            for file in (Path(folder, each) for each in files):
                if file.name == _TEMPORARY:
                    file.unlink()
                elif not file.name.startswith(_ARCHIVE) and file.suffix != ".part":  # those count as they come
                    used += file.lstat().st_size
    return used


# ---- what to fetch


@dataclass(frozen=True)
class _Plan:
    chosen: tuple[CocoImage, ...]  # the most wanted first
    available: int
    present: tuple[CocoImage, ...]  # those with a file, good or not
    document: dict[str, Any] | None  # the annotations of chosen and present; None where the folder's own file stays


def _plan(job: _Job, numbers: Sequence[int | None], count: int, seed: int) -> _Plan:
    foreign = job.own.is_file() and not job.whole.is_file()
    document, dataset = _annotations(job)
    ranked = _ranked(dataset, numbers, seed)
    if not ranked:
        raise UsageError(f"no image of {job.split} has an object of these classes; choose others")
    chosen = tuple(map(dataset.image, ranked[:count]))
    candidates = chosen if foreign else dataset.images
    present = tuple(each for each in candidates if os.path.isfile(job.photograph(each)))
    if foreign:
        return _Plan(chosen, len(ranked), present, None)
    # The rest of a large file's annotations would take gigabytes for as long as photographs are fetched.
    return _Plan(chosen, len(ranked), present, _part(document, {each.id for each in (*chosen, *present)}))


def _ranked(dataset: CocoDataset, numbers: Sequence[int | None], seed: int) -> list[int]:
    """The ids that may be chosen, in an order as good as random; of any two, the same is always first."""
    ids = {each.id for each in dataset.images}
    if numbers:
        ids = {each for number in numbers for each in dataset.ids_with_class(number)}
    return sorted(ids, key=lambda each: hashlib.sha256(f"{seed} {each}".encode()).digest())


def _part(document: dict[str, Any], ids: set[int]) -> dict[str, Any]:
    """The document with the images of these ids alone."""
    return document | {
        "images": [each for each in document["images"] if each["id"] in ids],
        "annotations": [each for each in document["annotations"] if each["image_id"] in ids],
    }


# ---- annotations


def _annotations(job: _Job) -> tuple[dict[str, Any], CocoDataset]:
    """The split's whole annotations, as parsed and as checked; fetched if they are not here."""
    if job.whole.is_file():
        try:
            return _read(job, job.whole)
        except AnnotationError as error:
            log.warning("%s; fetching it again", error)
    elif job.own.is_file():
        return _read(job, job.own)
    _fetch_whole(job)
    job.used += job.whole.stat().st_size
    try:
        return _read(job, job.whole)
    except AnnotationError as error:
        job.whole.unlink()
        raise AnnotationError(f"what came from {job.base_url} was not kept: {error}") from error


def _read(job: _Job, path: Path) -> tuple[dict[str, Any], CocoDataset]:
    def read(stop: threading.Event) -> tuple[dict[str, Any], CocoDataset]:
        document = coco_json.read_document(path)
        return document, CocoDataset.from_document(job.folder, job.split, document, path)

    job.report(READING, 0, None)
    return _in_background(read, job.cancel)


def _fetch_whole(job: _Job) -> None:
    if job.official and job.split not in _OFFICIAL_SPLITS:
        raise UsageError(f"COCO has no split {job.split!r}; choose one of: {', '.join(_OFFICIAL_SPLITS)}")
    with disk(job.whole):
        job.whole.unlink(missing_ok=True)
        if not job.official:  # without a hash, nobody knows whose it is or whether it is good
            job.archive.unlink(missing_ok=True)
    url = job.url("annotations", _ARCHIVE)
    try:
        _download(job, url, job.archive, **(_OFFICIAL_ARCHIVE if job.official else {}))
    except DownloadError as error:
        if error.status != 404 or job.official:
            raise
        _download(job, job.url("annotations", job.own.name), job.whole)
        return
    try:
        _extract(job, url)
    except BaseException:
        if not job.official:
            job.archive.unlink()
        raise
    job.archive.unlink()


def _download(job: _Job, url: str, path: Path, **known: Any) -> None:
    def watch(done: int, total: int | None) -> None:
        size = max(done, total or 0)
        if size > coco_json.MAX_ANNOTATION_BYTES:
            most = f"{coco_json.MAX_ANNOTATION_BYTES / 1e6:,.1f} MB"
            raise DownloadError(f"{url} has {size / 1e6:,.1f} MB, and {most} is the most that is read; check it")
        job.check_room(size)
        job.report(ANNOTATIONS, done, total)

    def fetch(stop: threading.Event) -> None:
        download.fetch(url, path, timeout=job.timeout, progress=watch, cancel=stop, **known)

    _in_background(fetch, job.cancel)


def _extract(job: _Job, url: str) -> None:
    """Write the split's member of the zip file, and nothing else that may be in it, to its own place."""
    member = f"annotations/{job.own.name}"
    with _opened_archive(job.archive, url) as archive:
        if member not in archive.namelist():
            found = re.findall(r"^annotations/instances_(\w+)\.json$", "\n".join(archive.namelist()), re.MULTILINE)
            raise UsageError(f"{url} has no {member}; the splits in it: {', '.join(found) or 'none'}")
        entry = archive.getinfo(member)
        if entry.file_size > coco_json.MAX_ANNOTATION_BYTES:
            raise zipfile.BadZipFile(f"{member} would have {entry.file_size:,} bytes")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
            raise zipfile.BadZipFile(f"{member} is packed in an unusual way")
        job.check_room(job.archive.stat().st_size + entry.file_size)
        with archive.open(entry) as packed, _replacing(job.whole) as file:
            while chunk := packed.read(_CHUNK):  # never more than its file_size
                file.write(chunk)
                if job.cancel.is_set():
                    raise Cancelled("stopped; run this again to go on")


@contextmanager
def _opened_archive(path: Path, url: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _UNSOUND as error:
        if isinstance(error, SegcoreError):
            raise
        raise DownloadError(
            f"what came from {url} is no sound zip file ({error}), and was not kept; try later, or another address"
        ) from error


# ---- photographs


def _check(job: _Job, present: Sequence[CocoImage]) -> set[int]:
    """The ids of those whose files are as they should be."""
    here = set()
    with closing(_in_threads(lambda each, _: _fault(job.photograph(each), each), present, job.cancel)) as finished:
        for number, (each, future) in enumerate(finished, start=1):
            fault = future.result()
            if fault is None:
                here.add(each.id)
            else:
                log.warning("%s: %s; fetching it again", job.photograph(each), fault)
            job.report(CHECKING, number, len(present))
    return here


def _fault(source: Path | bytes, record: CocoImage) -> str | None:
    """What is wrong with a photograph, None if it decodes to the size in its record."""
    try:
        with _decoders:
            height, width = reading.read(source, upright=False).shape[:2]
    except ImageError as error:
        return str(error)
    if (height, width) != (record.height, record.width):
        return f"it is {width} x {height} pixels instead of the annotated {record.width} x {record.height}"
    return None


def _fetch_photographs(job: _Job, plan: _Plan, here: set[int]) -> dict[str, str]:
    """Fetch what is not `here`, add to that what comes, and give the reasons of what does not, by file name."""
    wanted = {each.id: each for each in (*plan.present, *plan.chosen) if each.id not in here}
    failed: dict[str, str] = {}
    in_a_row, saved = 0, time.monotonic()

    def fetch(each: CocoImage, stop: threading.Event) -> bytes:
        return download.fetch_bytes(
            job.url(job.split, each.file_name),
            max_bytes=reading.MAX_BYTES,
            check=lambda body: _fault(body, each),
            timeout=job.timeout,
            cancel=stop,
        )

    def state() -> str:
        others = f" ({len(failed)} failed)" if failed else ""
        return f"{sum(each.id in here for each in plan.chosen)} of {len(plan.chosen)} photographs are here{others}"

    try:
        with closing(_in_threads(fetch, wanted.values(), job.cancel)) as finished:
            for number, (each, future) in enumerate(finished, start=1):
                try:
                    _store(job, job.photograph(each), future.result())
                    here.add(each.id)
                    in_a_row = 0
                except NoRoomError as error:
                    raise NoRoomError(f"{state()}; {error}") from error
                except DownloadError as error:
                    failed[each.file_name] = str(error)
                    in_a_row = in_a_row + 1 if error.status is None else 0
                    if in_a_row == _GIVE_UP_AFTER:
                        raise DownloadError(f"{state()}, but the last {in_a_row} all failed: {error}") from error
                job.report(PHOTOGRAPHS, number, len(wanted))
                if time.monotonic() - saved > _SAVE_EVERY:
                    _save(job, plan, here)
                    saved = time.monotonic()
    except Cancelled:
        raise Cancelled(f"stopped; {state()}, run this again for the others") from None
    finally:
        _save(job, plan, here)
    return failed


def _store(job: _Job, path: Path, content: bytes) -> None:
    job.check_room(len(content))
    with _replacing(path) as file:
        file.write(content)
    job.used += len(content)


def _save(job: _Job, plan: _Plan, here: set[int]) -> None:
    """Write the annotations of the photographs that are here, unless the folder's own are not ours."""
    if plan.document is not None:
        with _replacing(job.own) as file:
            file.write(json.dumps(_part(plan.document, here)).encode())


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when all is written; only who has the folder's lock writes in it."""
    temporary = path.with_name(_TEMPORARY)
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


# ---- threads that keep nobody waiting


def _in_background(work: Callable[[threading.Event], Any], cancel: threading.Event) -> Any:
    """What `work(stop)` returns or raises, or Cancelled as soon as `cancel` is set."""
    with closing(_in_threads(lambda _, stop: work(stop), [None], cancel)) as finished:
        ((_, future),) = finished
    return future.result()


def _in_threads(
    work: Callable[[Item, threading.Event], Any], items: Iterable[Item], cancel: threading.Event
) -> Iterator[tuple[Item, Future]]:
    """Yield each item with what became of `work(item, stop)`, in the order in which they finish.

    Ends early, by Cancelled, once `cancel` is set. Work under way is then told to stop, and waited for if that
    takes no longer than a second: a thread that listens to a silent server cannot be interrupted.
    """
    waiting, running = iter(items), set()
    stop, done = threading.Event(), queue.SimpleQueue()

    def run(item: Item) -> None:
        future = Future()
        try:
            future.set_result(work(item, stop))
        except BaseException as error:
            future.set_exception(error)
        done.put((threading.current_thread(), item, future))

    try:
        while not cancel.is_set():
            for item in itertools.islice(waiting, _THREADS - len(running)):
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
