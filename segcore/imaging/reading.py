"""Anything a person may upload, decoded to upright RGB, or refused before memory is spent on it."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin

from ..errors import ImageError, SegcoreError, shown
from . import headers

MAX_PIXELS = 100_000_000
MAX_BYTES = 64 * 1024 * 1024
SUFFIXES = (".jpg", ".jpeg", ".png", ".avif", ".webp", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif")


@dataclass(frozen=True)
class File:
    """What a file holds, with the name that messages call it by: to be decoded on another machine."""

    name: str
    content: bytes = field(repr=False)

    @classmethod
    def at(cls, path: str | Path, name: str | None = None) -> File:
        """The file at `path`, not decoded; `name` is by default its own.

        Raises ImageError where `read` would for want of a file that can be read.
        """
        path = Path(path)
        name = name or path.name or str(path)
        with _opened_file(path, name, MAX_BYTES) as file, _access_failures_named(name):
            return cls(name, file.read())


Source = str | Path | bytes | File | Image.Image | np.ndarray

# Left out of what Pillow knows: formats that start other programs (EPS, WMF), that Pillow can only name
# (MPEG, HDF5), that decode before their size can be checked (ICO, ICNS), and those that no camera and no phone
# writes, some of which take very long to decode (JPEG 2000, PPM, QOI).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "HEIF", "AVIF", "TIFF", "BMP")
_HEIF_BRANDS = (b"hei", b"hev", b"mif", b"msf")
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)  # as in Pillow's own search

_ORIENTATION = ExifTags.Base.Orientation
_INVERSE_ORIENTATION = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
_TILE_PIXELS = 200_000  # small enough for a core's cache: four times as quick as tiles that are not

_TIFF_SUBFILE_TYPE = 254
_TIFF_DNG_VERSION = 50706
_TIFF_COMPRESSION, _TIFF_JPEG = 259, 7
_TIFF_ROWS_PER_STRIP, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 278, 322, 323
_TIFF_STRIP_PLACES, _TIFF_TILE_PLACES = (273, 279), (324, 325)  # where each begins, and its bytes
_TIFF_READ_AGAIN = 2  # times; of some old programs' files the last part is said to be as large as the others

_DAMAGED = (
    "{name} is damaged, cut short or of an unusual kind and cannot be decoded; "
    "use another copy of it, or save it again as PNG"
)
_COSTLY = "{name} has far more parts than a photograph has, and would take too long to decode; save it again as PNG"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # as `Path` leaves "https://"; a drive has one letter
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

    `source` is a file's path, a file's bytes, with its name (`File`) or without, a PIL image, or a NumPy array:
    uint8, uint16 or bool, grey (H, W) or (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4); OpenCV's BGR has to be turned
    round first. Of an animation or a file of many pages the first is read. A PIL image is read at the frame it
    stands at, neither changed nor closed.

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
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        name = os.path.basename(os.fsdecode(getattr(source, "filename", ""))) or _UNNAMED
        return _from_pil(source, name, upright, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        source = File(_UNNAMED_BYTES, source)
    if isinstance(source, File | str | os.PathLike):
        with _opened_source(source, max_bytes) as (file, name):
            return _from_file(file, name, upright, max_pixels)
    raise ImageError(
        f"an image is expected as a path, bytes, a PIL image or a NumPy array, not as {type(source).__name__}"
    )


def photographs_in(folder: Path) -> list[Path]:
    """The files of a folder that are called like images, by name. Raises OSError for a folder that cannot be read.

    Hidden ones are not meant: a Mac leaves `._IMG.jpg` on other disks, and a killed program what it had not finished.
    """
    return sorted(
        each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")
    )


@contextmanager
def opened(
    source: str | Path | File, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Iterator[Image.Image]:
    """A file's image with only its header read, for who needs its mode, its stored values or its metadata.

    Checked as `read` checks it; decoding (`load`) is left to the block, and what fails there is told likewise.
    Raises ImageError as `read` does.
    """
    with _opened_source(source, max_bytes) as (file, name), _failures_named(name):
        image = _identify(file, name)
        _check_pixels(image.width, image.height, name, max_pixels)
        yield image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 where there is none, where it is nonsense or the EXIF block is damaged.

    Of a TIFF it is to be asked before decoding: Pillow turns TIFFs upright then, and forgets how they were stored.
    """
    try:
        number = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata makes Pillow raise nearly anything, and the photograph is still good
        return 1
    return number if number in _INVERSE_ORIENTATION else 1


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of (H, W) or (H, W, 3) as it stands upright if it was stored with that EXIF orientation."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def fit_within(image: np.ndarray, long_side: int) -> np.ndarray:
    """`image`, uint8 (H, W, 3), shrunk to a longer side of `long_side` pixels; itself if it fits already.

    Raises ImageError for another kind of array and for a `long_side` under 1.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"expected a uint8 array (H, W, 3), got {image.dtype} {image.shape}")
    if long_side < 1:
        raise ImageError(f"expected a long side of at least 1 pixel, got {long_side}")
    height, width = image.shape[:2]
    if max(height, width) <= long_side:
        return image
    ratio = long_side / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    # As sharp as bicubic when shrinking, in half of Lanczos's time.
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.HAMMING))


@contextmanager
def _opened_source(source: str | Path | File, max_bytes: int) -> Iterator[tuple[BinaryIO, str]]:
    """A file to read from, and the name that messages call it by."""
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
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
        raise ImageError(f"{name} is not a regular file; give an image file")
    _check_bytes(status.st_size, name, max_bytes)
    with _access_failures_named(name):
        file = _ReadingNoMore(path.open("rb", buffering=0), status.st_size)
    with file:
        yield file


class _ReadingNoMore(io.BufferedReader):
    """A file of `size` bytes that makes no room for more: a few damaged bytes can announce gigabytes."""

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
    except (OSError, ValueError) as error:  # ValueError: no path has a zero byte in it
        raise ImageError(f"{name} cannot be opened; give the path of an image file") from error


def _check_bytes(size: int, name: str, max_bytes: int) -> None:
    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes); give it again, or another copy of it")
    if size > max_bytes:
        raise ImageError(
            f"{name} has {size / 2**20:.1f} MB, and {max_bytes / 2**20:.1f} MB is the most that is read; "
            "save it smaller, as JPEG for instance"
        )


def _from_file(file: BinaryIO, name: str, upright: bool, max_pixels: int) -> np.ndarray:
    with _failures_named(name):
        image = _identify(file, name)
        return _from_pil(image, name, upright, max_pixels)


def _from_pil(image: Image.Image, name: str, upright: bool, max_pixels: int) -> np.ndarray:
    with _failures_named(name):
        _check_pixels(image.width, image.height, name, max_pixels)
        _refuse_raw(image, name)
        turned = orientation(image) if image.format == "TIFF" else 1
        _refuse_overlapping(image, name)
        _refuse_unfilled(image, name)
        image.load()
        stored_as = orientation(image) if upright else _INVERSE_ORIENTATION[turned]
        return _decoded_rgb(image, stored_as)


@contextmanager
def _failures_named(name: str) -> Iterator[None]:
    """Turns what a decoder raises into an ImageError: damaged files make Pillow raise nearly anything."""
    try:
        yield
    except SegcoreError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller first") from error
    except Exception as error:
        raise ImageError(_DAMAGED.format(name=name)) from error


def _identify(file: BinaryIO, name: str) -> Image.Image:
    """The file's image with its header read and nothing decoded.

    Does what `PIL.Image.open` does but for its limit on pixels, which is a setting of the whole process and
    warns on the console: the limit here is the caller's.
    """
    prefix = file.read(16)
    Image.init()
    is_heif = prefix[4:8] == b"ftyp" and prefix[8:11] in _HEIF_BRANDS
    if is_heif and _heif_installed() and "HEIF" not in Image.OPEN:
        import pillow_heif

        pillow_heif.register_heif_opener()
    recognised = False
    for each in _FORMATS:
        factory, accepts = Image.OPEN.get(each, (None, None))
        verdict = factory is not None and (accepts is None or accepts(prefix))
        if not verdict or isinstance(verdict, str):  # a text says which library is missing
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


def _check_pixels(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height}); use another image")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is {width} x {height} = {width * height / 1e6:,.1f} megapixels, "
            f"and {max_pixels / 1e6:,.1f} is the most that is read; make it smaller first"
        )


def _refuse_raw(image: Image.Image, name: str) -> None:
    """Cameras' raw files are TIFFs that begin with a thumbnail, which would pass for the photograph."""
    tags = getattr(image, "tag_v2", {})
    if _TIFF_DNG_VERSION in tags or tags.get(_TIFF_SUBFILE_TYPE, 0) & 1:
        raise ImageError(f"{name} looks like a camera's raw file; export it as JPEG, PNG or TIFF")


def _refuse_overlapping(image: Image.Image, name: str) -> None:
    """A TIFF whose parts lie upon each other is read again for each of them."""
    tags = getattr(image, "tag_v2", {})
    if not tags or image.fp is None:
        return
    said = sum(sum(tags.get(sizes, ())) for _, sizes in (_TIFF_STRIP_PLACES, _TIFF_TILE_PLACES))
    place = image.fp.tell()
    there = image.fp.seek(0, os.SEEK_END)
    image.fp.seek(place)
    if said > _TIFF_READ_AGAIN * there:
        raise ImageError(_COSTLY.format(name=name))


def _refuse_unfilled(image: Image.Image, name: str) -> None:
    """Where a TIFF's JPEG parts are smaller than it says, libtiff would show what lies in memory beside them."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_COMPRESSION) != _TIFF_JPEG or image.fp is None:
        return
    tiled = _TIFF_TILE_WIDTH in tags
    offsets, sizes = (tags.get(tag, ()) for tag in (_TIFF_TILE_PLACES if tiled else _TIFF_STRIP_PLACES))
    width = tags[_TIFF_TILE_WIDTH] if tiled else image.width
    rows = tags[_TIFF_TILE_HEIGHT] if tiled else min(tags.get(_TIFF_ROWS_PER_STRIP, image.height), image.height)
    place = image.fp.tell()
    for number, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        image.fp.seek(offset)
        content = io.BytesIO(image.fp.read(size))
        if headers.is_costly(content, "JPEG"):
            raise ImageError(_COSTLY.format(name=name))
        content.seek(0)
        with JpegImagePlugin.JpegImageFile(content) as part:
            wanted = rows if tiled else min(rows, image.height - number * rows % (-(-image.height // rows) * rows))
            if part.width < width or part.height < wanted:
                raise ImageError(_DAMAGED.format(name=name))
    image.fp.seek(place)


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the pieces that a picture is converted in: no second copy needs its full size."""
    columns = min(width, _TILE_PIXELS)
    rows = _TILE_PIXELS // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def _crop(image: Image.Image, rows: slice, columns: slice) -> Image.Image:
    return image.crop((columns.start, rows.start, columns.stop, rows.stop))


def _decoded_rgb(image: Image.Image, orientation: int) -> np.ndarray:
    """The pixels of a loaded image as they stand upright if they were stored with that EXIF orientation."""
    width, height = image.size
    turned_shape = (width, height, 3) if orientation >= 5 else (height, width, 3)
    rgb = np.empty(turned_shape, np.uint8)
    as_decoded = turn(rgb, _INVERSE_ORIENTATION[orientation])
    limits = _value_range(image)
    for place in _tiles(height, width):
        tile = _crop(image, *place)
        as_decoded[place] = _tile_to_rgb(tile) if limits is None else _tile_to_grey(tile, *limits)
    return rgb


def _tile_to_rgb(tile: Image.Image) -> np.ndarray:
    if not tile.has_transparency_data:
        return np.asarray(tile.convert("RGB"))
    if tile.mode == "La":
        tile = tile.convert("LA")
    return _over_white(np.asarray(tile.convert("RGBA")))


def _tile_to_grey(tile: Image.Image, low: float, high: float) -> np.ndarray:
    values = np.asarray(tile)
    grey = _to_eight_bits(values, low, high)
    if "transparency" in tile.info:
        grey[values == tile.info["transparency"]] = 255
    return grey[..., None]


def _value_range(image: Image.Image) -> tuple[float, float] | None:
    """The values that become black and white if a channel has more than 8 bits, else None."""
    if image.mode.startswith("I;16"):
        return 0, 65535
    if image.mode not in ("I", "F"):
        return None
    low, high = _finite_extrema(image)
    for top in (255, 65535) if image.mode == "I" else (1,):
        if 0 <= low and high <= top:
            return 0, top
    return low, high


def _finite_extrema(image: Image.Image) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for place in _tiles(image.height, image.width):
        values = np.asarray(_crop(image, *place))
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _to_eight_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`low`..`high` to 0..255, rounded; what lies outside is clipped, NaN is 0."""
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(invalid="ignore"):  # of NaNs that are made to signal
        scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    return np.rint(np.nan_to_num(np.clip(scaled, 0, 255))).astype(np.uint8)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 4) laid over white, exactly rounded -> uint8 (H, W, 3)."""
    color, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _from_array(array: np.ndarray, max_pixels: int) -> np.ndarray:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ImageError(f"expected an array (H, W), (H, W, 3) or (H, W, 4), got one of shape {array.shape}")
    if array.dtype.kind == "f":
        raise ImageError(
            f"expected an array of uint8, got {array.dtype}; scale it to 0..255 and convert: "
            "(255 * image).round().astype(numpy.uint8) for values in 0..1"
        )
    if array.dtype not in (np.uint8, np.uint16, np.bool_):
        raise ImageError(f"expected an array of uint8, uint16 or bool, got {array.dtype}; convert it first")
    height, width = array.shape[:2]
    _check_pixels(width, height, _UNNAMED, max_pixels)
    rgb = np.empty((height, width, 3), np.uint8)
    for place in _tiles(height, width):
        rgb[place] = _array_tile_to_rgb(array[place])
    return rgb


def _array_tile_to_rgb(tile: np.ndarray) -> np.ndarray:
    if tile.dtype == np.uint16:
        tile = _to_eight_bits(tile, 0, 65535)
    elif tile.dtype == np.bool_:
        tile = tile.astype(np.uint8) * 255
    if tile.ndim == 2:
        return tile[..., None]
    return _over_white(tile) if tile.shape[2] == 4 else tile
