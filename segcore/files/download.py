"""Fetching one file over HTTP so that it arrives whole or not at all: resumed, retried, checked."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.client
import itertools
import json
import logging
import os
import random
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import filelock

from ..errors import Cancelled, DownloadError, NoRoomError, UsageError

CHUNK = 1 << 20
LONGEST_PAUSE = 120.0  # seconds; a server that wants to be left alone for longer is asked again after this

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
    """Fetch `url` into the file `path`, unless a good one is there already, and return `path`.

    `path` appears only when complete. Until then the bytes gather in `<path>.part`, and `<path>.part.json`
    says what they belong to, so that a later try, by whichever process, goes on where this one stopped.

    `sha256_prefix` (8 to 64 hex digits) and `expected_bytes` are what the file must have. With neither, the
    server's own length is all that can be checked, and any existing file counts as good.
    `attempts` is how many tries in a row may fail, counted afresh from each that got further; `timeout`, how
    many seconds of silence end one. `progress(done, total)` gets bytes after every chunk; `total` is None
    where the server does not say it, and `done` falls back where the file must be started over. `cancel` is
    looked at between chunks and in pauses. While another thread or process fetches to the same `path`, this
    one waits.

    Raises DownloadError when it failed for good, Cancelled, and UsageError for an impossible `sha256_prefix`.
    """
    if sha256_prefix is not None and not re.fullmatch("[0-9a-fA-F]{8,64}", sha256_prefix):
        raise UsageError(f"a SHA-256 prefix is 8 to 64 hex digits, not {sha256_prefix!r}")
    _check_url(url)
    sha256, path, cancel = (sha256_prefix or "").lower(), Path(path), cancel or threading.Event()
    job = _Job(url, path, sha256, expected_bytes, timeout, progress, cancel)
    if path.is_dir():
        raise DownloadError(f"cannot write {path}: it is a folder; give the name of a file in it")
    if _fault(job, path) is None:
        return path
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone(job.beside(".lock"), url, cancel):
        fault = _fault(job, path)  # again: another process may have brought it while this one waited
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
    """Fetch a small file into memory, so that nothing of it lies about until it is known to be right.

    `check(body)` says what is wrong with the file, None if nothing: a wrong one is fetched again like one that
    was cut off. `attempts` is how many tries may fail; `timeout` and `cancel` are as in `fetch`.

    Raises DownloadError when it failed for good, or has more than `max_bytes`, and Cancelled.
    """
    _check_url(url)
    cancel = cancel or threading.Event()
    for failures in itertools.count(1):
        try:
            body = _body(url, max_bytes, timeout, cancel)
            fault = check(body)
            if fault is None:
                return body
            raise _TryAgain(fault)
        except _TryAgain as problem:
            if failures >= attempts:
                raise DownloadError(f"cannot fetch {url}: {problem}; run this again later") from problem
            pause = _delay(failures, problem.pause)
            log.info("%s: %s; trying again in %.1f s", url, problem, pause)
            if cancel.wait(pause):
                raise Cancelled(f"stopped fetching {url}") from None


def _body(url: str, max_bytes: int, timeout: float, cancel: threading.Event) -> bytes:
    if cancel.is_set():
        raise Cancelled(f"stopped fetching {url}")
    with _open(url, {"User-Agent": "segcore"}, timeout) as response:
        if response.status != 200:
            raise DownloadError(f"cannot fetch {url}: the server answered {response.status} and no file")
        total, body = _announced(response), bytearray()
        while chunk := _read(response, url, timeout):
            body += chunk
            if len(body) > max_bytes:
                raise DownloadError(f"cannot fetch {url}: it has more than {max_bytes:,} bytes; check the address")
            if cancel.is_set():
                raise Cancelled(f"stopped fetching {url}")
    if total is not None and len(body) < total:
        raise _TryAgain(f"the connection ended after {len(body):,} of {total:,} bytes")
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


class _TryAgain(Exception):
    """A failure that may pass: `stale` if the part must not be continued, `pause` the seconds asked for."""

    def __init__(self, reason: str, *, stale: bool = False, pause: float = 0.0):
        super().__init__(reason)
        self.stale, self.pause = stale, pause


def _fetch_checked(job: _Job, attempts: int) -> None:
    for _ in range(2):  # the part may have been begun with other bytes: a wrong file gets one try from byte 0
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
        except _TryAgain as problem:
            if problem.stale:
                _discard(job)
            done = _resume_point(job)[1]
            # Bytes reached before do not count: a server that always starts over would be asked for ever.
            failures = 1 if done > furthest else failures + 1
            furthest = max(furthest, done)
            if failures >= attempts:
                raise DownloadError(f"cannot fetch {job.url}: {problem}; {_kept(job)}") from problem
            pause = _delay(failures, problem.pause)
            log.info("%s: %s; trying again in %.1f s", job.url, problem, pause)
            if job.cancel.wait(pause):
                raise _cancelled(job) from None


def _delay(failures: int, asked: float) -> float:
    """Seconds to pause: 0.5, 1, ... 30; scattered, so that clients that failed together come back apart."""
    scattered = min(30.0, 0.5 * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)
    return max(scattered, min(asked, LONGEST_PAUSE))


def _attempt(job: _Job) -> None:
    """Make one request and append its body to the part; return only if that completes the part."""
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
    with _open(job.url, headers, job.timeout) as response:
        if response.status == 206:
            total = _continued(response, note, done)
        elif response.status == 200:
            total, done = _started_over(job, response), 0
        else:
            raise DownloadError(f"cannot fetch {job.url}: the server answered {response.status} and no file")
        _append(job, response, done, total)


def _resume_point(job: _Job) -> tuple[dict, int]:
    """The part's note and size, or ({}, 0) where there is nothing that can safely be continued."""
    with disk(job.part):
        if not (job.part.is_file() and job.note.is_file()):
            return {}, 0
        done, text = job.part.stat().st_size, job.note.read_bytes()
    try:
        note = json.loads(text)
    except ValueError:  # its process was killed in the middle of writing it
        return {}, 0
    provable = note["validator"] or job.sha256_prefix
    return (note, done) if note["url"] == job.url and provable else ({}, 0)


def _started_over(job: _Job, response: http.client.HTTPResponse) -> int | None:
    """Begin the part anew for a 200 answer; the length that the file will have, None if nobody says."""
    announced = _announced(response)
    total = announced if job.expected_bytes is None else job.expected_bytes
    if announced not in (None, total):
        raise _TryAgain(f"the server offers {announced:,} bytes instead of {total:,}", stale=True)
    note = {"url": job.url, "validator": _validator(response), "total": total}
    with disk(job.part):
        job.part.write_bytes(b"")  # first, so that the note never describes bytes older than itself
        job.note.write_text(json.dumps(note))
    return total


def _announced(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _continued(response: http.client.HTTPResponse, note: dict, done: int) -> int | None:
    """The whole file's length by a 206 answer, which must continue the very file that the part began."""
    given = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", given)
    if not done or not match or int(match[1]) != done:
        raise _TryAgain(f"asked for byte {done} onwards, the server sent {given!r}", stale=True)
    total = note["total"] if match[2] == "*" else int(match[2])
    if note["total"] not in (None, total) or _validator(response) not in (None, note["validator"]):
        raise _TryAgain("the file on the server has changed since its download began", stale=True)
    return total


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What If-Range may carry to name this very version: no weak ETag (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _append(job: _Job, response: http.client.HTTPResponse, done: int, total: int | None) -> None:
    with disk(job.part):
        part = open(job.part, "ab", buffering=0)
    with part:
        while chunk := _read(response, job.url, job.timeout):
            with disk(job.part):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[part.write(rest) :]
            done += len(chunk)
            if total is not None and done > total:
                raise _TryAgain(f"the server sent more than the file's {total:,} bytes", stale=True)
            if job.progress:
                job.progress(done, total)
            if job.cancel.is_set():
                raise _cancelled(job)
        with disk(job.part):
            os.fsync(part.fileno())
    if total is not None and done < total:
        raise _TryAgain(f"the connection ended after {done:,} of {total:,} bytes")


def _read(response: http.client.HTTPResponse, url: str, timeout: float) -> bytes:
    try:
        return response.read1(CHUNK)  # what is there: a slow link must not hold back progress or cancelling
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(_in_words(error, url, timeout)) from error


def _open(url: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers=headers)
    try:
        return _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            reason = f"the server answered {error.code} {error.reason}"
            asked = error.headers.get("Retry-After", "")
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _TryAgain(reason, pause=float(asked) if asked.isdecimal() else 0.0) from None
        if error.code == 416 and "Range" in headers:
            raise _TryAgain(reason, stale=True) from None
        raise DownloadError(f"cannot fetch {url}: {reason}; check the address", error.code) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = "check this computer's clock and its certificates"
            raise DownloadError(f"cannot fetch {url} safely: {cause.verify_message}; {advice}") from error
        raise _TryAgain(_in_words(cause, url, timeout)) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, fp, code, message, headers, url):
        _check_url(url)
        if urlsplit(request.full_url).scheme == "https" and urlsplit(url).scheme == "http":
            raise DownloadError(f"{request.full_url} leads to {url}, which is not encrypted: refused")
        return super().redirect_request(request, fp, code, message, headers, url)


@functools.cache  # from Python 3.12 on, each opener reads all certificates
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search("[^!-~]", url):
        raise DownloadError(f"cannot fetch {url!r}: give an http:// or https:// address without spaces")


def _in_words(cause: object, url: str, timeout: float) -> str:
    host = urlsplit(url).hostname
    if isinstance(cause, socket.gaierror):
        return f"the name {host} cannot be looked up (is this computer online?)"
    if isinstance(cause, TimeoutError):
        return f"nothing came from {host} for {timeout:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return f"{host} refuses the connection"
    return f"the connection to {host} failed ({cause or type(cause).__name__})"


@contextmanager
def alone(path: Path, subject: str, cancel: threading.Event) -> Iterator[None]:
    """Hold the lock `path`, waiting while another thread or process does, and remove its file in the end.

    It is the operating system's own: it ends with its process, however that ends. Raises Cancelled, which says
    that another process was fetching the `subject`, and DownloadError where there can be no such file.
    """
    lock = filelock.FileLock(path)
    with disk(path):
        try:
            held = lock.acquire(poll_interval=0.1, cancel_check=cancel.is_set)
        except filelock.Timeout:
            raise Cancelled(f"stopped while another process was fetching {subject}") from None
    with held:
        try:
            yield
        finally:
            # Safe while it is held: a process that has opened it already finds it nameless and opens another.
            # The kinds of lock on other systems remove their file themselves; another user's file may stay.
            if isinstance(lock, filelock.UnixFileLock):
                with suppress(PermissionError):
                    path.unlink(missing_ok=True)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Make what the file system refuses a DownloadError that says what it is; NoRoomError where it is full."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full; free some space and run this again"
            raise NoRoomError(f"cannot write {path}: {advice}") from error
        reason = error.strerror or str(error)
        if isinstance(error, PermissionError):
            reason = f"no permission in {path.parent}; choose another folder or change its permissions"
        raise DownloadError(f"cannot write {path}: {reason}") from error


def _fault(job: _Job, file: Path) -> str | None:
    """What is wrong with a complete file, or None; judged by what is on disk, not by what was received."""
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
    return f"run this again to resume from {done:,} bytes" if done else "run this again later"


def _cancelled(job: _Job) -> Cancelled:
    return Cancelled(f"stopped fetching {job.url}; {_kept(job)}")
