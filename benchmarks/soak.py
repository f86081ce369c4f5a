"""Thousands of requests, a third of them bad: that memory stays, no file is left, and no traceback gets into the log.

    python -m benchmarks.soak [--requests 5000] [--visitors 4] [--seed 0]

Starts the page, on loopback, with uploads that are deleted after a minute. Good requests are photographs of random
sizes and kinds, on the page and to `/segment`; bad ones are no images, empty, cut off, of huge headers, paths and
addresses instead of uploads, wrong arguments, classes and models that do not exist. Ends with status 1 where the
resident memory after the last fifth is more than 5 % above that after the first fifth, where a good request fails or a
bad one is answered, and where a traceback or a file is left.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.speed import machine
from segcore.models import catalogue
from tests.hostile_pictures import COSTLY
from tests.page_client import Refused, Visitor
from tests.page_server import running_page

KINDS = {
    "jpg": ("JPEG", ("RGB", "L", "CMYK")),
    "png": ("PNG", ("RGB", "RGBA", "L", "P", "1")),
    "webp": ("WEBP", ("RGB",)),
}
MOST_GROWTH = 0.05
ROUNDS = 5
QUIET = 10  # seconds after each, in which what is free goes back to the system
KEEP_SECONDS = 60
# So few sessions that they are all taken within the first fifth, as they would be after a day.
SETTINGS = {"SEGCORE_KEEP_MINUTES": str(KEEP_SECONDS / 60), "SEGCORE_SESSIONS": "20"}


def photograph(chance: random.Random) -> tuple[str, bytes]:
    """A picture of random size, content and kind: its name and its file."""
    suffix = chance.choice(list(KINDS))
    kind, modes = KINDS[suffix]
    side = chance.choice((30, 200, 500, 900, 1500))
    size = side + chance.randrange(side), side + chance.randrange(side)
    noise = np.random.default_rng(chance.randrange(2**32)).integers(0, 255, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(chance.choice(modes)).save(buffer, kind)
    return f"photo.{suffix}", buffer.getvalue()


def huge_header() -> bytes:
    """A PNG that says it has 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (chunk, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def bad_requests(chance: random.Random) -> dict[str, Callable[[Visitor], object]]:
    """By name, what must be refused."""
    name, content = photograph(chance)

    def file(path: str) -> dict:
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    return {
        "not an image": lambda it: it.segment("notes.jpg", b"not an image"),
        "empty": lambda it: it.segment("empty.png", b""),
        "cut off": lambda it: it.segment(name, content[: len(content) // 3]),
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


def resident_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


class Soak:
    """Requests by several visitors, who come again as others now and then; `unexpected` names what went wrong."""

    def __init__(self, url: str, process: int, seed: int) -> None:
        self.url, self.process = url, process
        self.chance = random.Random(seed)
        self.asked: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.memory: list[float] = []
        self._lock = threading.Lock()
        first = Visitor(url)
        self.events = first.events()
        first.close()

    def round(self, visitors: int, requests: int) -> None:
        """So many more requests by so many visitors at a time; then all are answered, and memory is looked at."""
        until = self.asked.total() + requests
        with ThreadPoolExecutor(visitors) as pool:
            for each in [pool.submit(self._visit, until) for _ in range(visitors)]:
                each.result()
        time.sleep(QUIET)
        self.memory.append(resident_megabytes(self.process))
        print(f"{self.asked.total():6} requests, {self.memory[-1]:.0f} MB", file=sys.stderr, flush=True)

    def _visit(self, until: int) -> None:
        """Ask for this and that, as one visitor after the other."""
        while (seed := self._next(until)) is not None:
            chance = random.Random(seed)
            visitor = Visitor(self.url)
            try:
                for _ in range(5):
                    self._ask(visitor, chance)
            finally:
                visitor.close()

    def _next(self, until: int) -> int | None:
        with self._lock:
            return None if self.asked.total() >= until else self.chance.randrange(2**32)

    def _ask(self, visitor: Visitor, chance: random.Random) -> None:
        bad = chance.random() < 1 / 3
        if bad:
            kind, action = chance.choice(list(bad_requests(chance).items()))
        else:
            kind, action = chance.choice([("/segment", self._segment), ("on the page", self._open_and_look)])
        try:
            action(visitor) if bad else action(visitor, chance)
            problem = f"{kind}: answered" if bad else None
        except Refused as error:
            problem = None if bad else f"{kind}: {error}"
        with self._lock:
            self.asked[kind] += 1
            if problem:
                self.unexpected.append(problem)

    def _segment(self, visitor: Visitor, chance: random.Random) -> None:
        visitor.segment(*photograph(chance), own_session=chance.random() < 0.5)

    def _open_and_look(self, visitor: Visitor, chance: random.Random) -> None:
        visitor.open(self.events, *photograph(chance))
        visitor.look(self.events, sharp=True)
        visitor.look(self.events, "binary", "person", False, chance.uniform(0.05, 0.95), sharp=True)


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--visitors", type=int, default=4, help="at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with running_page("--model", catalogue.SHIPPED, env=SETTINGS) as page:
        [uploads] = (page.log_file.parent / "tmp").glob("*/uploads")
        own = files_in(uploads)
        soak = Soak(page.url, page.process.pid, arguments.seed)
        for _ in range(ROUNDS):
            soak.round(arguments.visitors, arguments.requests // ROUNDS)
        kept = files_in(uploads) - own
        time.sleep(2.5 * KEEP_SECONDS)
        left = files_in(uploads) - own
        log = page.log()
    minutes = (time.perf_counter() - started) / 60
    first, last = soak.memory[0], soak.memory[-1]
    print(f"{soak.asked.total()} requests in {minutes:.0f} minutes\n{machine()}\n")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(soak.asked.items())))
    print(f"resident: {first:.0f} MB after the first fifth, {last:.0f} MB after the last, {last / first - 1:+.1%}")
    print(f"uploads: {len(kept)} files in the end, {len(left)} once their time was over")
    problems = Counter(soak.unexpected)
    if "Traceback" in log:
        problems["a traceback in the log: " + log[log.index("Traceback") :][:2000]] += 1
    for problem, count in problems.most_common(10):
        print(f"{count} x {problem}", file=sys.stderr)
    return 1 if problems or left or last > first * (1 + MOST_GROWTH) else 0


if __name__ == "__main__":
    sys.exit(main())
