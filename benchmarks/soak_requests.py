"""The requests of the soak: photographs, input that must be refused, and misbehaving visitors."""

from __future__ import annotations

import io
import random
import secrets
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.helpers.hostile_pictures import COSTLY
from tests.helpers.page_client import API, Visitor

KINDS = {
    "jpg": ("JPEG", ("RGB", "L", "CMYK")),
    "png": ("PNG", ("RGB", "RGBA", "L", "P", "1")),
    "webp": ("WEBP", ("RGB",)),
}
MARK = secrets.token_bytes(16 * 1024)  # in all photographs of a run, and nowhere else
MADE_UP = 25  # forged sessions at a time, more than the soak's page keeps

Events = dict[str, dict]


def photograph(chance: random.Random, suffix: str | None = None, mode: str | None = None) -> tuple[str, bytes]:
    """A picture of random size, content and kind: its name and its file, with MARK after its end, and in its pixels.

    suffix, mode: its kind, if not at random; of "png" and "RGB" the mark stays whole when it is decoded.
    """
    suffix = suffix or chance.choice(list(KINDS))
    kind, modes = KINDS[suffix]
    side = chance.choice((30, 200, 500, 900, 1500))
    size = side + chance.randrange(side), side + chance.randrange(side)
    noise = np.random.default_rng(chance.randrange(2**32)).integers(0, 255, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    pixels = np.array(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))
    if pixels.size > 2 * len(MARK):
        pixels.reshape(-1)[: len(MARK)] = np.frombuffer(MARK, np.uint8)
    Image.fromarray(pixels).convert(mode or chance.choice(modes)).save(buffer, kind)
    return f"photo.{suffix}", buffer.getvalue() + MARK


def huge_header() -> bytes:
    """Return a PNG whose header claims 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (chunk, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def bad_requests(chance: random.Random) -> dict[str, Callable[[Visitor], object]]:
    """Return the files that must be refused, by name."""
    name, content = photograph(chance)

    def file(path: str) -> dict:
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    return {
        "not an image": lambda it: it.segment("notes.jpg", b"not an image"),
        "empty": lambda it: it.segment("empty.png", b""),
        "cut off": lambda it: it.segment(name, content[: (len(content) - len(MARK)) // 3]),
        "huge header": lambda it: it.segment("huge.png", huge_header()),
        "a costly structure": lambda it: it.segment("costly.png", chance.choice(list(COSTLY.values()))()),
        "a long name of a session": lambda it: it.listen("x" * 1000),
        "unknown class": lambda it: it.segment(name, content, "binary", "unicorn"),
        "unknown mode": lambda it: it.segment(name, content, "ternary"),
        "unknown model": lambda it: it.segment(name, content, "multiclass", "any", -1, "resnet"),
        "threshold of 7": lambda it: it.segment(name, content, "binary", "any", 7),
        "no number": lambda it: it.segment(name, content, "binary", "any", "half"),
        "no image": lambda it: it.segment_file(None),
        "too few arguments": lambda it: it.segment_file("photo.jpg"),
        "a path of the server": lambda it: it.segment_file(file("/etc/passwd")),
        "an address": lambda it: it.segment_file(file("http://127.0.0.1:9/photo.jpg")),
    }


# ---------------------------------------------------------------------------- visitors who misbehave, events -> nothing


def vanishes_at_work(visitor: Visitor, events: Events, chance: random.Random) -> None:
    """Close the tab while the photograph is processed."""
    with visitor.heartbeat():
        visitor.join(*_upload(visitor, events, chance))
        with visitor.stream():
            time.sleep(chance.random())


def vanishes_in_line(visitor: Visitor, events: Events, chance: random.Random) -> None:
    """Close the tab before it requests its answer."""
    with visitor.heartbeat():
        visitor.join(*_upload(visitor, events, chance))


def hangs_up(visitor: Visitor, events: Events, chance: random.Random) -> None:
    """Read no answers for a while, disconnect during an answer, and come again: then there must be an answer."""
    with visitor.heartbeat():
        visitor.join(*_upload(visitor, events, chance))
        with visitor.stream():
            time.sleep(chance.uniform(0, 3))
        visitor.open(events, *photograph(chance))
        visitor.look(events, sharp=True)


def makes_up_sessions(visitor: Visitor, events: Events, chance: random.Random) -> None:
    """Start more sessions than the page keeps, without requests."""
    for _ in range(MADE_UP):
        body = {"data": [], "session_hash": f"made-up-{chance.getrandbits(64):x}"}
        visitor.http.post(f"{API}/run/on_clock", json=body).raise_for_status()


def _upload(visitor: Visitor, events: Events, chance: random.Random) -> tuple[dict, list]:
    return events["on_upload"], [visitor.upload(*photograph(chance)), None, "auto", "squeeze", False]


MISBEHAVIOUR = {
    "vanishes at work": vanishes_at_work,
    "vanishes in line": vanishes_in_line,
    "hangs up": hangs_up,
    "makes up sessions": makes_up_sessions,
}
