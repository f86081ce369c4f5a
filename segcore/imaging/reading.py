"""Decodes any photograph that a person may upload to upright RGB. Refuses a file before it can use much memory."""

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
    """Read a photograph as a new uint8 array (H, W, 3), RGB, C-contiguous.

    source: a path; bytes; bytes with a name (`File`); a file open for reading bytes, which is read from its current
    position and stays open; a PIL image; or a NumPy array of uint8, uint16 or bool: grey (H, W) or (H, W, 1), RGB
    (H, W, 3) or RGBA (H, W, 4). OpenCV's BGR must be converted first. For an animation or a file of several pages,
    the first frame is read. A PIL image is read at its current frame and is neither changed nor closed.

    - upright: apply the EXIF orientation, as is right for people's photographs. False returns the pixels as they are
      stored, because a data set's annotations refer to those. HEIC is always upright: it stores its rotation elsewhere.
    - Transparent pixels are blended over white.
    - 16-bit grey is divided by 257 and rounded. 32-bit integers count as 8-bit if all lie in 0..255, as
      16-bit if all lie in 0..65535. Floats in 0..1 are multiplied by 255. Values outside these ranges are
      stretched linearly from the smallest to the largest finite value; NaN becomes black.
    - Colour profiles are not applied, because data sets and published weights use the stored values.

    Raises ImageError if the source is missing, empty, no image, damaged, cut short, larger than `max_bytes` bytes
    (checked before reading) or larger than `max_pixels` pixels (checked in the header, before decoding).
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
    """Whether `source` has a `read` method, like an open file."""
    return callable(getattr(source, "read", None))


def _rest_of(file: BinaryIO, max_bytes: int) -> File:
    """Read an open file from its current position, at most `max_bytes` + 1 bytes."""
    path = getattr(file, "name", None)  # an int if it was opened by a file descriptor
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
    """Yield a file's PIL image with only the header read, for callers that need its mode, raw values or metadata.

    The checks are those of `read`. The caller may decode (`load`) it inside the block; failures there also become
    ImageError. Raises ImageError as `read` does.
    """
    with opened_source(source, max_bytes) as (file, name), failures_named(name):
        image = identify(file, name)
        check_pixels(image.width, image.height, name, max_pixels)
        yield image


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8; 1 if it is missing or invalid, or if the EXIF block is damaged.

    For a TIFF, call this before decoding: Pillow turns TIFFs upright when it decodes them and removes the tag.
    """
    try:
        number = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata makes Pillow raise almost any exception, but the pixels are fine
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
