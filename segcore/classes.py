"""The 21 PASCAL VOC classes: names, COCO category ids and colours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .errors import UsageError

BACKGROUND = 0
IGNORE_INDEX = 255
ANY_OBJECT = "any"
ANY_OBJECT_NAME = "any object"


class VocClass(NamedTuple):
    """One class: its name in VOC, its name in COCO, its name for people, and its category id in COCO."""

    voc: str
    coco: str
    friendly: str
    coco_id: int
    screen_color: str


# The screen colours are far apart in OKLab and bright enough to read over a photograph; VOC's own are not.
CLASSES = (
    VocClass("background", "background", "background", 0, "#000000"),
    VocClass("aeroplane", "airplane", "aeroplane", 5, "#86cdff"),
    VocClass("bicycle", "bicycle", "bicycle", 2, "#a4a537"),
    VocClass("bird", "bird", "bird", 16, "#fec766"),
    VocClass("boat", "boat", "boat", 9, "#133eff"),
    VocClass("bottle", "bottle", "bottle", 44, "#37b78a"),
    VocClass("bus", "bus", "bus", 6, "#c16e2d"),
    VocClass("car", "car", "car", 3, "#c22bf5"),
    VocClass("cat", "cat", "cat", 17, "#fb02b8"),
    VocClass("chair", "chair", "chair", 62, "#7e55f0"),
    VocClass("cow", "cow", "cow", 21, "#5c6b21"),
    VocClass("diningtable", "dining table", "dining table", 67, "#f19d9d"),
    VocClass("dog", "dog", "dog", 18, "#3cf959"),
    VocClass("horse", "horse", "horse", 19, "#934956"),
    VocClass("motorbike", "motorcycle", "motorbike", 4, "#2389e2"),
    VocClass("person", "person", "person", 1, "#de1c4e"),
    VocClass("pottedplant", "potted plant", "potted plant", 64, "#aef1bb"),
    VocClass("sheep", "sheep", "sheep", 20, "#fd9cf5"),
    VocClass("sofa", "couch", "sofa", 63, "#685796"),
    VocClass("train", "train", "train", 7, "#a32384"),
    VocClass("tvmonitor", "tv", "TV", 72, "#a392d6"),
)
NUM_CLASSES = len(CLASSES)
VOC_NAMES = tuple(each.voc for each in CLASSES)
FRIENDLY_NAMES = tuple(each.friendly for each in CLASSES)
COCO_TO_VOC = {each.coco_id: number for number, each in enumerate(CLASSES) if number != BACKGROUND}


def _voc_palette() -> np.ndarray:
    """Return the PASCAL VOC colour map, uint8 (256, 3).

    Bits 0, 3, 6 of a class id become the highest bits of red, bits 1, 4, 7 those of green, bits 2, 5 those of blue.
    """
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((ids >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette


def _screen_palette() -> np.ndarray:
    palette = np.full((256, 3), 128, np.uint8)
    palette[:NUM_CLASSES] = [tuple(bytes.fromhex(each.screen_color[1:])) for each in CLASSES]
    return palette


VOC_PALETTE = _voc_palette()  # uint8 (256, 3): the palette of exported label maps
SCREEN_PALETTE = _screen_palette()  # uint8 (256, 3): the colours of overlays


def folded(name: str) -> str:
    """Return the name in lower case without spaces and underscores. Two names with the same result are equal."""
    return name.casefold().replace(" ", "").replace("_", "")


def is_text(name: object) -> bool:
    """Whether `name` is a text that UTF-8 can encode. JSON can hold lone surrogates as escapes; UTF-8 cannot."""
    return isinstance(name, str) and not any("\ud800" <= character <= "\udfff" for character in name)


_ID_OF_NAME = {
    folded(name): number for number, each in enumerate(CLASSES) for name in (each.voc, each.coco, each.friendly)
}


def class_id(name: str | int) -> int:
    """Return the number 0..20 of a VOC class. `name` is its VOC, COCO or friendly name, or the number itself.

    Raises UsageError, which lists the known names, for anything else.
    """
    if isinstance(name, str):
        number = _ID_OF_NAME.get(folded(name))
        if number is not None:
            return number
    elif isinstance(name, int | np.integer) and 0 <= name < NUM_CLASSES:
        return int(name)
    raise UsageError(f"there is no class {name!r}; choose one of: {', '.join(VOC_NAMES)}")


def object_id(name: str | int) -> int | None:
    """Return the number of the foreground class in binary mode (1..20), or None for "any" object.

    Raises UsageError for an unknown name and for the background, which is no object.
    """
    if name == ANY_OBJECT:
        return None
    number = class_id(name)
    if number == BACKGROUND:
        raise UsageError(f"the background is no object; choose {ANY_OBJECT!r} or one of: {', '.join(VOC_NAMES[1:])}")
    return number
