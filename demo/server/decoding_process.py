"""A process that decodes visitors' uploads, one after the other, within limits. It may be killed at any time.

For each file it reads a line of JSON: "job", a name in JOBS, and that function's arguments. It answers with a line of
JSON and then as many bytes as "bytes" says. It ends when its input ends, that is, when the page ends.
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
    resource = None  # type: ignore[assignment]

# Decoding takes at most 0.05 s per megapixel. Slower machines may need four times as long.
SECONDS, SECONDS_A_MEGAPIXEL = 3.0, 0.15
BYTES, BYTES_A_PIXEL = 2**30, 24
TRUTH_SECONDS, TRUTH_BYTES = 20.0, 3 * 2**30
# Factor for the limit on elapsed time: other processes may use the processor too. Windows has no other limit.
BY_THE_CLOCK = 20 if resource else 2

_Answer = tuple[dict[str, Any], bytes | memoryview]


def photograph(path: str, max_pixels: int, max_bytes: int) -> _Answer:
    """Decode a photograph as `reading.read` does. Returns its shape and pixels."""
    limit(SECONDS, BYTES)
    with reading.opened(path, max_pixels=max_pixels, max_bytes=max_bytes) as picture:
        _limit_by_size(picture)
    pixels = reading.read(path, max_pixels=max_pixels, max_bytes=max_bytes)
    return {"shape": pixels.shape}, pixels.data.cast("B")


def small_copy(path: str, side: int, max_pixels: int) -> _Answer:
    """Make an upright JPEG with the longer side `side`; no bytes if the photograph is no larger."""
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


def truth(path: str, photograph: str, size_hw: tuple[int, int]) -> _Answer:
    """Read a truth as `supplied.read_truth` does. Returns its fields, and its packed pixels as the bytes."""
    from segcore.truth.supplied import read_truth

    limit(TRUTH_SECONDS, TRUTH_BYTES)
    fields = asdict(read_truth(path, photograph, (size_hw[0], size_hw[1])))
    packed = fields.pop("packed")
    return fields, packed


JOBS: dict[str, Callable[..., _Answer]] = {each.__name__: each for each in (photograph, small_copy, truth)}


def _limit_by_size(picture: Image.Image) -> None:
    pixels = math.prod(picture.size)
    limit(SECONDS + SECONDS_A_MEGAPIXEL * pixels / 1e6, BYTES + BYTES_A_PIXEL * pixels)


def limit(seconds: float, room: int) -> None:
    """Limit this process to further seconds of processor time, and to bytes of memory beyond its initial memory.

    The process is killed if it takes more time. It gets a MemoryError if it allocates more memory.
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
    """Return the size of this process's address space at the first call, in bytes; 0 if the system cannot limit it."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def answer(request: dict[str, Any]) -> _Answer:
    """Do one job. A problem of the file is returned as an answer."""
    try:
        return JOBS[request.pop("job")](**request)
    except MemoryError:
        error: SegcoreError = ImageError("The file needs more memory than there is; make it smaller first")
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
    """Serve the page that started this process. The page discards stderr."""
    _memory_at_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the page, and then this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    if resource:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.init()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
