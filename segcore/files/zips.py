"""Opens ZIP archives of other people: within limits, and with errors that a person understands."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import UsageError, shown

DAMAGED = (  # exceptions that zipfile raises for damaged or malicious files
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED  # others can take gigabytes of memory to decompress
_END, _END_LENGTH, _LONGEST_COMMENT = b"PK\x05\x06", 22, 65_535
_LOCATOR, _LOCATOR_LENGTH = b"PK\x06\x07", 20  # of ZIP64
_ENCRYPTED = 0x1
_ENTRY_BYTES = 300  # of an entry in the archive's list, which includes its name
_CHUNK = 1 << 16


@contextmanager
def opened(path: Path, *, most_entries: int) -> Iterator[zipfile.ZipFile]:
    """Open an archive. Raises UsageError if it is none, or its list of files is damaged or too long.

    The length of the list is checked before it is read, since a small archive can list millions of files.
    """
    with path.open("rb") as file:
        if _list_bytes(file, path.name) > most_entries * _ENTRY_BYTES:
            raise UsageError(f"{path.name} lists too many files; put at most {most_entries:,} into it")
        try:
            archive = zipfile.ZipFile(file)
        except DAMAGED as error:
            raise UsageError(f"{path.name} is damaged; make the ZIP again") from error
        with archive:
            if len(archive.filelist) > most_entries:
                raise UsageError(f"{path.name} lists {len(archive.filelist):,} files; put at most {most_entries:,} in")
            yield archive


def read_chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, most_bytes: int) -> Iterator[bytes]:
    """Decompress an entry in chunks. Raises UsageError if it is encrypted, damaged or larger than `most_bytes`.

    Neither the size nor the name that the archive states is trusted.
    """
    name = shown(entry.filename)
    if entry.header_offset < 0:  # the archive lacks its first bytes
        raise UsageError(f"{name} is not inside the ZIP, which is damaged; make the ZIP again")
    if entry.flag_bits & _ENCRYPTED:
        raise UsageError(f"{name} is encrypted; make the ZIP without a password")
    if entry.compress_type not in _METHODS:
        raise UsageError(f"{name} is compressed in a rare way; make the ZIP with the usual method, deflate")
    done = 0
    try:
        with archive.open(entry) as file:
            while chunk := file.read(_CHUNK):
                done += len(chunk)
                if done > most_bytes:
                    raise UsageError(f"{name} unpacks to more than {most_bytes:,} bytes; leave it out")
                yield chunk
    except DAMAGED as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name} is damaged inside the ZIP; make the ZIP again") from error


def _list_bytes(file: BinaryIO, name: str) -> int:
    """Return the size of the archive's list of files, as its last bytes state it; zipfile reads as many."""
    length = file.seek(0, 2)
    tail = _END_LENGTH + _LONGEST_COMMENT + _LOCATOR_LENGTH
    file.seek(max(0, length - tail))
    end = file.read(tail)
    place = end.rfind(_END)
    if place < 0 or len(end) < place + _END_LENGTH:
        raise UsageError(f"{name} is no ZIP archive; put the files into one")
    if end[max(0, place - _LOCATOR_LENGTH) : place].startswith(_LOCATOR):
        raise UsageError(f"{name} is in the ZIP64 format, which is for more than 4 GB; make a smaller ZIP")
    return int.from_bytes(end[place + 12 : place + 16], "little")
