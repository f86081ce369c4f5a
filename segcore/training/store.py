"""A cache of decoded photographs and label maps in a memory-mapped file."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

_BYTES_PER_PIXEL = 4  # red, green, blue, label


class DecodedStore:
    """Decodes each photograph once, when it is first requested. The file has no name, so it never remains on disk.

    sizes_hw: the size of each photograph, from its header. folder: selects the disk for the file.
    It is thread-safe. Raises OSError if the disk has not enough room for all photographs.
    """

    def __init__(self, sizes_hw: Sequence[tuple[int, int]], folder: Path) -> None:
        pixels = [height * width for height, width in sizes_hw]
        self._sizes_hw = sizes_hw
        self._offsets = np.concatenate([[0], np.cumsum(pixels, dtype=np.int64)]) * _BYTES_PER_PIXEL
        self._file = tempfile.TemporaryFile(dir=folder)
        if hasattr(os, "posix_fallocate"):  # a full disk then raises an error now, instead of a crash later
            os.posix_fallocate(self._file.fileno(), 0, int(self._offsets[-1]))
        self._bytes = np.memmap(self._file, np.uint8, "w+", shape=(int(self._offsets[-1]),))
        self._filled = np.zeros(len(pixels), bool)
        self._locks = [threading.Lock() for _ in range(16)]

    def get(self, index: int, load: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Return a photograph, uint8 (H, W, 3), and its label map, uint8 (H, W), read-only. `load` is called once."""
        size_hw = self._sizes_hw[index]
        pixels = size_hw[0] * size_hw[1]
        values = self._bytes[self._offsets[index] : self._offsets[index + 1]]
        photograph, labels = values[: 3 * pixels].reshape(*size_hw, 3), values[3 * pixels :].reshape(size_hw)
        if not self._filled[index]:
            with self._locks[index % len(self._locks)]:
                photograph[:], labels[:] = load()
                self._filled[index] = True
        photograph.flags.writeable = labels.flags.writeable = False
        return photograph, labels
