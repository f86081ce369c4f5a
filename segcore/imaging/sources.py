"""Opens image files with limits on their size, and explains why a file is refused."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..errors import ImageError, shown

MAX_BYTES = 64 * 1024 * 1024
SUFFIXES = (".jpg", ".jpeg", ".png", ".avif", ".webp", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif")

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # `Path` removes the second slash of a URL


@dataclass(frozen=True)
class File:
    """The bytes of a file and its name for messages. It can be sent to another machine and decoded there."""

    name: str
    content: bytes = field(repr=False)

    @classmethod
    def at(cls, path: str | Path, name: str | None = None) -> File:
        """Read the file at `path` without decoding it. name: the name in messages, by default the file's own.

        Raises ImageError if the file cannot be read, as `reading.read` does.
        """
        path = Path(path)
        name = name or path.name or str(path)
        with _opened_file(path, name, MAX_BYTES) as file, _access_failures_named(name):
            return cls(name, file.read())


def photographs_in(folder: Path) -> list[Path]:
    """Return the files of a folder that have an image's suffix, sorted by name. Sub-folders are left out.

    Hidden files are left out: macOS writes `._IMG.jpg` to foreign disks, and a killed program leaves temporary files.
    Raises OSError for a folder that cannot be read.
    """
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in SUFFIXES and not each.name.startswith(".") and not each.is_dir()
    )


@contextmanager
def opened_source(source: str | Path | File, max_bytes: int) -> Iterator[tuple[BinaryIO, str]]:
    """Yield an open file and its name for messages."""
    if isinstance(source, File):
        _check_bytes(len(source.content), source.name, max_bytes)
        yield io.BytesIO(source.content), source.name
        return
    path = Path(source)
    name = path.name or str(path)
    with _opened_file(path, name, max_bytes) as file:
        yield file, name


@contextmanager
def _opened_file(path: Path, name: str, max_bytes: int) -> Iterator[BinaryIO]:
    if _ADDRESS.match(str(path)) and not os.path.exists(path):
        raise ImageError(
            f"{shown(str(path))} is an address, which is not fetched; download the photograph and give its file"
        )
    with _access_failures_named(name):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{name} is a folder; give an image file")
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device could block for ever
        raise ImageError(f"{name} is not a regular file; give an image file")
    _check_bytes(status.st_size, name, max_bytes)
    with _access_failures_named(name):
        file = _ReadingNoMore(path.open("rb", buffering=0), status.st_size)
    with file:
        yield file


class _ReadingNoMore(io.BufferedReader):
    """A file that never allocates more than its `size` bytes. A damaged header can ask to read gigabytes."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._size))


@contextmanager
def _access_failures_named(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {name}; check its name and folder") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read; check its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: the path contains a zero byte
        raise ImageError(f"{name} cannot be opened; give the path of an image file") from error


def _check_bytes(size: int, name: str, max_bytes: int) -> None:
    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes); try again, or use another copy")
    if size > max_bytes:
        raise ImageError(
            f"{name} has {size / 2**20:.1f} MB, and {max_bytes / 2**20:.1f} MB is the most that is read; "
            "save it smaller, as JPEG for instance"
        )
