"""Measures the seconds from the command to the page and its first overlay, and from a click to its answer.

    python -m benchmarks.page [--starts 5] [--repeats 20] [--openings 10]

Starts the page in another process, with the shipped model and without a network, and uses it over loopback like a
browser, with one visitor. The photographs are made from a sample of examples/: two enlarged to 4000 x 3000 and
8000 x 6000 with a camera's grain, one reduced to 640 x 480, as JPEG of quality 90. The metadata differ each time, so
that nothing is cached. The photographs alternate. A *later start* finds the samples' results of an earlier one.
Medians over the repeats.

The time of an *answer* begins when an event's request is sent and ends when all its outputs have arrived. For a
photograph there are two events: opening and showing it. The time includes the server's work and a few milliseconds of
loopback. With *upload* it begins when the file is sent. The browser's work is not included. *Of it, the network* is the
time that the page reports, which shows how busy the machine is.

An *opening* is measured in Chromium, where it is installed, on a page that has been opened before: from the arrival of
the page's HTML in a new context until its first overlay is drawn, and the bytes that were transferred until then.
"""

from __future__ import annotations

import argparse
import io
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from contextlib import closing
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.speed import machine
from segcore.models import catalogue
from tests.helpers.browser import CHROMIUM, PHOTOGRAPH, drawn, launch
from tests.helpers.page_client import Visitor
from tests.helpers.page_server import ROOT, running_page

SAMPLE = ROOT / "examples" / "samples" / "000000423617.jpg"
SIZES = {"12 megapixels": (4000, 3000), "48 megapixels": (8000, 6000), "640 x 480": (640, 480)}
GRAIN = 6  # levels, standard deviation
PAGE = 0  # what the page itself is called among its components
UPLOAD, WAITING, VIEWER, PROVENANCE = (f"photograph-{each}" for each in ("upload", "waiting", "viewer", "provenance"))


def photograph(size: tuple[int, int]) -> Image.Image:
    """Resize the sample to (width, height). An enlarged one gets grain in place of the missing detail."""
    with Image.open(SAMPLE) as sample:
        picture = sample.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        if size[0] <= sample.width:
            return picture
    grain = np.random.default_rng(0).normal(0, GRAIN, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def jpeg_bytes(picture: Image.Image) -> bytes:
    """Return a JPEG of quality 90 that the page has not cached."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, comment=uuid.uuid4().bytes)
    return buffer.getvalue()


class Visit:
    """One session on the page: the values of its controls, and the requests of a browser when they change."""

    def __init__(self, url: str) -> None:
        self._visitor = Visitor(url)
        config = self._visitor.config()
        self._components = {each["id"]: each for each in config["components"]}
        self._ids = {each["props"].get("elem_id"): each["id"] for each in config["components"]}
        self._events = config["dependencies"]
        self.values = {number: each["props"].get("value") for number, each in self._components.items()}

    def labelled(self, label: str) -> int:
        """The first component of that label: the photograph tab is the first of the page."""
        marked = f'"{label}"'  # for Gradio's translation in browsers
        labels = {number: str(each["props"].get("label")) for number, each in self._components.items()}
        return next(number for number, own in labels.items() if own == label or marked in own)

    def upload(self, jpeg: bytes) -> None:
        """Upload a file as the photograph, as dropping it on the page does."""
        self.values[self._ids[UPLOAD]] = self._visitor.upload(f"{uuid.uuid4().hex}.jpg", jpeg)

    def open(self, component: int | str, event: str) -> dict[str, Any]:
        """Trigger a component's event that opens an image, and then the LOOK event. Returns its outputs by elem_id."""
        self._answer(component, event, changes=WAITING)
        return self.look()

    def look(self) -> dict[str, Any]:
        """Trigger the tab's LOOK event, which shows the kept result with the current controls."""
        return self._answer(self.labelled("Mode"), "change", changes=VIEWER)

    def _answer(self, component: int | str, event: str, *, changes: str) -> dict[str, Any]:
        number = self._ids[component] if isinstance(component, str) else component
        chosen = next(
            each
            for each in self._events
            if [number, event] in each["targets"] and self._ids[changes] in each["outputs"]
        )
        outputs = self._visitor.trigger(chosen, [self.values[each] for each in chosen["inputs"]])
        names = (self._components[each]["props"].get("elem_id") for each in chosen["outputs"])
        return dict(zip(names, outputs, strict=True))


def network_seconds(answer: dict[str, Any]) -> float:
    """Return the network's time that the page reports for the shown result."""
    return float(re.search(r"network ([\d.]+) s", answer[PROVENANCE])[1])


def measure_starts(starts: int) -> dict[str, list[float]]:
    """Return the seconds by title: of `import gradio`, and from the page's command to its first answers."""
    taken = defaultdict(list)
    for _ in range(starts):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import gradio"], check=True, cwd=ROOT)
        taken["`import gradio` alone"].append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as cache:
            for which in ("the first overlay is there", "the first overlay is there, in a later start"):
                began = time.perf_counter()
                with running_page("--model", catalogue.SHIPPED, env={"XDG_CACHE_HOME": cache}) as page:
                    taken["the page answers"].append(time.perf_counter() - began)
                    Visit(page.url).open(PAGE, "load")
                    taken[which].append(time.perf_counter() - began)
    return taken


def measure_answers(url: str, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Return the seconds by (photograph, title) on a page that has answered before."""
    pictures = {name: photograph(size) for name, size in SIZES.items()}
    taken = defaultdict(list)
    for number in range(repeats + 1):
        for name, picture in pictures.items():
            visit, jpeg = Visit(url), jpeg_bytes(picture)
            mode, class_name, automatic, threshold, sharp = map(
                visit.labelled, ("Mode", "Class", "Automatic threshold", "Threshold", "Sharp edges")
            )
            began = time.perf_counter()
            visit.upload(jpeg)
            uploaded = time.perf_counter()
            answer = visit.open(UPLOAD, "change")
            ended = time.perf_counter()
            times = {
                "drop to overlay": ended - uploaded,
                "of it, the network": network_seconds(answer),
                "with upload": ended - began,
            }
            for title, component, value in (
                ("mode: binary", mode, "binary"),
                ("class: person", class_name, "person"),
                ("threshold, not automatic", automatic, False),
                ("threshold: 0.3", threshold, 0.3),
                ("class: dog, with that threshold", class_name, "dog"),
                ("mode: multiclass", mode, "multiclass"),
                ("sharp edges: off", sharp, False),
                ("sharp edges: on", sharp, True),
            ):
                visit.values[component] = value
                began = time.perf_counter()
                visit.look()
                times[title] = time.perf_counter() - began
            if number:  # the first round warms up
                for title, seconds in times.items():
                    taken[title, name].append(seconds)
    return taken


def measure_openings(url: str, openings: int) -> tuple[list[float], list[float]]:
    """Return the seconds from the page's HTML to its first overlay in Chromium, and the kilobytes, of each opening."""
    seconds, kilobytes = [], []
    with sync_playwright() as playwright, closing(launch(playwright)) as browser:
        for number in range(openings + 1):
            with closing(browser.new_context()) as context:
                page = context.new_page()
                page.goto(url)
                drawn(page, PHOTOGRAPH)
                taken = page.evaluate(
                    """() => {
                        const [html] = performance.getEntriesByType("navigation");
                        const sizes = [html, ...performance.getEntriesByType("resource")].map((it) => it.transferSize);
                        return [performance.now() - html.responseEnd, sizes.reduce((sum, size) => sum + size)];
                    }"""
                )
            if number:  # the first one warms up
                seconds.append(taken[0] / 1000)
                kilobytes.append(taken[1] / 1000)
    return seconds, kilobytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="of the page, counted (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="of each click, counted (default: %(default)s)")
    parser.add_argument("--openings", type=int, default=10, help="in Chromium, counted (default: %(default)s)")
    arguments = parser.parse_args()
    if min(arguments.starts, arguments.repeats, arguments.openings) < 1:
        parser.error("--starts, --repeats and --openings are at least 1")

    starts = {title: statistics.median(each) for title, each in measure_starts(arguments.starts).items()}
    with running_page("--model", catalogue.SHIPPED) as page:
        Visit(page.url).open(PAGE, "load")
        openings = measure_openings(page.url, arguments.openings) if CHROMIUM else None
        taken = measure_answers(page.url, arguments.repeats)

    print(f"{catalogue.SHIPPED}, one visitor, {SAMPLE.name}\n{machine()}\n")
    print(f"| start, median of {arguments.starts} | s |\n| --- | ---: |")
    for title, seconds in starts.items():
        print(f"| {title} | {seconds:.2f} |")
    if openings:
        seconds, kilobytes = map(statistics.median, openings)
        print(f"\n| opening in Chromium, median of {arguments.openings} | |\n| --- | ---: |")
        print(f"| from the HTML to the first overlay, s | {seconds:.2f} |\n| transferred, KB | {kilobytes:.0f} |")
    print(f"\n| answer, median of {arguments.repeats}, s | " + " | ".join(SIZES) + " |")
    print("| --- |" + " ---: |" * len(SIZES))
    for title in dict.fromkeys(title for title, _ in taken):
        print(f"| {title} | " + " | ".join(f"{statistics.median(taken[title, name]):.3f}" for name in SIZES) + " |")


if __name__ == "__main__":
    main()
