"""Downloads COCO's annotations: a single file, or one file out of COCO's zip archive."""

from __future__ import annotations

import logging
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import AnnotationError, Cancelled, DownloadError, SegcoreError, UsageError
from ..files import download
from ..files.locks import disk
from ..files.zips import DAMAGED
from . import coco_json
from .coco import CocoDataset
from .fetch_job import ANNOTATIONS, ARCHIVE, CHUNK, READING, Job, in_background, replacing

log = logging.getLogger(__name__)

_OFFICIAL_ARCHIVE = {
    "expected_bytes": 252_907_541,
    "sha256_prefix": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
}
_OFFICIAL_SPLITS = ("train2017", "val2017")


def annotations_of(job: Job) -> tuple[dict[str, Any], CocoDataset]:
    """Return all annotations of the split, as a document and as a data set. They are downloaded if needed."""
    if job.complete.is_file():
        try:
            return _read(job, job.complete)
        except AnnotationError as error:
            log.warning("%s; fetching it again", error)
    elif job.own.is_file():
        return _read(job, job.own)
    _fetch_complete(job)
    job.used += job.complete.stat().st_size
    try:
        return _read(job, job.complete)
    except AnnotationError as error:
        job.complete.unlink()
        raise AnnotationError(f"what came from {job.base_url} was not kept: {error}") from error


def _read(job: Job, path: Path) -> tuple[dict[str, Any], CocoDataset]:
    def read(stop: threading.Event) -> tuple[dict[str, Any], CocoDataset]:
        document = coco_json.read_document(path)
        return document, CocoDataset.from_document(job.folder, job.split, document, path)

    job.report(READING, 0, None)
    return in_background(read, job.cancel)


def _fetch_complete(job: Job) -> None:
    if job.official and job.split not in _OFFICIAL_SPLITS:
        raise UsageError(f"COCO has no split {job.split!r}; choose one of: {', '.join(_OFFICIAL_SPLITS)}")
    with disk(job.complete):
        job.complete.unlink(missing_ok=True)
        if not job.official:  # without a published hash, an old archive cannot be trusted
            job.archive.unlink(missing_ok=True)
    url = job.url("annotations", ARCHIVE)
    try:
        _download(job, url, job.archive, **(_OFFICIAL_ARCHIVE if job.official else {}))
    except DownloadError as error:
        if error.status != 404 or job.official:
            raise
        _download(job, job.url("annotations", job.own.name), job.complete)
        return
    try:
        _extract(job, url)
    except BaseException:
        if not job.official:
            job.archive.unlink()
        raise
    job.archive.unlink()


def _download(job: Job, url: str, path: Path, **known: Any) -> None:
    def watch(done: int, total: int | None) -> None:
        size = max(done, total or 0)
        if size > coco_json.MAX_ANNOTATION_BYTES:
            most = f"{coco_json.MAX_ANNOTATION_BYTES / 1e6:,.1f} MB"
            raise DownloadError(f"{url} has {size / 1e6:,.1f} MB, and {most} is the most that is read; check it")
        job.check_room(size)
        job.report(ANNOTATIONS, done, total)

    def fetch(stop: threading.Event) -> None:
        download.fetch(url, path, timeout=job.timeout, progress=watch, cancel=stop, **known)

    in_background(fetch, job.cancel)


def _extract(job: Job, url: str) -> None:
    """Extract the split's file from the zip archive, and nothing else."""
    member = f"annotations/{job.own.name}"
    with _opened_archive(job.archive, url) as archive:
        if member not in archive.namelist():
            found = re.findall(r"^annotations/instances_(\w+)\.json$", "\n".join(archive.namelist()), re.MULTILINE)
            raise UsageError(f"{url} has no {member}; the splits in it: {', '.join(found) or 'none'}")
        entry = archive.getinfo(member)
        if entry.file_size > coco_json.MAX_ANNOTATION_BYTES:
            raise zipfile.BadZipFile(f"{member} would have {entry.file_size:,} bytes")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others can expand without limit
            raise zipfile.BadZipFile(f"{member} is packed in an unusual way")
        job.check_room(job.archive.stat().st_size + entry.file_size)
        with archive.open(entry) as packed, replacing(job.complete) as file:
            while chunk := packed.read(CHUNK):  # zipfile stops at file_size
                file.write(chunk)
                if job.cancel.is_set():
                    raise Cancelled("stopped; run this again to go on")


@contextmanager
def _opened_archive(path: Path, url: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGED as error:
        if isinstance(error, SegcoreError):
            raise
        raise DownloadError(
            f"what came from {url} is no sound zip file ({error}), and was not kept; try later, or another address"
        ) from error
