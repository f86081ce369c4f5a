"""A process that decodes what visitors upload, one file after another, within limits, and may be killed at any time.

It reads a line of JSON for each file: "job", a name in JOBS, and that function's arguments. It answers with a line of
JSON, and as many bytes as its "bytes" says. It ends when its input does, which is when the page ends.
"""

from __future__ import annotations

import faulthandler
import functools
import io
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from segcore.errors import ImageError, SegcoreError
from segcore.imaging import reading

try:
    import resource
except ImportError:  # on Windows
    resource = None

# A photograph takes a twentieth of a second for a megapixel at most; slower machines need four times as much.
SECONDS, SECONDS_A_MEGAPIXEL = 3.0, 0.15
BYTES, BYTES_A_PIXEL = 2**30, 24
TRUTH_SECONDS, TRUTH_BYTES = 20.0, 3 * 2**30
# By the clock, since others may want the processor too. Windows limits nothing else.
BY_THE_CLOCK = 20 if resource else 2

_Answer = tuple[dict[str, Any], bytes | memoryview]


def photograph(path: str, max_pixels: int, max_bytes: int) -> _Answer:
    """What `reading.read` gives, and its shape."""
    limit(SECONDS, BYTES)
    with reading.opened(path, max_pixels=max_pixels, max_bytes=max_bytes) as picture:
        _limit_by_size(picture)
    pixels = reading.read(path, max_pixels=max_pixels, max_bytes=max_bytes)
    return {"shape": pixels.shape}, memoryview(pixels).cast("B")


def small_copy(path: str, side: int, max_pixels: int) -> _Answer:
    """A JPEG of the photograph, upright, its longer side `side`; no bytes where it is no larger."""
    limit(SECONDS, BYTES)
    with reading.opened(path, max_pixels=max_pixels) as picture:
        if max(picture.size) <= side:
            return {}, b""
        _limit_by_size(picture)
        picture.draft("RGB", (side, side))
        small = reading.fit_within(reading.read(picture, max_pixels=max_pixels), side)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG")
    return {}, buffer.getvalue()


def truth(path: str, photograph: str, size_hw: list[int]) -> _Answer:
    """What `supplied.read_truth` gives: its fields, and its packed pixels as the bytes."""
    from segcore.truth.supplied import read_truth

    limit(TRUTH_SECONDS, TRUTH_BYTES)
    fields = asdict(read_truth(path, photograph, tuple(size_hw)))
    packed = fields.pop("packed")
    return fields, packed


JOBS: dict[str, Callable[..., _Answer]] = {each.__name__: each for each in (photograph, small_copy, truth)}


def _limit_by_size(picture: Image.Image) -> None:
    pixels = math.prod(picture.size)
    limit(SECONDS + SECONDS_A_MEGAPIXEL * pixels / 1e6, BYTES + BYTES_A_PIXEL * pixels)


def limit(seconds: float, room: int) -> None:
    """Limit what this process may still take: seconds of a processor, and bytes of memory beyond what it had at first.

    It is ended where it takes more time, and gets a MemoryError where it asks for more memory.
    """
    faulthandler.dump_traceback_later(BY_THE_CLOCK * seconds, exit=True)
    if resource:
        used = resource.getrusage(resource.RUSAGE_SELF)
        most = math.ceil(used.ru_utime + used.ru_stime + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
    if at_first := _memory_at_first():
        resource.setrlimit(resource.RLIMIT_AS, (at_first + room, resource.RLIM_INFINITY))


@functools.cache
def _memory_at_first() -> int:
    """The bytes of this process's address space when this was asked first; 0 where the system does not limit them."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def answer(request: dict[str, Any]) -> _Answer:
    """Do one job; what is wrong with the file is an answer too."""
    try:
        return JOBS[request.pop("job")](**request)
    except MemoryError:
        error = ImageError("The file needs more memory than there is; make it smaller first")
    except SegcoreError as said:
        error = said
    return {"error": type(error).__name__, "sentence": str(error)}, b""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer all requests."""
    for line in requests:
        fields, payload = answer(json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        answers.write(json.dumps(fields | {"bytes": len(payload)}).encode() + b"\n")
        answers.write(payload)
        answers.flush()


def main() -> None:
    """Serve the page that started this process, and that lets nobody read its stderr."""
    _memory_at_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page, with which this ends
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    if resource:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.init()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
