"""File formats: which ones are read, and which files are refused before they are decoded."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from ..errors import ImageError, SegcoreError
from . import headers

MAX_PIXELS = 100_000_000

# These formats of Pillow are left out: those that start other programs (EPS, WMF), that Pillow can identify but not
# decode (MPEG, HDF5), that are decoded before their size can be checked (ICO, ICNS), and that no camera or phone
# writes, some of which are very slow to decode (JPEG 2000, PPM, QOI).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "HEIF", "AVIF", "TIFF", "BMP")
_HEIF_BRANDS = (b"hei", b"hev", b"mif", b"msf")
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)  # Image.open tries the next format then

_TIFF_SUBFILE_TYPE = 254
_TIFF_DNG_VERSION = 50706
_TIFF_COMPRESSION, _TIFF_JPEG = 259, 7
_TIFF_ROWS_PER_STRIP, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 278, 322, 323
_TIFF_STRIP_PLACES, _TIFF_TILE_PLACES = (273, 279), (324, 325)  # tags of the parts' offsets and sizes
_TIFF_READ_AGAIN = 2  # times the file's size: some old programs record a too large size for the last part

_DAMAGED = (
    "{name} is damaged, cut short or of an unusual kind and cannot be decoded; "
    "use another copy of it, or save it again as PNG"
)
_COSTLY = "{name} has far more parts than a photograph has, and would take too long to decode; save it again as PNG"


@contextmanager
def failures_named(name: str) -> Iterator[None]:
    """Turn a decoder's exception into an ImageError. Damaged files make Pillow raise almost any exception."""
    try:
        yield
    except SegcoreError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller first") from error
    except Exception as error:
        raise ImageError(_DAMAGED.format(name=name)) from error


def identify(file: BinaryIO, name: str) -> Image.Image:
    """Read the header of an image file. Nothing is decoded.

    Does the same as `PIL.Image.open`, without Pillow's limit on pixels: that limit is global to the process and only
    warns on the console. The caller checks the size instead.
    """
    prefix = file.read(16)
    Image.init()
    is_heif = prefix[4:8] == b"ftyp" and prefix[8:11] in _HEIF_BRANDS
    if is_heif and _heif_installed() and "HEIF" not in Image.OPEN:
        import pillow_heif

        pillow_heif.register_heif_opener()
    recognised = False
    for each in _FORMATS:
        if each not in Image.OPEN:
            continue
        factory, accepts = Image.OPEN[each]
        verdict = accepts is None or accepts(prefix)
        if not verdict or isinstance(verdict, str):  # a str says that a library is missing
            continue
        if headers.is_costly(file, each):
            raise ImageError(_COSTLY.format(name=name))
        file.seek(0)
        try:
            return factory(file, "")
        except _NOT_THIS_FORMAT:
            recognised = recognised or accepts is not None
    if is_heif and not _heif_installed():
        raise ImageError(f"{name} is a HEIC image; `pip install pillow-heif` to read it, or save it as JPEG")
    if recognised:
        raise ImageError(_DAMAGED.format(name=name))
    raise ImageError(f"{name} is not an image that can be read; use {_accepted()}")


def _heif_installed() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def _accepted() -> str:
    heic = " HEIC," if _heif_installed() else ""
    return f"JPEG, PNG, AVIF, WebP,{heic} TIFF, BMP or GIF"


def check_pixels(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height}); use another image")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is {width} x {height} = {width * height / 1e6:,.1f} megapixels, "
            f"and {max_pixels / 1e6:,.1f} is the most that is read; make it smaller first"
        )


def refuse_unsafe(image: Image.Image, name: str) -> None:
    """Raise ImageError for a TIFF that must not be decoded. Other formats pass."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    _refuse_raw(image, name)
    if image.fp is not None:
        _refuse_overlapping(image, image.fp, name)
        _refuse_unfilled(image, image.fp, name)


def _refuse_raw(image: TiffImagePlugin.TiffImageFile, name: str) -> None:
    """Refuse a camera's raw file: it is a TIFF that begins with a thumbnail, which would pass for the photograph."""
    if _TIFF_DNG_VERSION in image.tag_v2 or image.tag_v2.get(_TIFF_SUBFILE_TYPE, 0) & 1:
        raise ImageError(f"{name} looks like a camera's raw file; export it as JPEG, PNG or TIFF")


def _refuse_overlapping(image: TiffImagePlugin.TiffImageFile, file: IO[bytes], name: str) -> None:
    """Refuse a TIFF whose parts overlap in the file: the same bytes would be read again for each part."""
    sizes = sum(sum(image.tag_v2.get(tag, ())) for _, tag in (_TIFF_STRIP_PLACES, _TIFF_TILE_PLACES))
    place = file.tell()
    file_size = file.seek(0, os.SEEK_END)
    file.seek(place)
    if sizes > _TIFF_READ_AGAIN * file_size:
        raise ImageError(_COSTLY.format(name=name))


def _refuse_unfilled(image: TiffImagePlugin.TiffImageFile, file: IO[bytes], name: str) -> None:
    """Refuse a TIFF whose JPEG parts are smaller than its tags say: libtiff would leave memory uninitialised."""
    tags = image.tag_v2
    if tags.get(_TIFF_COMPRESSION) != _TIFF_JPEG:
        return
    tiled = _TIFF_TILE_WIDTH in tags
    offsets, sizes = (tags.get(tag, ()) for tag in (_TIFF_TILE_PLACES if tiled else _TIFF_STRIP_PLACES))
    width = tags[_TIFF_TILE_WIDTH] if tiled else image.width
    rows = tags[_TIFF_TILE_HEIGHT] if tiled else min(tags.get(_TIFF_ROWS_PER_STRIP, image.height), image.height)
    place = file.tell()
    for number, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        file.seek(offset)
        content = io.BytesIO(file.read(size))
        if headers.is_costly(content, "JPEG"):
            raise ImageError(_COSTLY.format(name=name))
        content.seek(0)
        with JpegImagePlugin.JpegImageFile(content) as part:
            wanted = rows if tiled else min(rows, image.height - number * rows % (-(-image.height // rows) * rows))
            if part.width < width or part.height < wanted:
                raise ImageError(_DAMAGED.format(name=name))
    file.seek(place)
