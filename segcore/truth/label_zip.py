"""Unpacks a ZIP of label maps that a person uploads, one PNG for each photograph of a data set."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import UsageError, shown
from ..files import zips

MOST_ENTRIES = 10_000  # twice the images that the page scores
MAX_FILE_BYTES = 32 * 2**20  # of one label map
MAX_BYTES = 512 * 2**20  # of all, unpacked
MAX_RATIO = 200  # of all, unpacked to packed; PNG is compressed already
_FREE_OF_RATIO = 2**20  # bytes; small archives of blank label maps may unpack to more
_MOST_NAMED = 3


@dataclass(frozen=True)
class Unpacked:
    """A folder of label maps. strays: the names of files in the archive that belong to none of the photographs."""

    folder: Path
    strays: tuple[str, ...]

    def notice(self) -> str:
        """Return a sentence on the files that were left out; empty if there are none."""
        if not self.strays:
            return ""
        more = len(self.strays) - _MOST_NAMED
        named = ", ".join(map(shown, self.strays[:_MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")
        return f"Left out of the ZIP, since no photograph of the set has this name: {named}."


def unpack(archive: Path, folder: Path, stems: Collection[str]) -> Unpacked:
    """Unpack the label maps `<stem>.png` into `folder`, which is empty. Folders inside the archive do not matter.

    stems: the names of the label maps without ".png". A file is written under a name of `stems` only, so no name in the
    archive can lead out of the folder. Raises UsageError for an archive that is damaged, encrypted, too large or
    unpacks to too much, and if two of its files have one name. Raises OSError if the disk is full.
    """
    wanted = {f"{stem}.png" for stem in stems}
    taken: dict[str, zipfile.ZipInfo] = {}
    strays = []
    with zips.opened(archive, most_entries=MOST_ENTRIES) as opened:
        for entry in opened.infolist():
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if entry.filename.endswith("/") or "__MACOSX" in path.parts or path.name.startswith("."):
                continue  # systems add these by themselves
            if path.name not in wanted:
                strays.append(entry.filename)
            elif path.name in taken:
                raise UsageError(f"{archive.name} holds {path.name} twice, in two folders; keep one")
            else:
                taken[path.name] = entry
        left = min(MAX_BYTES, max(_FREE_OF_RATIO, MAX_RATIO * archive.stat().st_size))
        for name, entry in taken.items():
            left -= _write(opened, entry, folder / name, left)
            if left < 0:
                raise UsageError(f"{archive.name} unpacks to too much; label maps as PNG are small")
    return Unpacked(folder, tuple(strays))


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    """Write a file, or the part of it that fits into `left` bytes and one chunk. Returns the number of bytes."""
    written = 0
    with path.open("xb") as file:
        for chunk in zips.read_chunks(opened, entry, most_bytes=MAX_FILE_BYTES):
            file.write(chunk)
            written += len(chunk)
            if written > left:
                break
    return written
