"""Keeps the page's files in one folder, deletes old files regularly, and deletes the folder at the end."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

PREFIX = "segcore-running-"
_LOCK = "running.lock"
_SWEEP_EVERY = 15.0  # seconds


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent` and delete it at the end. First, delete folders that killed pages have left."""
    _remove_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as folder:
        with filelock.FileLock(Path(folder, _LOCK)):
            yield Path(folder)


def _remove_leftovers(parent: Path) -> None:
    """Delete folders of pages that no longer run. The system releases a page's lock when its process ends."""
    for folder in parent.glob(PREFIX + "*"):
        with suppress(OSError, filelock.Timeout):  # it belongs to another user or to a running page
            lock = folder / _LOCK
            if lock.is_file() and not lock.is_symlink():  # a folder without a lock is just being created
                with filelock.FileLock(lock, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


class Sweeper:
    """Deletes files that have not changed for `keep_seconds`, and the oldest files if all take more than `keep_bytes`.

    unfinished_seconds: the limit for files directly in the folder, where Gradio writes uploads until they are complete.
    spared: files that are kept, such as the page's own images. named: sets of file names that Gradio keeps; names of
    deleted files are removed from them. Ages are measured from when a file was first seen, by a monotonic clock,
    because the system time may jump.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_seconds: float,
        unfinished_seconds: float = math.inf,
        keep_bytes: float = math.inf,
        spared: Collection[Path] = (),
        named: Collection[set[str]] = (),
    ) -> None:
        self.folder = folder
        self.keep_seconds, self.unfinished_seconds, self.keep_bytes = keep_seconds, unfinished_seconds, keep_bytes
        self._spared, self._named = frozenset(spared), named
        self._seen: dict[
            Path, tuple[tuple[int, int], float]
        ] = {}  # inode and change time, and when they were first seen

    def start(self) -> None:
        """Sweep regularly in a thread until the process ends."""
        threading.Thread(target=self._sweep_for_ever, name=f"sweep {self.folder.name}", daemon=True).start()

    def _sweep_for_ever(self) -> None:
        while True:
            self.sweep(time.monotonic())
            time.sleep(min(_SWEEP_EVERY, self.keep_seconds / 4))

    def sweep(self, now: float) -> None:
        """Delete the files that are due at `now`, in seconds of a monotonic clock."""
        sizes = self._look(now)
        kept = []
        for path in sorted(sizes, key=lambda path: self._seen[path][1]):
            unfinished = path.parent == self.folder
            allowed = min(self.keep_seconds, self.unfinished_seconds) if unfinished else self.keep_seconds
            if now - self._seen[path][1] > allowed:
                _delete(path)
            else:
                kept.append(path)
        used = sum(sizes[path] for path in kept)
        for path in kept:
            if used <= self.keep_bytes:
                break
            _delete(path)
            used -= sizes[path]
        for names in self._named:
            names.difference_update([name for name in list(names) if not os.path.exists(name)])

    def _look(self, now: float) -> dict[Path, int]:
        """Return the files and empty folders that are not spared, with their sizes. A changed file counts as new."""
        sizes, seen = {}, {}
        for folder, folders, names in os.walk(self.folder):
            here = Path(folder)
            paths = [here / name for name in names]
            if not folders and not names and here != self.folder:
                paths.append(here)
            for path in paths:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if path not in self._spared:
                        status = path.lstat()
                        what = status.st_ino, status.st_ctime_ns
                        known = self._seen.get(path)
                        seen[path] = known if known and known[0] == what else (what, now)
                        sizes[path] = 0 if path.is_dir() else status.st_size
        self._seen = seen
        return sizes


def _delete(path: Path) -> None:
    with suppress(OSError):  # in use (Windows) or not empty any more: the next sweep tries again
        path.rmdir() if path.is_dir() else path.unlink()
