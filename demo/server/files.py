"""Keeps the files that the page makes in one folder, deletes old ones on a schedule, and all of them at the end."""

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
    """A new folder in `parent` that goes in the end; what a page that was killed has left there goes now."""
    _remove_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as folder:
        with filelock.FileLock(Path(folder, _LOCK)):
            yield Path(folder)


def _remove_leftovers(parent: Path) -> None:
    """The lock is the operating system's: it ends with its process, however that ends."""
    for folder in parent.glob(PREFIX + "*"):
        with suppress(OSError, filelock.Timeout):  # another user's, or of a page that is running
            lock = folder / _LOCK
            if lock.is_file() and not lock.is_symlink():  # without one it is just being made
                with filelock.FileLock(lock, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


class Sweeper:
    """Deletes what has lain in a folder unchanged for `keep_seconds`, and the oldest where all take over `keep_bytes`.

    unfinished_seconds: the same for files that lie in the folder itself: Gradio keeps an upload there until all of it
    has come. spared: files that stay, such as the page's own pictures. named: sets in which Gradio notes the names of
    files, out of which the names of those that are gone are taken. Ages are measured from when a file was first seen,
    by a clock that nobody can set: a computer's date may jump.
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
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}  # what it was, and since when

    def start(self) -> None:
        """Sweep now and then for as long as the process lives."""
        threading.Thread(target=self._sweep_for_ever, name=f"sweep {self.folder.name}", daemon=True).start()

    def _sweep_for_ever(self) -> None:
        while True:
            self.sweep(time.monotonic())
            time.sleep(min(_SWEEP_EVERY, self.keep_seconds / 4))

    def sweep(self, now: float) -> None:
        """Delete what is due at `now`, in seconds of a clock that only goes forward."""
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
        """The files and empty folders that are not spared, with their bytes; one that has changed is new again."""
        sizes, seen = {}, {}
        for folder, folders, names in os.walk(self.folder):
            here = Path(folder)
            paths = [here / name for name in names]
            if not folders and not names and here != self.folder:
                paths.append(here)
            for path in paths:
                with suppress(FileNotFoundError):  # gone since
                    if path not in self._spared:
                        status = path.lstat()
                        what = status.st_ino, status.st_ctime_ns
                        known = self._seen.get(path)
                        seen[path] = known if known and known[0] == what else (what, now)
                        sizes[path] = 0 if path.is_dir() else status.st_size
        self._seen = seen
        return sizes


def _delete(path: Path) -> None:
    with suppress(OSError):  # in use on Windows, or no longer empty: the next sweep tries again
        path.rmdir() if path.is_dir() else path.unlink()
