"""Finds image files that would take very long to decode, from their structure and before they are decoded."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

MAX_SCANS = 100  # scans of a JPEG: cameras and programs write about 20 at most
MAX_JPEG_METADATA = 16 * 2**20  # bytes before the first scan; Pillow copies them again for each segment
MAX_JPEG_SEGMENTS = 10_000
MAX_GIF_METADATA = 2**20  # bytes before the first frame
MAX_PNG_CHUNKS = 100_000

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # without the markers that occur inside a scan
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_GIF_EXTENSION = 0x21


def is_costly(file: BinaryIO, file_format: str) -> bool:
    """Whether a file has far more parts than any camera or program writes.

    file_format: Pillow's name of it. The position in `file` changes. Does not detect damaged files.
    """
    check = {"JPEG": _is_costly_jpeg, "GIF": _is_costly_gif, "PNG": _is_costly_png}.get(file_format)
    file.seek(0)
    return check is not None and check(file)


def _is_costly_jpeg(file: BinaryIO) -> bool:
    """A decoder goes over the full image for each scan, and 1 MB has room for thousands of scans."""
    content = file.read()
    place, segments, scans, components, progressive = 2, 0, 0, 0, False
    while match := _MARKER.search(content, place):
        marker = content[match.start() + 1]
        if marker == _END_OF_IMAGE:
            return False
        segments += 1
        begin = match.end()
        place = begin + max(2, int.from_bytes(content[begin : begin + 2], "big"))
        if marker in _FRAMES:
            components = content[begin + 7] if begin + 7 < len(content) else 0
            progressive = marker & 3 == 2
        elif marker == _START_OF_SCAN:
            scans += 1
            if begin + 2 < len(content) and content[begin + 2] == components and not progressive:
                return False  # one scan holds the full image
        if segments > MAX_JPEG_SEGMENTS or scans > MAX_SCANS or (not scans and place > MAX_JPEG_METADATA):
            return True
    return False


def _is_costly_gif(file: BinaryIO) -> bool:
    head = file.read(13)
    if len(head) == 13 and head[10] & 0x80:
        file.seek(3 << (head[10] & 7) + 1, os.SEEK_CUR)
    begin = file.tell()
    while file.read(1) == bytes([_GIF_EXTENSION]):
        file.seek(1, os.SEEK_CUR)
        while size := file.read(1):
            if size == b"\0":
                break
            file.seek(size[0], os.SEEK_CUR)
            if file.tell() - begin > MAX_GIF_METADATA:
                return True
    return False


def _is_costly_png(file: BinaryIO) -> bool:
    file.seek(8)
    for _ in range(MAX_PNG_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return False
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return True
