"""One photograph with its votes, randomly scaled, cropped, flipped, pasted on and coloured: on uint8 and so cheaply."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from .classes import IGNORE_INDEX
from .errors import UsageError
from .votes import CERTAIN, NO_VOTE

_PADDING = (124, 116, 104)  # ImageNet's mean colour, which normalisation turns to about 0
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Cutting(NamedTuple):
    """An object cut out of a photograph: uint8 (h, w, 3), its mask, bool (h, w), and its class."""

    pixels: np.ndarray
    mask: np.ndarray
    number: int


@dataclass(frozen=True)
class Augmentation:
    """How far the random changes go. Raises UsageError for settings that do not fit.

    crop: the side, in pixels, of what the network is shown. size: the side that it will be used at; the photograph is
    brought to that times a factor from `scale`, in a shape between its own and a square, since photographs are
    squeezed in use. colour: the share of crops whose contrast, brightness and saturation are changed.
    """

    crop: int = 256
    size: int = 520
    scale: tuple[float, float] = (0.5, 1.6)
    flip: float = 0.5
    colour: float = 0.8

    def __post_init__(self) -> None:
        if self.crop < 32:
            raise UsageError(f"a crop needs at least 32 pixels a side, got {self.crop}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"expected the scale as two factors, the lesser first, got {self.scale}")

    def __call__(
        self,
        image: np.ndarray,
        votes: np.ndarray,
        rng: np.random.Generator,
        focus: int | None = None,
        cutting: Cutting | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (H, W, 3) and votes (H, W, 4) -> uint8 (crop, crop, 3) and (crop, crop, 4), beyond the photograph none.

        focus: a class that should be in the crop, if the photograph has it. cutting: an object to paste onto it.
        """
        window = self._window(votes[..., 0], rng, focus)
        flipped = slice(None, None, -1 if rng.random() < self.flip else 1)
        crop = _placed(image, window, self.crop, Image.Resampling.BILINEAR, np.array(_PADDING, np.uint8))
        truth = _placed(votes, window, self.crop, Image.Resampling.NEAREST, np.array(NO_VOTE, np.uint8))
        crop, truth = (np.ascontiguousarray(each[:, flipped]) for each in (crop, truth))
        if cutting is not None:
            _paste(crop, truth, cutting, rng)
        return (_recoloured(crop, rng) if rng.random() < self.colour else crop), truth

    def _window(self, labels: np.ndarray, rng: np.random.Generator, focus: int | None) -> _Window:
        height, width = labels.shape
        side = self.size * math.exp(rng.uniform(*np.log(self.scale)))
        squeeze, even = rng.random(), math.sqrt(height * width)
        scale_y = side / (height**squeeze * even ** (1 - squeeze))
        scale_x = side / (width**squeeze * even ** (1 - squeeze))
        rows, columns = min(self.crop / scale_y, height), min(self.crop / scale_x, width)
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        found = np.flatnonzero(labels == focus) if focus is not None else ()
        if len(found):
            y, x = divmod(int(rng.choice(found)), width)
        top = min(max(y - rows * rng.uniform(0.2, 0.8), 0), height - rows)
        left = min(max(x - columns * rng.uniform(0.2, 0.8), 0), width - columns)
        out_h, out_w = (min(self.crop, max(1, round(each))) for each in (rows * scale_y, columns * scale_x))
        at_y, at_x = (int(rng.integers(0, self.crop - each + 1)) for each in (out_h, out_w))
        return _Window((left, top, left + columns, top + rows), (out_h, out_w), (at_y, at_x))


@dataclass(frozen=True)
class _Window:
    """What is cut from a photograph, its size in the crop, and where it lies there."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the photograph
    size_hw: tuple[int, int]
    at: tuple[int, int]  # row and column


def _placed(
    pixels: np.ndarray, window: _Window, crop: int, resampling: Image.Resampling, padding: np.ndarray
) -> np.ndarray:
    height, width = window.size_hw
    resized = Image.fromarray(pixels).resize((width, height), resampling, box=window.box)
    result = np.empty((crop, crop, *pixels.shape[2:]), np.uint8)
    result[:] = padding
    row, column = window.at
    result[row : row + height, column : column + width] = resized
    return result


def _paste(crop: np.ndarray, votes: np.ndarray, cutting: Cutting, rng: np.random.Generator) -> None:
    """Put the object anywhere on the crop, in place, its longer side 0.25 to 0.8 of that (Ghiasi et al. 2021)."""
    side = len(crop)
    scale = side * rng.uniform(0.25, 0.8) / max(cutting.mask.shape)
    height, width = (max(1, round(each * scale)) for each in cutting.mask.shape)
    turned = slice(None, None, -1 if rng.random() < 0.5 else 1)
    pixels, opacity = (
        np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR))[:, turned]
        for each in (cutting.pixels, cutting.mask.astype(np.uint8) * 255)
    )
    row, column = (int(rng.integers(0, side - each + 1)) for each in (height, width))
    place = slice(row, row + height), slice(column, column + width)
    share = (opacity / np.float32(255))[..., None]
    crop[place] = crop[place] * (1 - share) + pixels * share
    votes[place][opacity > 127] = (cutting.number, IGNORE_INDEX, CERTAIN, 0)


def _recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Saturation, contrast, brightness and tint changed by random amounts: uint8 (h, w, 3)."""
    values = image.astype(np.float32)
    values += (values @ _GREY - values.transpose(2, 0, 1)).transpose(1, 2, 0) * np.float32(rng.uniform(-0.4, 0.4))
    mean = values.mean()
    tint = rng.uniform(0.93, 1.07, 3).astype(np.float32)
    values = ((values - mean) * np.float32(rng.uniform(0.7, 1.35)) + mean + np.float32(rng.uniform(-32, 32))) * tint
    return np.clip(values, 0, 255).astype(np.uint8)
