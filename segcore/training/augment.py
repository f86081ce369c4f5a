"""Random augmentation of one photograph and its labels: scale, crop, flip, paste and colour, on uint8."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import UsageError
from .soft_labels import CERTAIN, Box

LABEL_STRIDE = 2  # pixels of the crop per label
_PADDING = (124, 116, 104)  # ImageNet's mean colour; it is about 0 after normalisation
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Cutting(NamedTuple):
    """An object cut out of a photograph: uint8 (h, w, 3), its mask, bool (h, w), and its class."""

    pixels: np.ndarray
    mask: np.ndarray
    number: int


@dataclass(frozen=True)
class Augmentation:
    """The settings of the random changes. Raises UsageError for invalid settings.

    crop: the side, in pixels, of the network's training input. size: the side of its input in use. The photograph is
    resized to `size` times a random factor from `scale`. Its aspect ratio is between its own and a square, because
    photographs are squeezed in use. flip, colour: shares of the crops that are mirrored, and whose contrast,
    brightness and saturation are changed.
    """

    crop: int = 256
    size: int = 520
    scale: tuple[float, float] = (0.5, 1.6)
    flip: float = 0.5
    colour: float = 0.8

    def __post_init__(self) -> None:
        if self.crop < 32 or self.crop % LABEL_STRIDE:
            raise UsageError(f"a crop needs an even side of at least 32 pixels, got {self.crop}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"expected the scale as two factors, the lesser first, got {self.scale}")

    def __call__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        shares: Callable[[np.ndarray, Box], np.ndarray],
        rng: np.random.Generator,
        focus: int | None = None,
        cutting: Cutting | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a crop, uint8 (crop, crop, 3), and its soft labels, uint8 (classes, crop / 2, crop / 2).

        image: uint8 (H, W, 3). labels: uint8 (H, W). shares(labels, box): returns the soft labels of a part of the
        photograph, uint8 (classes, h, w), from the labels of that part, uint8 (h, w). They are 0 outside the
        photograph. focus: a class that should be in the crop, if the photograph has it. cutting: an object to paste.
        """
        place = self._window(labels, rng, focus)
        crop = np.full((self.crop, self.crop, 3), _PADDING, np.uint8)
        (row, column), (height, width) = place.at, place.size_hw
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=place.box)
        crop[row : row + height, column : column + width] = np.asarray(resized)
        row, column, height, width = (each // LABEL_STRIDE for each in (row, column, height, width))
        nearest = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST, box=place.box)
        left, top, right, bottom = place.box
        full_h, full_w = labels.shape
        part = shares(np.asarray(nearest), (left / full_w, top / full_h, right / full_w, bottom / full_h))
        truth = np.zeros((len(part), self.crop // LABEL_STRIDE, self.crop // LABEL_STRIDE), np.uint8)
        truth[:, row : row + height, column : column + width] = part
        if rng.random() < self.flip:
            crop, truth = np.ascontiguousarray(crop[:, ::-1]), np.ascontiguousarray(truth[..., ::-1])
        if cutting is not None:
            _paste(crop, truth, cutting, rng)
        return (_recoloured(crop, rng) if rng.random() < self.colour else crop), truth

    def _window(self, labels: np.ndarray, rng: np.random.Generator, focus: int | None) -> _Window:
        height, width = labels.shape
        side = self.size * math.exp(rng.uniform(*np.log(self.scale)))
        squeeze = min(1.0, rng.uniform(0, 2))  # half of the crops are squeezed to a square, as in use
        even = math.sqrt(height * width)
        scale_y = side / (height**squeeze * even ** (1 - squeeze))
        scale_x = side / (width**squeeze * even ** (1 - squeeze))
        rows, columns = min(self.crop / scale_y, height), min(self.crop / scale_x, width)
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        found = np.flatnonzero(labels == focus) if focus is not None else ()
        if len(found):
            y, x = divmod(int(rng.choice(found)), width)
        top = min(max(y - rows * rng.uniform(0.2, 0.8), 0), height - rows)
        left = min(max(x - columns * rng.uniform(0.2, 0.8), 0), width - columns)
        out_h, out_w = (min(self.crop, _even(each)) for each in (rows * scale_y, columns * scale_x))
        at_y, at_x = (_even(rng.uniform(0, self.crop - each), least=0) for each in (out_h, out_w))
        return _Window((left, top, left + columns, top + rows), (out_h, out_w), (at_y, at_x))


def _even(value: float, least: int = LABEL_STRIDE) -> int:
    """Return the nearest multiple of LABEL_STRIDE."""
    return max(least, LABEL_STRIDE * round(value / LABEL_STRIDE))


@dataclass(frozen=True)
class _Window:
    """The part of the photograph for a crop, its size in the crop, and its position there."""

    box: Box  # in pixels of the photograph
    size_hw: tuple[int, int]
    at: tuple[int, int]  # row and column


def _paste(crop: np.ndarray, shares: np.ndarray, cutting: Cutting, rng: np.random.Generator) -> None:
    """Paste an object, in place, at 0.25 to 0.8 of the crop's side and a random position (Ghiasi et al. 2021)."""
    side = len(crop)
    scale = side * rng.uniform(0.25, 0.8) / max(cutting.mask.shape)
    height, width = (_even(each * scale) for each in cutting.mask.shape)
    turned = slice(None, None, -1 if rng.random() < 0.5 else 1)
    pixels, opacity = (
        np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR))[:, turned]
        for each in (cutting.pixels, cutting.mask.astype(np.uint8) * 255)
    )
    row, column = (_even(rng.uniform(0, side - each), least=0) for each in (height, width))
    share = (opacity / np.float32(255))[..., None]
    place = slice(row, row + height), slice(column, column + width)
    crop[place] = crop[place] * (1 - share) + pixels * share
    coarse_rows, coarse_columns = (slice(each.start // LABEL_STRIDE, each.stop // LABEL_STRIDE) for each in place)
    covered = opacity[::LABEL_STRIDE, ::LABEL_STRIDE] > 127
    shares[:, coarse_rows, coarse_columns][:, covered] = 0
    shares[cutting.number, coarse_rows, coarse_columns][covered] = CERTAIN


def _recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change saturation, contrast, brightness and tint by random amounts: uint8 (h, w, 3)."""
    values = image.astype(np.float32)
    values += (values @ _GREY - values.transpose(2, 0, 1)).transpose(1, 2, 0) * np.float32(rng.uniform(-0.4, 0.4))
    mean = values.mean()
    tint = rng.uniform(0.93, 1.07, 3).astype(np.float32)
    values = ((values - mean) * np.float32(rng.uniform(0.7, 1.35)) + mean + np.float32(rng.uniform(-32, 32))) * tint
    return np.clip(values, 0, 255).astype(np.uint8)
