"""Sends thousands of requests, many of them invalid. Checks answers, memory, and that no photograph remains.

    python -m benchmarks.soak [--requests 5000] [--visitors 4] [--seed 0]

Starts the page on loopback; it keeps photographs for three minutes. Valid requests are photographs of random sizes and
formats, on the page and to `/segment`. Invalid ones are files that are no images, empty, cut off or have huge headers,
paths and URLs instead of uploads, wrong arguments, unknown classes and models. Some visitors leave while their
photograph is processed or waits, disconnect during an answer and come again, or start more sessions than the page
keeps. From time to time the page's process is paused for some seconds.

All photographs contain the same random bytes. Exit status 1 if

- a visitor who stays gets neither an answer nor an error message within two minutes;
- a valid request fails, or an invalid one is answered;
- the resident memory after the last fifth is more than 5 % above that after the first fifth;
- five minutes after the last request, a file is left, or these bytes are in the memory of the page or of the
  processes that it has started;
- there is a traceback in the log.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.soak_requests import MARK, MISBEHAVIOUR, bad_requests, photograph
from benchmarks.speed import machine
from segcore.models import catalogue
from tests.helpers.page_client import Refused, Stuck, Visitor
from tests.helpers.page_server import RunningPage, running_page
from tests.helpers.process_memory import in_memory, with_children

MOST_GROWTH = 0.05
ROUNDS = 5
QUIET = 10  # seconds after each part, in which free memory is returned to the system
PATIENCE = 120  # seconds in which a visitor must get an answer, pauses of the page included
KEEP_SECONDS = 180  # longer than PATIENCE, so that no photograph is deleted while its visitor waits
GONE_AFTER = KEEP_SECONDS + 120
STOPPED = 2, 6  # minimum and maximum seconds of a pause of the page
BETWEEN_STOPS = 30, 90
# So few sessions that they are all taken within the first fifth, as they would be after a day.
SETTINGS = {"SEGCORE_KEEP_MINUTES": str(KEEP_SECONDS / 60), "SEGCORE_SESSIONS": "20"}


def resident_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


class Soak:
    """Sends the requests of several visitors, who change their sessions from time to time.

    stuck, unexpected: what went wrong; longest: seconds that a visitor waited for an answer; sent_again: requests whose
    connection the page had closed.
    """

    def __init__(self, page: RunningPage, seed: int) -> None:
        self.page = page
        self.chance = random.Random(seed)
        self.asked: Counter[str] = Counter()
        self.stuck: list[str] = []
        self.unexpected: list[str] = []
        self.longest = 0.0
        self.stops = 0
        self.sent_again = 0
        self.memory: list[float] = []
        self._lock = threading.Lock()
        first = Visitor(page.url)
        self.events = first.events()
        first.close()

    def round(self, visitors: int, requests: int) -> None:
        """Send further requests by several visitors, wait until all are answered, and measure the memory."""
        until = self.asked.total() + requests
        with self._stopped_now_and_then(), ThreadPoolExecutor(visitors) as pool:
            for each in [pool.submit(self._visit, until) for _ in range(visitors)]:
                each.result()
        time.sleep(QUIET)
        self.memory.append(resident_megabytes(self.page.process.pid))
        print(f"{self.asked.total():6} requests, {self.memory[-1]:.0f} MB", file=sys.stderr, flush=True)

    def look_once_more(self) -> None:
        """Open a photograph whose bytes stay unchanged in memory while it is kept."""
        visitor = Visitor(self.page.url, PATIENCE)
        self._note("at last", lambda: visitor.open(self.events, *photograph(self.chance, "png", "RGB")))
        visitor.close()

    @contextmanager
    def _stopped_now_and_then(self) -> Iterator[None]:
        over, chance = threading.Event(), random.Random(self.stops)

        def stop_and_continue() -> None:
            while not over.wait(chance.uniform(*BETWEEN_STOPS)):
                self.page.process.send_signal(signal.SIGSTOP)
                over.wait(chance.uniform(*STOPPED))
                self.page.process.send_signal(signal.SIGCONT)
                self.stops += 1

        stopping = threading.Thread(target=stop_and_continue)
        stopping.start()
        try:
            yield
        finally:
            over.set()
            stopping.join()

    def _visit(self, until: int) -> None:
        """Send random requests, as one visitor after the other."""
        while (seed := self._next(until)) is not None:
            chance = random.Random(seed)
            if chance.random() < 1 / 6:
                self._misbehave(chance)
                continue
            visitor = Visitor(self.page.url, PATIENCE)
            try:
                with visitor.heartbeat():
                    for _ in range(5):
                        self._ask(visitor, chance)
            finally:
                visitor.close()

    def _next(self, until: int) -> int | None:
        with self._lock:
            return None if self.asked.total() >= until else self.chance.randrange(2**32)

    def _misbehave(self, chance: random.Random) -> None:
        kind, action = chance.choice(list(MISBEHAVIOUR.items()))
        visitor = Visitor(self.page.url, PATIENCE)
        try:
            self._note(kind, lambda: action(visitor, self.events, chance))
        finally:
            visitor.close()

    def _ask(self, visitor: Visitor, chance: random.Random) -> None:
        if chance.random() < 1 / 3:
            kind, bad = chance.choice(list(bad_requests(chance).items()))
            self._note(kind, lambda: bad(visitor), refused=True)
        else:
            kind, good = chance.choice([("/segment", self._segment), ("on the page", self._open_and_look)])
            self._note(kind, lambda: good(visitor, chance))

    def _note(self, kind: str, action: Callable[[], object], refused: bool = False) -> None:
        """Send a request, and note differences from the expected result."""
        started, stuck, problem = time.monotonic(), None, None
        try:
            self._as_browsers_do(action)
            problem = f"{kind}: answered" if refused else None
        except Refused as error:
            problem = None if refused else f"{kind}: {error}"
        except (Stuck, httpx.TimeoutException) as error:
            stuck = f"{kind}: stuck, {error!r}"
        except httpx.HTTPError as error:
            problem = f"{kind}: {error!r}"
        with self._lock:
            self.asked[kind] += 1
            self.longest = max(self.longest, time.monotonic() - started)
            self.stuck += [stuck] if stuck else []
            self.unexpected += [problem] if problem else []

    def _as_browsers_do(self, action: Callable[[], object]) -> None:
        """Do something, and again if the page closed its connection, which seemed idle while the page was stopped."""
        try:
            action()
        except httpx.ReadError:
            with self._lock:
                self.sent_again += 1
            action()

    def _segment(self, visitor: Visitor, chance: random.Random) -> None:
        visitor.segment(*photograph(chance), own_session=chance.random() < 0.5)

    def _open_and_look(self, visitor: Visitor, chance: random.Random) -> None:
        visitor.open(self.events, *photograph(chance))
        visitor.look(self.events, sharp=True)
        visitor.look(self.events, "binary", "person", False, chance.uniform(0.05, 0.95), sharp=True)


def files_in(folder: Path) -> set[Path]:
    # The page deletes folders meanwhile. os.walk skips a folder that has gone; rglob raises.
    return {Path(parent, name) for parent, _, names in os.walk(folder) for name in names}


def holding_photographs(process: int) -> list[int]:
    """Return which of the page's processes have a full memory page of the photographs' bytes.

    The system hands memory out, and gets it back, by such pages: less of them may lie beside something else.
    """
    middle = len(MARK) // 2
    wanted = {"photograph": MARK[middle : middle + 4096]}
    return [each for each in with_children(process) if in_memory(each, wanted)]


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
        soak = Soak(page, arguments.seed)
        for _ in range(ROUNDS):
            soak.round(arguments.visitors, arguments.requests // ROUNDS)
        soak.look_once_more()
        kept, held = files_in(uploads) - own, holding_photographs(page.process.pid)
        time.sleep(GONE_AFTER)
        left, still_held = files_in(uploads) - own, holding_photographs(page.process.pid)
        log = page.log()
    minutes = (time.perf_counter() - started) / 60
    first, last = soak.memory[0], soak.memory[-1]
    print(f"{soak.asked.total()} requests in {minutes:.0f} minutes, the page stopped {soak.stops} times\n{machine()}\n")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(soak.asked.items())))
    print(f"stuck visits: {len(soak.stuck)}; the longest wait: {soak.longest:.0f} s")
    print(f"sent again over a new connection: {soak.sent_again}")
    print(f"resident: {first:.0f} MB after the first fifth, {last:.0f} MB after the last, {last / first - 1:+.1%}")
    print(f"uploads: {len(kept)} files in the end, {len(left)} once their time was over")
    print(f"processes with photographs in memory: {len(held)} in the end, {len(still_held)} once their time was over")
    problems = Counter(soak.stuck + soak.unexpected)
    if "Traceback" in log:
        problems["a traceback in the log: " + log[log.index("Traceback") :][:2000]] += 1
    if not held:
        problems["photographs could not be found in memory while they were there"] += 1
    for problem, count in problems.most_common(10):
        print(f"{count} x {problem}", file=sys.stderr)
    return 1 if problems or left or still_held or last > first * (1 + MOST_GROWTH) else 0


if __name__ == "__main__":
    sys.exit(main())
