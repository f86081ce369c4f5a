"""Reads label maps of any program, one PNG for each photograph of a data set, to be scored as predictions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ..classes import IGNORE_INDEX
from ..errors import ImageError, LabelError, SegcoreError, UsageError
from ..files.names import output_stems
from ..imaging import masks, reading
from ..imaging.masks import Mask
from ..inference.task import Task
from .dataset import Dataset


@dataclass(frozen=True)
class LabelMaps:
    """A folder of label maps.

    files: the path of each photograph's label map, by the photograph's file name. Single files may be missing.
    num_classes: the label maps hold class ids below it. title: what sentences call the folder. max_pixels: of one label
    map; larger ones are refused before they are decoded.
    """

    folder: Path
    files: Mapping[str, Path] = field(repr=False)
    num_classes: int
    title: str
    max_pixels: int

    @classmethod
    def open(
        cls,
        folder: str | Path,
        stems: Mapping[str, str],
        num_classes: int,
        *,
        title: str | None = None,
        max_pixels: int = reading.MAX_PIXELS,
    ) -> LabelMaps:
        """Find the label maps. stems: the label map's name without ".png", by the photograph's file name.

        title: by default the folder's path. Raises UsageError if the folder does not exist or holds no label map of any
        photograph.
        """
        if not os.path.isdir(folder):
            raise UsageError(
                f"there is no folder {folder}; give one that holds a label map PHOTOGRAPH.png for each image"
            )
        files = {photograph: Path(folder, f"{stem}.png") for photograph, stem in stems.items()}
        title = str(folder) if title is None else title
        maps = cls(Path(folder), files, num_classes, title, max_pixels)
        if not maps._present:
            some = ", ".join(path.name for path in list(files.values())[:3])
            raise UsageError(f"{title} holds no label map of these photographs; expected {some} and so on")
        return maps

    def read(self, photograph: str, task: Task, *sizes_hw: tuple[int, int]) -> np.ndarray:
        """Read the label map of a photograph: uint8 (H, W), in binary mode of 0 and 1. Its size is one of `sizes_hw`.

        Raises ImageError for a file that is missing or cannot be read. Raises LabelError for another size, for values
        and colours that stand for no class, for undecided pixels (255), and in multiclass mode for a mask.
        """
        path = self.files[photograph]
        mask = _decoded(path, self, sizes_hw)
        if task.binary and mask.is_binary and (not mask.is_labels or self.are_masks):
            return mask.values
        if not mask.is_labels:
            raise LabelError(
                f"{path.name} is black and white, which does not say what the object is; score it in binary mode"
            )
        if IGNORE_INDEX in masks.values_in(mask.values):
            raise LabelError(
                f"{path.name} leaves pixels undecided (value {IGNORE_INDEX}); give each pixel a class, for instance 0"
            )
        return task.truth(mask.values)

    @cached_property
    def are_masks(self) -> bool:
        """Whether no label map holds a class id above 1, so that in binary mode 1 is the object and not class 1.

        One grey image of zeros and ones can be either; the other files decide. A palette index 1, or the colour of
        class 1, is class 1.
        """
        return not any(_holds_ids(path, self) for path in self._present)

    def notice(self, task: Task) -> str | None:
        """Return a sentence on how the values are read, where they can be class ids or masks; else None."""
        if task.binary and self.are_masks:
            return f"{self.title} holds masks: 1, or white, is read as {task.friendly_names[1]}"
        if task.binary:
            return f"{self.title} holds class ids; those of {task.friendly_names[1]} are the object"
        if self.are_masks and self.num_classes > 2:
            return f"{self.title} holds no class id above 1; if these are masks, score them with --mode binary"
        return None

    @cached_property
    def sha256(self) -> str:
        """The hash of the names and contents of all label maps. Raises ImageError for a file that cannot be read."""
        digest = hashlib.sha256()
        for path in sorted(self._present):
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ImageError(f"{path.name} cannot be read: {error.strerror}") from error
            digest.update(f"{path.name}\n{content}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @cached_property
    def _present(self) -> list[Path]:
        return [path for path in self.files.values() if os.path.isfile(path)]


def resized(labels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize uint8 (H, W) to `size_hw` by Pillow's nearest neighbour, as the truth is resized."""
    if labels.shape == size_hw:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size_hw[::-1], Image.Resampling.NEAREST))


def _decoded(path: Path, maps: LabelMaps, sizes_hw: Iterable[tuple[int, int]] = ()) -> Mask:
    with reading.opened(path, max_pixels=maps.max_pixels) as picture:
        if picture.format != "PNG":
            raise LabelError(f"{path.name} is {picture.format} inside, which may mix labels; save label maps as PNG")
        sizes = dict.fromkeys((width, height) for height, width in sizes_hw)
        if sizes and picture.size not in sizes:  # before decoding, so that a large file of a wrong size costs nothing
            wanted = " or ".join(f"{width} x {height}" for width, height in sizes)
            why = "the photograph's size" if len(sizes) == 1 else "the photograph's size, or the size that is scored"
            raise LabelError(f"{path.name} is {picture.width} x {picture.height}, but must be {wanted}: {why}")
        picture.load()
        return masks.decode(picture, path.name, maps.num_classes)


def _holds_ids(path: Path, maps: LabelMaps) -> bool:
    try:
        mask = _decoded(path, maps)
    except SegcoreError:  # reported where the file is read to be scored
        return False
    return mask.is_labels and not mask.is_binary and bool(mask.values.any())


def label_stems(dataset: Dataset) -> dict[str, str]:
    """Return the names of label maps and figures, without ".png", by the photographs' file names."""
    stems = output_stems([Path(image.file_name) for image in dataset.images])
    return {image.file_name: stems[Path(image.file_name)] for image in dataset.images}
