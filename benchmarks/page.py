"""Seconds from the command to the page and its first overlay, and from a click on the page to its answer.

    python -m benchmarks.page [--starts 5] [--repeats 20]

Starts the page in a process of its own, with the shipped model and no network, and uses it over loopback as a browser
does, one visitor at a time. The photographs are a sample of examples/, one enlarged to 4000 x 3000 with a camera's
grain, one reduced to 640 x 480, JPEG of quality 90, each time with other metadata so that nothing of it is known yet.
Medians over the repeats, the two photographs by turns.

An *answer* is timed from the sending of the event's request until all of its outputs have come: what the server does
between the two, and a few milliseconds of loopback. With *upload* it begins where the file is sent. What a browser then
does with it is not in it. *Of it, the network* is what the page itself says: the yardstick for how busy the machine is.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.speed import machine
from segcore import catalogue
from tests.page_server import ROOT, running_page

SAMPLE = ROOT / "examples" / "samples" / "000000900007.jpg"
SIZES = {"12 megapixels": (4000, 3000), "640 x 480": (640, 480)}
GRAIN = 6  # levels, standard deviation
PAGE = 0  # what the page itself is called among its components
UPLOAD, VIEWER, MADE_BY = "photograph-upload", "photograph-viewer", "photograph-made-by"


def photograph(size: tuple[int, int]) -> Image.Image:
    """The sample at another (width, height); where it is enlarged, with grain for the detail that it lacks."""
    with Image.open(SAMPLE) as sample:
        picture = sample.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        if size[0] <= sample.width:
            return picture
    grain = np.random.default_rng(0).normal(0, GRAIN, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def jpeg_bytes(picture: Image.Image) -> bytes:
    """A JPEG of quality 90 that the page has never seen."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, comment=uuid.uuid4().bytes)
    return buffer.getvalue()


class Visitor:
    """One visit to the page, asking over HTTP what a browser would."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/gradio_api", timeout=60, trust_env=False)
        self._session = uuid.uuid4().hex
        config = self._http.get(f"{url}/config").json()
        self._components = {each["id"]: each for each in config["components"]}
        self._ids = {each["props"].get("elem_id"): each["id"] for each in config["components"]}
        self._events = config["dependencies"]
        self.values = {number: each["props"].get("value") for number, each in self._components.items()}

    def labelled(self, label: str) -> int:
        """The first component of that label: the photograph tab is the first of the page."""
        return next(number for number, each in self._components.items() if each["props"].get("label") == label)

    def upload(self, jpeg: bytes) -> None:
        """Send a file and put it into the photograph's place, as dropping it there does."""
        files = {"files": (f"{uuid.uuid4().hex}.jpg", jpeg, "image/jpeg")}
        path = self._http.post("/upload", files=files).raise_for_status().json()[0]
        self.values[self._ids[UPLOAD]] = {"path": path, "meta": {"_type": "gradio.FileData"}}

    def ask(self, component: int | str, event: str) -> dict[str, Any]:
        """Trigger a component's event that changes the picture; its outputs by elem_id."""
        number = self._ids[component] if isinstance(component, str) else component
        chosen = next(
            each for each in self._events if [number, event] in each["targets"] and self._ids[VIEWER] in each["outputs"]
        )
        data = [self.values[each] for each in chosen["inputs"]]
        body = {"data": data, "fn_index": chosen["id"], "session_hash": self._session, "trigger_id": number}
        self._http.post("/queue/join", json=body).raise_for_status()
        for message in self._messages():
            if message["msg"] == "process_completed":
                if not message["success"]:
                    raise RuntimeError(f"the page answered with an error: {message['output']}")
                names = (self._components[each]["props"].get("elem_id") for each in chosen["outputs"])
                return dict(zip(names, message["output"]["data"], strict=True))
        raise RuntimeError("the page ended its answer early")

    def _messages(self) -> Iterator[dict[str, Any]]:
        with self._http.stream("GET", "/queue/data", params={"session_hash": self._session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))


def network_seconds(answer: dict[str, Any]) -> float:
    """The network's own time, as the page says it of what it shows."""
    return float(re.search(r"network ([\d.]+) s", answer[MADE_BY])[1])


def measure_starts(starts: int) -> dict[str, list[float]]:
    """Seconds by title: `import gradio` alone, and by turns with it from the page's command to its first answers."""
    taken = defaultdict(list)
    for _ in range(starts):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import gradio"], check=True, cwd=ROOT)
        taken["`import gradio` alone"].append(time.perf_counter() - began)
        began = time.perf_counter()
        with running_page("--model", catalogue.SHIPPED) as page:
            taken["the page answers"].append(time.perf_counter() - began)
            Visitor(page.url).ask(PAGE, "load")
            taken["the first overlay is there"].append(time.perf_counter() - began)
    return taken


def measure_answers(url: str, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Seconds by (photograph, title), from a page that has answered once."""
    pictures = {name: photograph(size) for name, size in SIZES.items()}
    taken = defaultdict(list)
    for number in range(repeats + 1):
        for name, picture in pictures.items():
            visitor, jpeg = Visitor(url), jpeg_bytes(picture)
            mode, class_name, automatic, threshold = map(
                visitor.labelled, ("Mode", "Class", "Automatic threshold", "Threshold")
            )
            began = time.perf_counter()
            visitor.upload(jpeg)
            uploaded = time.perf_counter()
            answer = visitor.ask(UPLOAD, "change")
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
                ("mode: multiclass", mode, "multiclass"),
            ):
                visitor.values[component] = value
                began = time.perf_counter()
                visitor.ask(component, "change")
                times[title] = time.perf_counter() - began
            if number:  # the first round warms up
                for title, seconds in times.items():
                    taken[title, name].append(seconds)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="of the page, counted (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="of each click, counted (default: %(default)s)")
    arguments = parser.parse_args()
    if min(arguments.starts, arguments.repeats) < 1:
        parser.error("--starts and --repeats are at least 1")

    starts = {title: statistics.median(each) for title, each in measure_starts(arguments.starts).items()}
    with running_page("--model", catalogue.SHIPPED) as page:
        Visitor(page.url).ask(PAGE, "load")
        taken = measure_answers(page.url, arguments.repeats)

    print(f"{catalogue.SHIPPED}, one visitor, {SAMPLE.name}\n{machine()}\n")
    print(f"| start, median of {arguments.starts} | s |\n| --- | ---: |")
    for title, seconds in starts.items():
        print(f"| {title} | {seconds:.2f} |")
    print(f"\n| answer, median of {arguments.repeats}, s | " + " | ".join(SIZES) + " |")
    print("| --- |" + " ---: |" * len(SIZES))
    for title in dict.fromkeys(title for title, _ in taken):
        print(f"| {title} | " + " | ".join(f"{statistics.median(taken[title, name]):.3f}" for name in SIZES) + " |")


if __name__ == "__main__":
    main()
