"""Preprocessing: resizes and normalises an RGB photograph to a network's input tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..errors import ImageError, UsageError, shown

RESIZES = ("squeeze", "aspect", "fit", "torchvision")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_TENSOR_PIXELS = 16_000_000
_MAX_SIZE = math.isqrt(MAX_TENSOR_PIXELS)  # maximum side of a squeezed photograph


@dataclass(frozen=True)
class Preprocess:
    """Resizing and normalisation of a model's input.

    resize:
    - "squeeze": to `size` x `size`, whatever the photograph's aspect ratio is;
    - "aspect": the shorter side becomes `size` and the aspect ratio is kept. If the longer side would exceed
      `max_size`, it becomes `max_size` and the shorter side is smaller than `size`. None: no limit.
    - "fit": the longer side becomes `size`, and the aspect ratio is kept.
    - "torchvision": the shorter side becomes `size`, without a limit. torchvision scored its published segmentation
      weights in this way; for PIL images the tensors are bit-identical.

    Sizes are rounded like in `torchvision.transforms.functional.resize`. multiple_of: both sides become the nearest
    multiple of it, for networks that take no other sizes. mean, std: of red, green and blue in 0..1.
    Raises UsageError for an unknown resize and for invalid settings.
    """

    size: int = 520
    resize: str = "squeeze"
    max_size: int | None = 2080
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise UsageError(f"there is no resize {self.resize!r}; choose one of: {', '.join(RESIZES)}")
        if not 1 <= self.size <= _MAX_SIZE:
            raise UsageError(f"expected a size from 1 to {_MAX_SIZE:,} pixels, got {shown(self.size)}")
        if not 1 <= self.multiple_of <= self.size:
            raise UsageError(f"expected multiple_of from 1 to the size {self.size}, got {shown(self.multiple_of)}")
        if self.resize == "aspect" and self.max_size is not None and self.max_size <= self.size:
            raise UsageError(f"expected a max_size greater than the size {self.size}, got {self.max_size}")
        given = f"{shown(self.mean)}, {shown(self.std)}"
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, self.mean + self.std)):
            raise UsageError(f"expected mean and std of 3 channels, finite numbers; got {given}")
        if min(self.std) <= 0:
            raise UsageError(f"expected mean and std of 3 channels, std above 0; got {given}")

    def size_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width, in pixels, to which a photograph of `height` x `width` is resized.

        Raises ImageError if that tensor would hold more than MAX_TENSOR_PIXELS pixels.
        """
        if height < 1 or width < 1:
            raise ImageError(f"expected an image of at least 1 x 1 pixel, got {width} x {height}")
        if self.resize == "squeeze":
            return self._rounded(self.size), self._rounded(self.size)
        if self.resize == "fit":
            short, long = max(1, round(self.size * min(height, width) / max(height, width))), self.size
        else:
            short, long = self.size, int(self.size * max(height, width) / min(height, width))
        if self.resize == "aspect" and self.max_size is not None and long > self.max_size:
            short, long = max(1, int(self.max_size * short / long)), self.max_size
        if short * long > MAX_TENSOR_PIXELS:
            raise ImageError(
                f"an image of {width} x {height} is too thin for the resize {self.resize!r}: it would become "
                f"{short} x {long} pixels, of which {MAX_TENSOR_PIXELS:,} are the most; "
                "use 'squeeze', or 'aspect' with a max_size"
            )
        short, long = self._rounded(short), self._rounded(long)
        return (long, short) if height > width else (short, long)

    def _rounded(self, side: int) -> int:
        return max(1, round(side / self.multiple_of)) * self.multiple_of

    def resize_image(self, image: np.ndarray) -> np.ndarray:
        """Resize uint8 (H, W, 3) to uint8 (h, w, 3) of `size_hw(H, W)`, with Pillow's antialiased bilinear filter.

        Raises ImageError for an array of another type or shape, and as `size_hw` does.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ImageError(f"expected a uint8 array (H, W, 3), got {image.dtype} {image.shape}")
        height, width = self.size_hw(*image.shape[:2])
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        """Resize uint8 (H, W, 3) and normalise it (/ 255, - `mean`, / `std`). Returns float32 (1, 3, h, w), contiguous.

        Raises ImageError as `resize_image` does.
        """
        return self.normalise(self.resize_image(image))

    def normalise(self, pixels: np.ndarray) -> torch.Tensor:
        """Normalise uint8 (h, w, 3), as `resize_image` returns it, to float32 (1, 3, h, w), contiguous."""
        tensor = np.empty((1, 3, *pixels.shape[:2]), np.float32)
        for channel, values in enumerate(self._normalised_levels()):
            np.take(values, pixels[..., channel], out=tensor[0, channel], mode="clip")  # "raise" would copy first
        return torch.from_numpy(tensor)

    def _normalised_levels(self) -> np.ndarray:
        """Return the normalised value of each of the 256 levels of each channel: float32 (3, 256)."""
        mean, std = (np.array(each, np.float32)[:, None] for each in (self.mean, self.std))
        return (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std
