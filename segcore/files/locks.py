"""One process at a time, and a disk that may be full."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from ..errors import Cancelled, DownloadError, NoRoomError


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
