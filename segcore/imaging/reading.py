"""Anything that a person may upload, decoded to upright RGB, or refused before memory is spent on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeGuard

import numpy as np
from PIL import ExifTags, Image

from ..errors import ImageError
from .formats import MAX_PIXELS, check_pixels, failures_named, identify, refuse_unsafe
from .pixels import INVERSE_ORIENTATION, array_to_rgb, decoded_rgb, fit_within, turn
from .sources import MAX_BYTES, SUFFIXES, File, opened_source, photographs_in

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "File",
    "Source",
    "fit_within",
    "is_open_file",
    "opened",
    "orientation",
    "photographs_in",
    "read",
    "turn",
]

Source = str | Path | bytes | File | BinaryIO | Image.Image | np.ndarray

_ORIENTATION = ExifTags.Base.Orientation
_UNNAMED = "the image"
_UNNAMED_BYTES = "the file"


def read(
    source: Source,
    *,
    upright: bool = True,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> np.ndarray:
    """The photograph as a new uint8 array (H, W, 3), RGB, C-contiguous.

    `source` is a file's path, a file's bytes, with its name (`File`) or without, a file that is open for reading bytes
    (from where it stands; it stays open), a PIL image, or a NumPy array: uint8, uint16 or bool, grey (H, W) or
    (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4); OpenCV's BGR has to be turned round first. Of an animation or a file of
    many pages the first is read. A PIL image is read at the frame it stands at, neither changed nor closed.

    - `upright` applies the EXIF orientation: right for people's photographs. With False the pixels come as
      they are stored, which is what a data set's annotations refer to. HEIC keeps its rotation elsewhere:
      always upright.
    - Transparency is laid over white.
    - 16-bit grey is divided by 257 and rounded. 32-bit integers count as 8-bit if all lie in 0..255, as
      16-bit if all lie in 0..65535. Floats in 0..1 are multiplied by 255. Values beyond those ranges are
      stretched from the smallest to the largest finite one; NaN becomes black.
    - Colour profiles are not applied: data sets and the published weights take a file's numbers as they are.

    Raises ImageError if the source is absent, empty, no image, damaged, cut short, of more than `max_bytes`
    bytes (seen before it is read) or of more than `max_pixels` pixels (seen in its header, before it is
    decoded).
    """
    if isinstance(source, np.ndarray):
        return array_to_rgb(source, max_pixels)
    if isinstance(source, Image.Image):
        name = os.path.basename(os.fsdecode(getattr(source, "filename", ""))) or _UNNAMED
        return _from_pil(source, name, upright, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        source = File(_UNNAMED_BYTES, source)
    elif is_open_file(source):
        source = _rest_of(source, max_bytes)
    if isinstance(source, File | str | os.PathLike):
        with opened_source(source, max_bytes) as (file, name):
            return _from_file(file, name, upright, max_pixels)
    raise ImageError(
        f"an image is expected as a path, bytes, an open file, a PIL image or a NumPy array, not as "
        f"{type(source).__name__}"
    )


def is_open_file(source: object) -> TypeGuard[BinaryIO]:
    """Whether it can be read from as from a file that is open."""
    return callable(getattr(source, "read", None))


def _rest_of(file: BinaryIO, max_bytes: int) -> File:
    """What an open file holds from where it stands, of which no more than `max_bytes` and one are read."""
    path = getattr(file, "name", None)  # a number where it was opened by one
    name = os.path.basename(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else _UNNAMED_BYTES
    try:
        content = file.read(max_bytes + 1)
    except (OSError, ValueError, TypeError) as error:  # ValueError: it is closed, or holds text in another encoding
        raise ImageError(f"{name} cannot be read from ({error}); give a file that is open for reading bytes") from error
    if not isinstance(content, bytes):
        raise ImageError(f'{name} is open for reading text; open it with the mode "rb"')
    return File(name, content)


@contextmanager
def opened(
    source: str | Path | File, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Iterator[Image.Image]:
    """A file's image with only its header read, for who needs its mode, its stored values or its metadata.

    Checked as `read` checks it; decoding (`load`) is left to the block, and what fails there is told likewise.
    Raises ImageError as `read` does.
    """
    with opened_source(source, max_bytes) as (file, name), failures_named(name):
        image = identify(file, name)
        check_pixels(image.width, image.height, name, max_pixels)
        yield image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 where there is none, where it is nonsense or the EXIF block is damaged.

    Of a TIFF it is to be asked before decoding: Pillow turns TIFFs upright then, and forgets how they were stored.
    """
    try:
        number = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata makes Pillow raise nearly anything, and the photograph is still good
        return 1
    return number if number in INVERSE_ORIENTATION else 1


def _from_file(file: BinaryIO, name: str, upright: bool, max_pixels: int) -> np.ndarray:
    with failures_named(name):
        image = identify(file, name)
        return _from_pil(image, name, upright, max_pixels)


def _from_pil(image: Image.Image, name: str, upright: bool, max_pixels: int) -> np.ndarray:
    with failures_named(name):
        check_pixels(image.width, image.height, name, max_pixels)
        turned = orientation(image) if image.format == "TIFF" else 1
        refuse_unsafe(image, name)
        image.load()
        stored_as = orientation(image) if upright else INVERSE_ORIENTATION[turned]
        return decoded_rgb(image, stored_as)
