"""Pictures as the bytes of files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
A, B, C, D, E, F = RED, GREEN, BLUE, (10, 20, 30), (255, 255, 255), (0, 0, 0)
PATTERN = np.array([[A, B, C], [D, E, F]], np.uint8)  # 2 x 3, no symmetry


def encoded(picture: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, color_type: int, rows: bytes, transparent: bytes = b"") -> bytes:
    """A PNG written by hand: its header may lie, and it may hold what Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))
    trns = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + trns + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def photograph(height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth, so that lossy formats keep it within a few levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 2 * x, 200 - 2 * y, 60 + x + y], -1).astype(np.uint8)
