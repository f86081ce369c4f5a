"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A file to write that takes the name `path` once it is complete; of one that fails nothing is left."""
    path = Path(path)
    if path.exists() and not path.is_file():  # such as /dev/stdout
        yield path
        return
    partial = path.with_name(f".part-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text, in UTF-8."""
    with whole(path) as file:
        file.write_text(text, encoding="utf-8")


def write_json(path: Path, record: dict) -> None:
    """Write a record as JSON, which has no word for nan and infinity: ValueError where it holds one."""
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
