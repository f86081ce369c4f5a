"""Small files that take a decoder very long, each written by hand from a good picture."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(width: int, height: int, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (60, 120, 200)).save(buffer, file_format, **options)
    return buffer.getvalue()


def jpeg_of_many_scans(scans: int = 8000, width: int = 2000, height: int = 2000) -> bytes:
    """A progressive JPEG that says the last of its refinements again and again."""
    whole = encoded(width, height, "JPEG", progressive=True, subsampling=0)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def jpeg_of_many_segments(count: int = 20_000) -> bytes:
    whole = encoded(16, 16, "JPEG")
    return whole[:2] + b"\xff\xfe\x00\x02" * count + whole[2:]


def jpeg_of_much_metadata(size: int = 20 * 2**20) -> bytes:
    whole, part = encoded(16, 16, "JPEG"), b"Exif\0\0" + b"x" * 65_000
    return whole[:2] + (b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part) * (size // len(part)) + whole[2:]


def gif_of_long_comment(size: int = 4 * 2**20) -> bytes:
    """Pillow copies all of a comment again for each 255 bytes of it."""
    whole = encoded(16, 16, "GIF")
    palette = 13 + (3 << (whole[10] & 7) + 1 if whole[10] & 0x80 else 0)
    block = b"\xff" + b"c" * 255
    return whole[:palette] + b"\x21\xfe" + block * (size // len(block)) + b"\0" + whole[palette:]


def png_of_many_chunks(count: int = 200_000) -> bytes:
    whole = encoded(16, 16, "PNG")
    empty = b"\0\0\0\0teXt" + struct.pack(">I", zlib.crc32(b"teXt"))
    return whole[:33] + empty * count + whole[33:]


def tiff_of_overlapping_strips(width: int = 3000, height: int = 3000, compression: str = "raw") -> bytes:
    """Each of its rows is a strip, and every strip is the whole file's data."""
    data = np.zeros((height, width), np.uint8).tobytes()
    tags = {
        **{256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1])},
        **{273: (4, [8] * height), 277: (3, [1]), 278: (4, [1]), 279: (4, [len(data)] * height)},
    }
    beside = 8 + len(data)
    extra, entries = b"", b""
    for tag, (kind, values) in tags.items():
        packed = struct.pack(f"<{len(values)}{'HI'[kind == 4]}", *values)
        if len(packed) > 4:
            extra, packed = extra + packed, struct.pack("<I", beside + len(extra))
        entries += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", beside + len(extra)) + data + extra + directory


COSTLY = {
    "scans": jpeg_of_many_scans,
    "segments": jpeg_of_many_segments,
    "metadata": jpeg_of_much_metadata,
    "comment": gif_of_long_comment,
    "chunks": png_of_many_chunks,
    "strips": tiff_of_overlapping_strips,
}


def slow_picture(side: int = 6000) -> bytes:
    """Within all limits that its structure shows; takes seconds all the same."""
    return jpeg_of_many_scans(90, side, side)
