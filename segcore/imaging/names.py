"""Writes the names of the classes onto a picture of a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..classes import SCREEN_PALETTE
from .drawing import check_labels, pixels_per_label

_COARSE_SIDE = 200  # pixels; the place of a name need not be exact
_FONT_PER_LONG_SIDE = 60
_LEAST_FONT = 12  # pixels
_BEHIND, _TEXT = (16, 18, 23), (255, 255, 255)


class _Anchor(NamedTuple):
    """The middle of a label's largest area, and its distance from the area's borders, in pixels."""

    x: float
    y: float
    radius: float


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: _Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


def draw_names(
    picture: Image.Image, labels: np.ndarray, names: Mapping[int, str], palette: np.ndarray = SCREEN_PALETTE
) -> None:
    """Write the name of each label that has pixels into `picture`, an RGB image, at the label's largest area.

    labels: uint8 (H, W) of the picture's size. names: by label; others are not written, and neither are names with
    letters that `can_draw` denies. palette: uint8 (256, 3), for a dot beside each name.

    Raises LabelError for a label map of a wrong type or size.
    """
    check_labels(labels, "the label map", (picture.height, picture.width))
    pixels = pixels_per_label(labels)
    anchors = {number: _anchor(labels, number) for number, name in names.items() if pixels[number] and can_draw(name)}
    size = max(_LEAST_FONT, round(max(picture.size) / _FONT_PER_LONG_SIDE))
    font = ImageFont.truetype(_font_file(), size)
    canvas = ImageDraw.Draw(picture)
    placed: list[_Box] = []
    for number, anchor in sorted(anchors.items(), key=lambda each: -each[1].radius):
        box = _free_box(anchor, 2.2 * size + font.getlength(names[number]), 1.7 * size, picture.size, placed)
        placed.append(box)
        canvas.rounded_rectangle(box, radius=0.85 * size, fill=_BEHIND)
        middle, dot = (box.top + box.bottom) / 2, 0.3 * size
        center = box.left + 0.9 * size
        color = tuple(int(channel) for channel in palette[number])
        canvas.ellipse((center - dot, middle - dot, center + dot, middle + dot), fill=color)
        canvas.text((box.left + 1.5 * size, middle), names[number], fill=_TEXT, font=font, anchor="lm")


def can_draw(name: str) -> bool:
    """Whether the font has all letters of `name`. It has Latin, Greek and Cyrillic letters, but no Chinese ones."""
    return all(ord(letter) in _letters() for letter in name)


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_font_file()).get_charmap())


def _font_file() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf"))


def _anchor(labels: np.ndarray, number: int) -> _Anchor:
    """Return the point of a label that is farthest from other labels and from the picture's edges."""
    step = max(1, math.ceil(max(labels.shape) / _COARSE_SIDE))
    left = labels[::step, ::step] == number
    if not left.any():  # a label of a few pixels can be missing in the coarse copy
        row, column = divmod(int(np.argmax(labels == number)), labels.shape[1])
        return _Anchor(column + 0.5, row + 0.5, 0)
    rounds = 0
    while (inner := _eroded(left)).any():
        left, rounds = inner, rounds + 1
    rows, columns = np.nonzero(left)
    best = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return _Anchor((columns[best] + 0.5) * step, (rows[best] + 0.5) * step, rounds * step)


def _eroded(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _free_box(anchor: _Anchor, wide: float, high: float, size: tuple[int, int], placed: list[_Box]) -> _Box:
    """Return the place of a name: at its anchor, above a small area, inside the picture, and not over other names."""
    width, height = size
    lift = anchor.radius + 0.6 * high if anchor.radius < 0.6 * high else 0
    left = max(0, min(anchor.x - wide / 2, width - wide))
    wanted = max(0, min(anchor.y - high / 2 - lift, height - high))
    steps = math.ceil(2 * height / high)
    tops = [wanted + sign * step * high / 2 for sign in (1, -1) for step in range(steps)]  # first down, then up
    boxes = [_Box(left, top, left + wide, top + high) for top in tops if 0 <= top <= max(wanted, height - high)]
    return next((box for box in boxes if not any(map(box.covers, placed))), boxes[0])
