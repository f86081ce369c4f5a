"""Files that are there whole or not at all, and what a picture among them says of itself."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from PIL.PngImagePlugin import PngInfo

from ..errors import UsageError


@contextmanager
def whole(path: str | Path, *, alone: bool = False) -> Iterator[Path]:
    """A file to write that takes the name `path` once it is complete; of one that fails nothing is left.

    alone: nobody else writes the same file meanwhile. Then its name until it is complete is always the same, so that
    what a killed process left there is written over.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # such as /dev/stdout
        yield path
        return
    own = path.name if alone else secrets.token_hex(4) + path.suffix  # short: `path` may have the longest name there is
    partial = path.with_name(f".part-{own}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def held(lock: Path, problem: str) -> Iterator[None]:
    """Keep other processes and threads out. Raises UsageError with the `problem` where one holds the same lock."""
    try:
        acquired = filelock.FileLock(lock).acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(problem) from None
    with acquired:
        yield


def write_text(path: Path, text: str) -> None:
    """Write text, in UTF-8."""
    with whole(path) as file:
        file.write_text(text, encoding="utf-8")


def write_json(path: Path, record: dict) -> None:
    """Write a record as JSON, which has no word for nan and infinity: ValueError where it holds one."""
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def described(text: str) -> PngInfo:
    """What `Image.save` takes as `pnginfo` for a PNG with that description, which says where the picture is from."""
    info = PngInfo()
    info.add_text("Description", text)
    return info
