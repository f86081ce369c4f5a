"""Downloads a chosen number of COCO photographs with annotations. The folder is a valid data set at any time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..classes import object_id
from ..errors import Cancelled, DownloadError, ImageError, NoRoomError, UsageError
from ..files import download
from ..files.atomic import PARTIAL
from ..files.locks import disk, lock_or_wait
from ..imaging import reading
from . import coco
from .coco import CocoDataset
from .coco_json import CocoImage
from .fetch_annotations import annotations_of
from .fetch_job import ARCHIVE, CHECKING, OFFICIAL_URL, PHOTOGRAPHS, THREADS, Job, in_threads, replacing

MAX_BYTES = 4 * 10**9

_GIVE_UP_AFTER = 3 * THREADS  # failures in a row
_SAVE_EVERY = 30.0  # seconds
_decoders = threading.Semaphore(2)  # decoding a photograph to check it may take hundreds of megabytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchedCoco:
    """The result of `fetch_coco`. Open the data set with `CocoDataset.open(folder, split)`.

    ids: the requested images that are on disk, sorted. failed: by file name, why a photograph is missing.
    available: how many images of the split match the request.
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
    """Download `count` images of a split, with their annotations, into a folder in COCO's layout.

    classes: choose images with an object or crowd region of any of them; by default all images. The choice depends only
    on `seed`, `count` and `classes`, and a larger count includes the images of a smaller one. If fewer images match,
    all of them are taken. `annotations/instances_<split>.json` describes the complete photographs in `<split>/`; all
    annotations of the split are kept in `annotations/whole/`. If the folder has an annotation file that this function
    did not write, that file stays as it is and only photographs are downloaded. A stopped call can be repeated.

    base_url: a mirror with `annotations/annotations_trainval2017.zip` or `annotations/instances_<split>.json`, and
    `<split>/<file name>`.
    max_bytes: the limit on disk for the folder's photographs and downloaded annotations, other splits included.
    timeout: seconds without data that end an attempt.
    progress(stage, done, total): bytes for ANNOTATIONS, photographs for CHECKING and PHOTOGRAPHS; no numbers for
    READING. It may be called from another thread. The call waits while another one downloads into the same folder.

    The result lists photographs that could not be downloaded. Raises DownloadError if the annotations cannot be
    downloaded, too many photographs fail or the folder cannot be written; NoRoomError at the limit or on a full disk;
    AnnotationError for broken annotations; Cancelled; UsageError for an unknown split, class or number.
    """
    _check_arguments(split, count, max_bytes)
    numbers = [object_id(each) for each in classes]
    job = Job(Path(folder), split, base_url or OFFICIAL_URL, max_bytes, timeout, progress, cancel or threading.Event())
    with disk(job.own):
        job.own.parent.mkdir(parents=True, exist_ok=True)
    with lock_or_wait(job.own.with_name(".fetch-coco.lock"), f"into {folder}", job.cancel):
        with disk(job.folder):
            job.used = _tidy(job)
        plan = _plan(job, numbers, count, seed)
        here = _check(job, plan.present)
        failed = _fetch_photographs(job, plan, here)
    ids = sorted(each.id for each in plan.chosen if each.id in here)
    return FetchedCoco(job.folder, split, tuple(ids), failed, plan.available)


def _check_arguments(split: str, count: int, max_bytes: float) -> None:
    if count < 1:
        raise UsageError(f"the count must be at least 1 image, got {count}")
    if not max_bytes > 0:
        raise UsageError(f"the folder must be allowed more than 0 bytes, got {max_bytes}")
    if not re.fullmatch(r"\w[\w .-]*", split) or split.casefold() == "annotations":
        raise UsageError(f"a split is a name such as val2017, not {split!r}")


def _tidy(job: Job) -> int:
    """Remove a killed process's temporary files. Returns the bytes that annotations and photographs take."""
    used = 0
    for name in {"annotations", job.split, *coco.splits(job.folder)}:
        for folder, _, files in os.walk(job.folder / name):
            for file in (Path(folder, each) for each in files):
                if file.name.startswith(PARTIAL):
                    file.unlink()
                elif (
                    not file.name.startswith(ARCHIVE) and file.suffix != ".part"
                ):  # their bytes are counted as they arrive
                    used += file.lstat().st_size
    return used


@dataclass(frozen=True)
class _Plan:
    chosen: tuple[CocoImage, ...]  # in order of priority
    available: int
    present: tuple[CocoImage, ...]  # images with a file on disk, which may be damaged
    document: dict[str, Any] | None  # annotations of chosen and present; None: keep the folder's file


def _plan(job: Job, numbers: Sequence[int | None], count: int, seed: int) -> _Plan:
    foreign = job.own.is_file() and not job.complete.is_file()
    document, dataset = annotations_of(job)
    ranked = _ranked(dataset, numbers, seed)
    if not ranked:
        raise UsageError(f"no image of {job.split} has an object of these classes; choose others")
    chosen = tuple(map(dataset.image, ranked[:count]))
    candidates = chosen if foreign else dataset.images
    present = tuple(each for each in candidates if os.path.isfile(job.photograph(each)))
    if foreign:
        return _Plan(chosen, len(ranked), present, None)
    # Keep only this part: a large file's annotations would take gigabytes of memory during the download.
    return _Plan(chosen, len(ranked), present, _part(document, {each.id for each in (*chosen, *present)}))


def _ranked(dataset: CocoDataset, numbers: Sequence[int | None], seed: int) -> list[int]:
    """Return the ids that may be chosen, in a pseudo-random order that depends only on the seed and the ids."""
    ids = {each.id for each in dataset.images}
    if numbers:
        ids = {each for number in numbers for each in dataset.ids_with_class(number)}
    return sorted(ids, key=lambda each: hashlib.sha256(f"{seed} {each}".encode()).digest())


def _part(document: dict[str, Any], ids: set[int]) -> dict[str, Any]:
    """Return the document restricted to the images of these ids."""
    return document | {
        "images": [each for each in document["images"] if each["id"] in ids],
        "annotations": [each for each in document["annotations"] if each["image_id"] in ids],
    }


def _check(job: Job, present: Sequence[CocoImage]) -> set[int]:
    """Return the ids of the images whose files are valid."""
    here = set()
    with closing(in_threads(lambda each, _: _fault(job.photograph(each), each), present, job.cancel)) as finished:
        for number, (each, future) in enumerate(finished, start=1):
            fault = future.result()
            if fault is None:
                here.add(each.id)
            else:
                log.warning("%s: %s; fetching it again", job.photograph(each), fault)
            job.report(CHECKING, number, len(present))
    return here


def _fault(source: Path | bytes, record: CocoImage) -> str | None:
    """Return what is wrong with a photograph; None if it decodes to the size in its record."""
    try:
        with _decoders:
            height, width = reading.read(source, upright=False).shape[:2]
    except ImageError as error:
        return str(error)
    if (height, width) != (record.height, record.width):
        return f"it is {width} x {height} pixels instead of the annotated {record.width} x {record.height}"
    return None


def _fetch_photographs(job: Job, plan: _Plan, here: set[int]) -> dict[str, str]:
    """Download the photographs that are not in `here`, and add them to it. Returns reasons of failures by file name."""
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
        with closing(in_threads(fetch, wanted.values(), job.cancel)) as finished:
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


def _store(job: Job, path: Path, content: bytes) -> None:
    job.check_room(len(content))
    with replacing(path) as file:
        file.write(content)
    job.used += len(content)


def _save(job: Job, plan: _Plan, here: set[int]) -> None:
    """Write the annotations of the photographs on disk, unless the folder came with its own annotation file."""
    if plan.document is not None:
        with replacing(job.own) as file:
            file.write(json.dumps(_part(plan.document, here)).encode())
