"""The inputs of a `Segmenter`: one photograph, or a folder or iterable of photographs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError, UsageError
from ..imaging import reading

Photograph = reading.Source | Tensor
_ONE = (str, os.PathLike, bytes, bytearray, memoryview, reading.File, Image.Image, np.ndarray, Tensor)
_UNNAMED = "image"


def read(source: Photograph) -> np.ndarray:
    """Read one photograph as uint8 RGB (H, W, 3).

    source: anything that `imaging.reading.read` takes, or a tensor on any device. A tensor is uint8, or float from 0 to
    1 and not normalised, of shape (3, H, W), (1, H, W) or (H, W). Raises ImageError for an unreadable image.
    """
    return reading.read(_pixels(source) if isinstance(source, Tensor) else source)


def is_one(source: object) -> bool:
    """Whether a source is a single photograph. Folders and iterables, except open files, are several photographs."""
    if isinstance(source, str | os.PathLike):
        return not os.path.isdir(source)
    return isinstance(source, _ONE) or reading.is_open_file(source) or not isinstance(source, Iterable)


def each_of(sources: Iterable[Photograph] | str | os.PathLike[str]) -> Iterator[Photograph]:
    """Return an iterator over a folder's photographs, sorted by name, or over an iterable.

    Raises UsageError for a single photograph, and for a folder that is empty or cannot be read.
    """
    if isinstance(sources, str | os.PathLike) and os.path.isdir(sources):
        try:
            files = reading.photographs_in(Path(sources))
        except OSError as error:
            raise UsageError(f"the folder {sources} cannot be read: {error.strerror}") from error
        if not files:
            raise UsageError(f"there are no photographs in the folder {sources}; name one that holds some")
        return iter(files)
    if isinstance(sources, str | os.PathLike) or is_one(sources):
        raise UsageError(f"expected a folder or several photographs, got {type(sources).__name__}; put it into a list")
    return iter(sources)


def name_of(source: object, number: int | None = None) -> str:
    """Return the name for output files: the photograph's file name without suffix, or "image" and its number."""
    if isinstance(source, reading.File):
        source = source.name
    elif not isinstance(source, str | os.PathLike):
        named = getattr(source, "filename", None) or getattr(source, "name", None)  # Pillow's, or an open file's
        source = named if isinstance(named, str | os.PathLike) else ""
    stem = Path(os.fsdecode(source)).stem
    return stem or (_UNNAMED if number is None else f"{_UNNAMED}_{number:06d}")


def _pixels(tensor: Tensor) -> np.ndarray:
    values = tensor.detach().cpu()
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values.permute(1, 2, 0)
    elif values.ndim != 2:
        raise ImageError(f"expected a tensor (3, H, W), (1, H, W) or (H, W), got {tuple(tensor.shape)}")
    if values.is_floating_point():
        values = values.float()
        if values.numel() and not (values.min() >= 0 and values.max() <= 1):  # this form also refuses nan
            raise ImageError("expected a tensor of floats from 0 to 1; give the photograph as it was, not normalised")
        values = (values * 255).round().to(torch.uint8)
    if values.dtype != torch.uint8:
        raise ImageError(f"expected a tensor of uint8, or of floats from 0 to 1, got {values.dtype}")
    return np.ascontiguousarray(values.numpy())
