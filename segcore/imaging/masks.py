"""Reads label maps from images: a data set's label map, or a mask that a person drew, in any common encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..classes import IGNORE_INDEX, NUM_CLASSES, VOC_PALETTE
from ..errors import LabelError
from .reading import File, opened

_STRIPE_PIXELS = 1_000_000
_MOST_NAMED = 5  # maximum number of wrong values listed in an error
_IDS = (*range(NUM_CLASSES), IGNORE_INDEX)
_STORED_MODES = ("1", "L", "P", "I;16")
_BLACK, _WHITE = 0x000000, 0xFFFFFF
_IS_WHITE, _UNKNOWN = 253, 254  # codes for white, and for colours outside VOC's palette


class Mask(NamedTuple):
    """The values of a mask image, and how they can be interpreted.

    values: uint8 (H, W). is_labels: the values can be VOC ids 0..20, with 255 for ignored pixels. is_binary: the values
    can be 0 (background) and 1 (an object of unknown class). For a grey image of zeros and ones both are true.
    """

    values: np.ndarray
    is_labels: bool
    is_binary: bool


def decode(picture: Image.Image, name: str, num_classes: int = NUM_CLASSES) -> Mask:
    """Return the labels of a decoded PNG. Errors call it `name`. Its ids are below `num_classes`, or 255.

    Grey values and palette indices are class ids, whatever the palette's colours are, unless only black and white are
    used. RGB images must use VOC's colours, or black and white. If all other pixels are black, white marks the object;
    beside other ids, white means ignored. Transparent pixels count as black, except in a palette of ids.

    Raises LabelError for other values, other colours and half transparent pixels.
    """
    if picture.mode == "P":
        values, has_white = _of_palette(picture, name, num_classes)
    elif picture.mode in ("RGB", "RGBA"):
        values, has_white = _of_colors(picture, name, num_classes)
    else:
        values, has_white = _of_grey(picture, name, num_classes)
    present = set(values_in(values))
    if has_white and present <= {0, IGNORE_INDEX}:
        return Mask((values == IGNORE_INDEX).view(np.uint8), is_labels=False, is_binary=True)
    is_grey = picture.mode not in ("P", "RGB", "RGBA")
    return Mask(values, is_labels=True, is_binary=is_grey and present <= {0, 1})


def stored_ids(file: File) -> np.ndarray:
    """Read a data set's label map: uint8 (H, W) of VOC ids 0..20, and 255 for ignored pixels.

    The file must be a PNG whose grey values (1 to 16 bits) or palette indices are the ids; its colours do not matter.
    Raises LabelError for other values and other image types, ImageError if the file cannot be read.
    """
    with opened(file) as picture:
        if picture.format != "PNG":
            raise LabelError(f"{file.name} is {picture.format} inside, which may mix labels; save the label map as PNG")
        if picture.mode not in _STORED_MODES:
            raise LabelError(
                f"{file.name} holds colours (it is {picture.mode}), but a label map holds the numbers of the classes; "
                "save it as a grey PNG, or one with a palette, of the values 0 to 20, and 255 for what is not counted"
            )
        picture.load()
        values = np.asarray(picture)
    if values.dtype == bool:
        values = values * np.uint8(IGNORE_INDEX)
    wrong = [value for value in values_in(values) if value not in _IDS]
    if wrong:
        raise LabelError(
            f"{file.name} holds the value {wrong[0]}, but the classes are 0 to {NUM_CLASSES - 1}, and {IGNORE_INDEX} "
            "is what is not counted; save it with VOC's numbers"
        )
    return values.astype(np.uint8)


def values_in(values: np.ndarray) -> list[int]:
    """Return the sorted distinct values of a uint8 or uint16 array (H, W)."""
    found = np.zeros(np.iinfo(values.dtype).max + 1, bool)
    height, width = values.shape
    for rows in _stripes(height, width):
        found[values[rows]] = True
    return np.flatnonzero(found).tolist()


def _stripes(height: int, width: int) -> Iterator[slice]:
    """Yield bands of rows, so that temporary arrays are much smaller than a large mask."""
    rows = max(1, _STRIPE_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _of_palette(picture: Image.Image, name: str, num_classes: int) -> tuple[np.ndarray, bool]:
    """Return the ids of a palette image, white as 255, and whether there is white."""
    indices = np.asarray(picture)
    colors = _palette_colors(picture)
    present = values_in(indices)
    codes = _codes(colors[present])
    # Programs that optimise PNG files store black and white as a palette, in either order, and transparency too.
    if _WHITE in codes and set(codes.tolist()) <= {_BLACK, _WHITE}:
        white = np.array(present)[_codes(_on_black(colors[present][None], name))[0] == _WHITE]
        return np.isin(indices, white) * np.uint8(255), bool(white.size)
    _refuse([value for value in present if not _is_id(value, num_classes)], "values", name, num_classes)
    return indices, False


def _palette_colors(picture: Image.Image) -> np.ndarray:
    """Return the colours of a palette image with their opacity, uint8 (256, 4)."""
    colors = np.zeros((256, 4), np.uint8)
    colors[:, 3] = 255
    palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colors[: len(palette), :3] = palette
    transparency = picture.info.get("transparency", b"")
    if isinstance(transparency, int):  # Pillow's form for a single index
        colors[transparency, 3] = 0
    else:
        alpha = np.frombuffer(transparency, np.uint8)[: len(colors)]
        colors[: len(alpha), 3] = alpha
    return colors


def _of_grey(picture: Image.Image, name: str, num_classes: int) -> tuple[np.ndarray, bool]:
    """Return the ids of a grey image of 1, 8 or 16 bits, white as 255, and whether there is white."""
    values = np.asarray(picture)
    if picture.mode == "LA":
        values = _on_black(values, name)[..., 0]
    if values.dtype == bool:
        values = values * np.uint8(255)
    present = values_in(values)
    white = np.iinfo(values.dtype).max
    if white in present and set(present) <= {0, white}:
        return (values == white) * np.uint8(255), True
    _refuse([value for value in present if not _is_id(value, num_classes)], "values", name, num_classes)
    return values.astype(np.uint8), IGNORE_INDEX in present


def _of_colors(picture: Image.Image, name: str, num_classes: int) -> tuple[np.ndarray, bool]:
    """Return the ids of an image in VOC's colours, white as 255, and whether there is white."""
    pixels = np.asarray(picture)
    if picture.mode == "RGBA":
        pixels = _on_black(pixels, name)
    id_of_code = np.full(1 << 24, _UNKNOWN, np.uint8)
    ids = [*range(min(num_classes, _IS_WHITE)), IGNORE_INDEX]
    id_of_code[_codes(VOC_PALETTE[ids])] = ids
    id_of_code[_WHITE] = _IS_WHITE
    values = np.empty(pixels.shape[:2], np.uint8)
    height, width = pixels.shape[:2]
    for rows in _stripes(height, width):
        codes = _codes(pixels[rows])
        values[rows] = id_of_code[codes]
        unknown = np.unique(codes[values[rows] == _UNKNOWN])
        _refuse([f"#{code:06x}" for code in unknown[:_MOST_NAMED]], "colours", name, num_classes)
    white = values == _IS_WHITE
    has_white = bool(white.any()) and IGNORE_INDEX not in values
    values[white] = IGNORE_INDEX
    return values, has_white


def _codes(colors: np.ndarray) -> np.ndarray:
    """Convert colours, uint8 (..., 3 or more), to numbers 0xRRGGBB, uint32 (...)."""
    red, green, blue = (colors[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _on_black(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return `pixels`, uint8 (H, W, n) with alpha as the last channel, with black where alpha is 0."""
    alpha = pixels[..., -1:]
    if not set(values_in(pixels[..., -1])) <= {0, 255}:
        raise LabelError(f"{name} is half transparent in places; save it without transparency and without soft edges")
    return np.where(alpha == 0, np.uint8(0), pixels)


def _is_id(value: int, num_classes: int) -> bool:
    return value < num_classes or value == IGNORE_INDEX


def _refuse(wrong: Sequence[object], what: str, name: str, num_classes: int) -> None:
    """Raise LabelError if the list of wrong values is not empty."""
    if not wrong:
        return
    some = ", ".join(str(each) for each in wrong[:_MOST_NAMED])
    raise LabelError(
        f"{name} holds {what} that stand for no class, such as {some}; a mask holds VOC ids "
        f"(0 to {num_classes - 1}, and 255 for what is not counted), VOC's colours, or black and white alone. JPEG, "
        "smoothing and resizing mix labels where they meet: save the mask as PNG, as it was drawn"
    )
