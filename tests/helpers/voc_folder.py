"""Writes small folders in PASCAL VOC's layout, with Pillow alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

VOC_COLORS = np.array(
    [  # as PASCAL VOC's development kit paints the classes
        *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)),
        *((128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128)),
        *((64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)),
    ],
    np.uint8,
)


def write_voc(
    folder: Path, labels: Mapping[str, np.ndarray], *, split: str = "val", suffix: str = ".jpg", seed: int = 0
) -> Path:
    """A photograph in random blocks of colour for each label map, uint8 (H, W), and the split's list. -> the folder."""
    rng = np.random.default_rng(seed)
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, values in labels.items():
        height, width = values.shape
        blocks = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
        blocks.resize((width, height), Image.Resampling.BICUBIC).save(folder / "JPEGImages" / f"{name}{suffix}")
        palette_png(values).save(label_file(folder, name))
    write_list(folder, labels, split)
    return folder


def write_list(folder: Path, names, split: str = "val") -> Path:
    """The split's list of names, a line each."""
    path = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return path


def label_file(folder: Path, name: str) -> Path:
    return folder / "SegmentationClass" / f"{name}.png"


def palette_png(values: np.ndarray) -> Image.Image:
    """A label map as VOC's own are stored: with a palette, 255 in a cream."""
    picture = Image.fromarray(values)
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(VOC_COLORS)] = VOC_COLORS
    colors[255] = 224, 224, 192
    picture.putpalette(colors.tobytes())
    return picture


def boxes(size_hw: tuple[int, int], *parts: tuple[int, int, int, int, int]) -> np.ndarray:
    """uint8 (H, W) of background with boxes of a class: (class, top, left, bottom, right)."""
    values = np.zeros(size_hw, np.uint8)
    for number, top, left, bottom, right in parts:
        values[top:bottom, left:right] = number
    return values
