"""Names of the files that are written for each photograph."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path


def output_stems(files: Iterable[Path]) -> dict[Path, str]:
    """Return the name of each file's outputs, which is its stem, or the full name if two files share a stem.

    Stems that some file systems treat as equal, such as IMG and img, count as the same stem.
    """
    taken: set[str] = set()
    stems: dict[Path, str] = {}
    for path in files:
        stem = path.stem if _on_any_disk(path.stem) not in taken else path.name.replace(".", "_")
        while _on_any_disk(stem) in taken:
            stem += "_"
        taken.add(_on_any_disk(stem))
        stems[path] = stem
    return stems


def _on_any_disk(name: str) -> str:
    """Return the same text for names that some file system treats as equal: case, and ways to encode accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
