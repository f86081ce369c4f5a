"""Download one file over HTTP, with retries, resuming and a check of its size and hash."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import logging
import os
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import Cancelled, DownloadError, UsageError
from .locks import disk, lock_or_wait
from .requests import TryAgain, check_url, open_url, read_body

LONGEST_PAUSE = 120.0  # seconds: the longest Retry-After that is obeyed

log = logging.getLogger(__name__)


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256_prefix: str | None = None,
    expected_bytes: int | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Download `url` to the file `path`, unless a valid file is there already, and return `path`.

    `path` appears only when the download is complete. Until then the bytes are in `<path>.part`, and
    `<path>.part.json` says which download they belong to, so that any later process can resume it.

    sha256_prefix (8 to 64 hex digits), expected_bytes: properties that the file must have. If both are None, only
    the Content-Length is checked, and any existing file is valid.
    attempts: how many attempts in a row may fail. An attempt that made progress resets the count.
    timeout: seconds without data that end an attempt.
    progress(done, total): is called with bytes after every chunk. `total` is None if the server does not send it.
    `done` falls back to 0 if the download must start again.
    cancel: is checked between chunks and during pauses.
    If another thread or process downloads to the same `path`, this call waits.

    Raises DownloadError after the last attempt, Cancelled, and UsageError for an invalid `sha256_prefix`.
    """
    if sha256_prefix is not None and not re.fullmatch("[0-9a-fA-F]{8,64}", sha256_prefix):
        raise UsageError(f"a SHA-256 prefix is 8 to 64 hex digits, not {sha256_prefix!r}")
    check_url(url)
    sha256, path, cancel = (sha256_prefix or "").lower(), Path(path), cancel or threading.Event()
    job = _Job(url, path, sha256, expected_bytes, timeout, progress, cancel)
    if path.is_dir():
        raise DownloadError(f"cannot write {path}: it is a folder; give the name of a file in it")
    if _fault(job, path) is None:
        return path
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock_or_wait(job.beside(".lock"), url, cancel):
        fault = _fault(job, path)  # check again: another process may have downloaded it meanwhile
        if fault and path.exists():
            log.warning("%s %s; fetching it again", path, fault)
        if fault:
            _fetch_checked(job, attempts)
    return path


def fetch_bytes(
    url: str,
    *,
    max_bytes: int,
    check: Callable[[bytes], str | None],
    attempts: int = 4,
    timeout: float = 30.0,
    cancel: threading.Event | None = None,
) -> bytes:
    """Download a small file into memory and check it before anything is written to disk.

    check(body): returns what is wrong with the file, or None. A wrong file is downloaded again, like one that was
    cut off. attempts: how many attempts may fail. timeout, cancel: as in `fetch`.

    Raises DownloadError after the last attempt and for more than `max_bytes` bytes, and Cancelled.
    """
    check_url(url)
    cancel = cancel or threading.Event()
    for failures in itertools.count(1):
        try:
            body = _body(url, max_bytes, timeout, cancel)
            fault = check(body)
            if fault is None:
                return body
            raise TryAgain(fault)
        except TryAgain as problem:
            if failures >= attempts:
                raise DownloadError(f"cannot fetch {url}: {problem}; try the download again later") from problem
            pause = _delay(failures, problem.pause)
            log.info("%s: %s; trying again in %.1f s", url, problem, pause)
            if cancel.wait(pause):
                raise Cancelled(f"stopped fetching {url}") from None
    raise AssertionError("counting never ends")


def _body(url: str, max_bytes: int, timeout: float, cancel: threading.Event) -> bytes:
    if cancel.is_set():
        raise Cancelled(f"stopped fetching {url}")
    with open_url(url, {"User-Agent": "segcore"}, timeout) as response:
        if response.status != 200:
            raise DownloadError(f"cannot fetch {url}: the server answered {response.status} and no file")
        total, body = _announced(response), bytearray()
        while chunk := read_body(response, url, timeout):
            body += chunk
            if len(body) > max_bytes:
                raise DownloadError(f"cannot fetch {url}: it has more than {max_bytes:,} bytes; check the address")
            if cancel.is_set():
                raise Cancelled(f"stopped fetching {url}")
    if total is not None and len(body) < total:
        raise TryAgain(f"the connection ended after {len(body):,} of {total:,} bytes")
    return bytes(body)


@dataclass(frozen=True)
class _Job:
    url: str
    path: Path
    sha256_prefix: str
    expected_bytes: int | None
    timeout: float
    progress: Callable[[int, int | None], None] | None
    cancel: threading.Event

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    @property
    def part(self) -> Path:
        return self.beside(".part")

    @property
    def note(self) -> Path:
        return self.beside(".part.json")


def _fetch_checked(job: _Job, attempts: int) -> None:
    for _ in range(2):  # the resumed part may hold wrong bytes, so a wrong file is downloaded once more from byte 0
        _fetch_complete(job, attempts)
        fault = _fault(job, job.part)
        if fault is None:
            with disk(job.path):
                os.replace(job.part, job.path)
                job.note.unlink(missing_ok=True)
            return
        log.info("what came from %s %s", job.url, fault)
        _discard(job)
    raise DownloadError(
        f"what came from {job.url} {fault}, twice; nothing of it was kept. Try later, or another address"
    )


def _fetch_complete(job: _Job, attempts: int) -> None:
    failures = furthest = 0
    while True:
        try:
            return _attempt(job)
        except TryAgain as problem:
            if problem.stale:
                _discard(job)
            done = _resume_point(job)[1]
            # Only progress beyond the furthest byte resets the count; a server that always restarts must not loop.
            failures = 1 if done > furthest else failures + 1
            furthest = max(furthest, done)
            if failures >= attempts:
                raise DownloadError(f"cannot fetch {job.url}: {problem}; {_kept(job)}") from problem
            pause = _delay(failures, problem.pause)
            log.info("%s: %s; trying again in %.1f s", job.url, problem, pause)
            if job.cancel.wait(pause):
                raise _cancelled(job) from None


def _delay(failures: int, asked: float) -> float:
    """Return the seconds to pause: 0.5, 1, ... 30, with random jitter so that many clients do not retry together."""
    scattered = min(30.0, 0.5 * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)
    return max(scattered, min(asked, LONGEST_PAUSE))


def _attempt(job: _Job) -> None:
    """Make one request and append its body to the partial file. Returns when the partial file is complete."""
    if job.cancel.is_set():
        raise _cancelled(job)
    note, done = _resume_point(job)
    if done and done == note["total"]:
        return
    headers = {"User-Agent": "segcore"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if note["validator"]:
            headers["If-Range"] = note["validator"]
    with open_url(job.url, headers, job.timeout) as response:
        if response.status == 206:
            total = _continued(response, note, done)
        elif response.status == 200:
            total, done = _started_over(job, response), 0
        else:
            raise DownloadError(f"cannot fetch {job.url}: the server answered {response.status} and no file")
        _append(job, response, done, total)


def _resume_point(job: _Job) -> tuple[dict, int]:
    """Return the partial file's note and size, or ({}, 0) if no download can safely be resumed."""
    with disk(job.part):
        if not (job.part.is_file() and job.note.is_file()):
            return {}, 0
        done, text = job.part.stat().st_size, job.note.read_bytes()
    try:
        note = json.loads(text)
    except ValueError:  # the process was killed while it wrote the note
        return {}, 0
    provable = note["validator"] or job.sha256_prefix
    return (note, done) if note["url"] == job.url and provable else ({}, 0)


def _started_over(job: _Job, response: http.client.HTTPResponse) -> int | None:
    """Start the partial file again after a 200 response. Returns the file's final size, None if it is unknown."""
    announced = _announced(response)
    total = announced if job.expected_bytes is None else job.expected_bytes
    if announced not in (None, total):
        raise TryAgain(f"the server offers {announced:,} bytes instead of {total:,}", stale=True)
    note = {"url": job.url, "validator": _validator(response), "total": total}
    with disk(job.part):
        job.part.write_bytes(b"")  # before the note, so that the note never describes older bytes
        job.note.write_text(json.dumps(note))
    return total


def _announced(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _continued(response: http.client.HTTPResponse, note: dict, done: int) -> int | None:
    """Return the file's final size after a 206 response, which must continue the same version of the file."""
    given = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", given)
    if not done or not match or int(match[1]) != done:
        raise TryAgain(f"asked for byte {done} onwards, the server sent {given!r}", stale=True)
    total = note["total"] if match[2] == "*" else int(match[2])
    if note["total"] not in (None, total) or _validator(response) not in (None, note["validator"]):
        raise TryAgain("the file on the server has changed since its download began", stale=True)
    return total


def _validator(response: http.client.HTTPResponse) -> str | None:
    """Return the value for If-Range that identifies this version: no weak ETag (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _append(job: _Job, response: http.client.HTTPResponse, done: int, total: int | None) -> None:
    with disk(job.part):
        part = open(job.part, "ab", buffering=0)
    with part:
        while chunk := read_body(response, job.url, job.timeout):
            with disk(job.part):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[part.write(rest) :]
            done += len(chunk)
            if total is not None and done > total:
                raise TryAgain(f"the server sent more than the file's {total:,} bytes", stale=True)
            if job.progress:
                job.progress(done, total)
            if job.cancel.is_set():
                raise _cancelled(job)
        with disk(job.part):
            os.fsync(part.fileno())
    if total is not None and done < total:
        raise TryAgain(f"the connection ended after {done:,} of {total:,} bytes")


def _fault(job: _Job, file: Path) -> str | None:
    """Return what is wrong with a complete file on disk, or None."""
    with disk(file):
        if not file.is_file():
            return "does not exist"
        size = file.stat().st_size
        if job.expected_bytes not in (None, size):
            return f"has {size:,} bytes instead of {job.expected_bytes:,}"
        if job.sha256_prefix:
            with open(file, "rb") as opened:
                received = hashlib.file_digest(opened, "sha256").hexdigest()
            if not received.startswith(job.sha256_prefix):
                return f"has the SHA-256 {received} instead of {job.sha256_prefix}"
    return None


def _discard(job: _Job) -> None:
    with disk(job.part):
        job.part.unlink(missing_ok=True)
        job.note.unlink(missing_ok=True)


def _kept(job: _Job) -> str:
    done = _resume_point(job)[1]
    return f"try the download again to resume from {done:,} bytes" if done else "try the download again later"


def _cancelled(job: _Job) -> Cancelled:
    return Cancelled(f"stopped fetching {job.url}; {_kept(job)}")
