"""Measures how long a visitor's `/segment` takes without and during attacks on the page. Prints one row per attack.

    python -m benchmarks.attacks [--attack NAME] [--repeats 5]

Starts the page on loopback. For each attack, the visitor sends requests first without and then during the attack,
which is repeated as long as necessary. Exit status 1 if the slowest answer during an attack took more than 3 s longer
than the slowest one without, or if the visitor got no answer.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import httpx

from benchmarks.speed import machine
from segcore.models import catalogue
from tests.helpers.hostile_pictures import COSTLY, encoded, slow_picture
from tests.helpers.page_client import API, TASK, Refused, Visitor
from tests.helpers.page_server import running_page

PHOTOGRAPH = next(iter(sorted((Path(__file__).parents[1] / "examples" / "samples").glob("*.jpg")))).read_bytes()
MOST_MORE = 3.0  # seconds
ATTACKERS = 2  # at a time
LEAD = 1.0  # seconds for which an attack goes on before the visitor asks

slow = cache(slow_picture)


def slow_pictures(attacker: Visitor) -> None:
    """Upload an image within all limits that takes seconds to decode."""
    attacker.segment("slow.jpg", slow())


def costly_structures(attacker: Visitor) -> None:
    """Upload files with thousands of scans, endless comments, or strips that are read again and again."""
    for make in COSTLY.values():
        with suppress(Refused):
            attacker.segment("costly.png", make())


def previews(attacker: Visitor) -> None:
    """Request twenty previews of one huge image, and disconnect at once."""
    path = attacker.upload("huge.png", huge())["path"]
    for _ in range(20):
        with suppress(httpx.TimeoutException):
            attacker.http.get(f"{API}/file={path}", headers={"Accept": "image/avif,image/webp"}, timeout=0.2)


@cache
def huge() -> bytes:
    return encoded(10_000, 10_000, "PNG")


def unread_answers(attacker: Visitor) -> None:
    """Request a result 100 times in one session, and read no answer."""
    events = attacker.events()
    attacker.open(events, "photo.jpg", PHOTOGRAPH)
    for _ in range(100):
        attacker.join(events["on_look"], [None, *TASK, True, ""])


def long_names(attacker: Visitor) -> None:
    """Use session names of one megabyte."""
    for _ in range(20):
        body = {"data": [], "fn_index": 0, "session_hash": uuid.uuid4().hex + "x" * 2**20}
        attacker.http.post(f"{API}/queue/join", json=body)


def made_up_sessions(attacker: Visitor) -> None:
    """Start 305 sessions, half of them only by a heartbeat."""
    for number in range(305):
        session = uuid.uuid4().hex
        if number % 2:
            with attacker.http.stream("GET", f"{API}/heartbeat/{session}"):
                pass
        else:
            attacker.http.post(f"{API}/run/on_clock", json={"data": [], "session_hash": session})


def unwatched_evaluations(attacker: Visitor) -> None:
    """Start ten scorings of the samples without listening to the answers."""
    events = attacker.events()
    for number in range(10):
        score(attacker, events, 3 + number)


def too_many_images(attacker: Visitor) -> None:
    """Start the scoring of a set with a number above the slider's maximum."""
    events = attacker.events()
    score(attacker, events, 10**6)
    with attacker.stream():
        time.sleep(1)


def score(attacker: Visitor, events: dict[str, dict], images: int) -> None:
    attacker.session, attacker.begun = uuid.uuid4().hex, False
    attacker.begin()
    asked = {"data": [None], "fn_index": events["on_asked"]["id"], "session_hash": attacker.session}
    attacker.http.post(f"{API}/run/predict", json=asked)
    wanted = [None, "samples", images, *TASK, "original", "auto", "squeeze", "none", False, None]
    attacker.join(events["on_start"], wanted)


def cut_streams(attacker: Visitor) -> None:
    """Upload a photograph, and close the stream of its answers at once."""
    events = attacker.events()
    file = attacker.upload("photo.jpg", PHOTOGRAPH)
    for _ in range(20):
        attacker.join(events["on_upload"], [file, None, "auto", "squeeze", False])
        with attacker.stream():
            pass


def full_log(attacker: Visitor) -> None:
    """Send input for which a decoder, or Gradio, would log thousands of lines."""
    whole = encoded(400, 4000, "TIFF", compression="tiff_lzw")
    broken = bytearray(whole)
    broken[8 : len(whole) // 2 : 7] = b"\xff" * len(range(8, len(whole) // 2, 7))
    with suppress(Refused):
        attacker.segment("broken.tif", bytes(broken))
    event = attacker.events()["on_sample"]
    for told in ({"index": 10**6}, {"index": "x"}, "x", [7]):
        with suppress(Refused):
            attacker.trigger(event, [None, "auto", "squeeze", False], told=told)


ATTACKS: dict[str, Callable[[Visitor], None]] = {
    each.__name__.replace("_", " "): each
    for each in (
        *(too_many_images, slow_pictures, costly_structures, previews, unread_answers, long_names, made_up_sessions),
        *(unwatched_evaluations, cut_streams, full_log),
    )
}


@contextmanager
def under_attack(url: str, attack: Callable[[Visitor], None]) -> Iterator[None]:
    """Run attackers until the block ends, and wait until their last requests are over."""
    over = threading.Event()

    def attack_on() -> None:
        while not over.is_set():
            attacker = Visitor(url)
            # An attack that is refused or disconnected has failed. Start the next one.
            with suppress(Refused, httpx.HTTPError):
                attack(attacker)
            attacker.close()

    with ThreadPoolExecutor(ATTACKERS) as pool:
        attacking = [pool.submit(attack_on) for _ in range(ATTACKERS)]
        try:
            time.sleep(LEAD)
            yield
        finally:
            over.set()
        for each in attacking:
            each.result()


def seconds(url: str, repeats: int) -> list[float]:
    """Yield the seconds of the visitor's requests. Each one has its own session with an open page."""
    taken = []
    for _ in range(repeats):
        visitor = Visitor(url)
        with visitor.heartbeat():
            started = time.perf_counter()
            visitor.segment("photo.jpg", PHOTOGRAPH)
            taken.append(time.perf_counter() - started)
        visitor.close()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", choices=ATTACKS, help="only this one")
    parser.add_argument("--repeats", type=int, default=5, help="requests of the visitor (default: %(default)s)")
    asked = parser.parse_args()
    slow(), huge()  # made now, not while the visitor waits
    with running_page("--model", catalogue.SHIPPED) as page:
        seconds(page.url, 1)  # loads the model
        print(f"the slowest of {asked.repeats} requests, {ATTACKERS} attackers at a time\n{machine()}\n")
        print("| attack | alone, s | beside it, s | more |\n| --- | ---: | ---: | ---: |", flush=True)
        exceeded = []
        for name in [asked.attack] if asked.attack else ATTACKS:
            alone = max(seconds(page.url, asked.repeats))
            try:
                with under_attack(page.url, ATTACKS[name]):
                    beside = max(seconds(page.url, asked.repeats))
            except (Refused, httpx.HTTPError) as error:
                print(f"| {name} | {alone:.2f} | none: {error} | |", flush=True)
                exceeded.append(name)
                continue
            print(f"| {name} | {alone:.2f} | {beside:.2f} | {beside - alone:+.2f} |", flush=True)
            if beside - alone > MOST_MORE:
                exceeded.append(name)
    if exceeded:
        print(f"more than {MOST_MORE:g} s: {', '.join(exceeded)}", file=sys.stderr)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
