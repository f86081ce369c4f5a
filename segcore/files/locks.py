"""Locks between processes, and clear messages for errors of the file system."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from ..errors import Cancelled, DownloadError, NoRoomError, UsageError


@contextmanager
def lock_or_refuse(path: Path, problem: str) -> Iterator[None]:
    """Hold the lock `path`. Raises UsageError with the text `problem` if another thread or process holds it."""
    try:
        held = filelock.FileLock(path).acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(problem) from None
    with held:
        yield


@contextmanager
def lock_or_wait(path: Path, subject: str, cancel: threading.Event) -> Iterator[None]:
    """Hold the lock `path`; wait while another thread or process holds it. The lock's file is removed at the end.

    The operating system releases the lock when the process ends, even if it is killed. Raises Cancelled, which says
    that another process was fetching `subject`, and DownloadError if the lock's file cannot be created.
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
            # Safe while the lock is held: a process that waits for it sees that the file is gone and opens a new one.
            # On other systems filelock removes the file itself. A file of another user may stay.
            if isinstance(lock, filelock.UnixFileLock):
                with suppress(PermissionError):
                    path.unlink(missing_ok=True)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn an OSError into a DownloadError that explains it, or into a NoRoomError if the disk is full."""
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
