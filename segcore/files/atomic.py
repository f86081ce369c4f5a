"""Atomic writes: a file appears complete or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL.PngImagePlugin import PngInfo

PARTIAL = ".part-"  # how the name of a temporary file begins


@contextmanager
def atomic_write(path: str | Path, *, single_writer: bool = False) -> Iterator[Path]:
    """Yield a temporary file to write to; it gets the name `path` when the block ends, and is deleted if that fails.

    The temporary file lies beside `path`, and its name begins with PARTIAL. A link stays: the file it leads to is
    written. single_writer: nobody else writes `path` at the same time. The temporary name is then always the same, so
    the next write replaces what a killed process left.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # such as /dev/stdout
        yield path
        return
    if path.is_symlink():  # such as /dev/stdout where stdout is a file; nothing may be written beside or replace that
        path = path.resolve()
    # The random name is short, because `path` may have the longest name that the file system allows.
    name = path.name if single_writer else secrets.token_hex(4) + path.suffix
    partial = path.with_name(PARTIAL + name)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write_text(text, encoding="utf-8")


def write_json(path: Path, record: dict) -> None:
    """Write a record as JSON, atomically. Raises ValueError for nan and infinity, which JSON does not have."""
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def described(text: str) -> PngInfo:
    """The `pnginfo` for `Image.save` that gives a PNG this description. It says where the picture comes from."""
    info = PngInfo()
    info.add_text("Description", text)
    return info
