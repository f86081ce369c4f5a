"""Simulates many visitors: checks that all get their own results, and measures light controls and the page's overhead.

    python -m benchmarks.visitors [--visitors 50] [--requests 10] [--lookers 4] [--model NAME]
    python -m benchmarks.visitors --batches

Starts the page on loopback. Half of the visitors upload on the page and request the result, the others call
`/segment`. The photographs are different crops of the samples. All answers are compared with those of the library.
Meanwhile "lookers" move a threshold on the page. Before and after, the network alone runs in this process over tensors
of the same photographs, as the page runs it and as torchvision's plain `model(x)`.
Processor seconds include all threads. A model whose weights are not on disk runs with random weights, which take the
same time.

--batches: measures a network with one image at a time, with batches, and two networks in parallel.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.speed import PLAIN, machine
from segcore.categories import VOC
from segcore.imaging.reading import fit_within
from segcore.inference import memory
from segcore.inference.export import decide
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import catalogue, checkpoint, loading
from tests.helpers.page_client import Visitor
from tests.helpers.page_server import running_page

SAMPLES = Path(__file__).parents[1] / "examples" / "samples"
SCREEN_SIDE = 1600
SIZES = (160, 320, 480, 640, 800)


def crops(visitors: int, requests: int) -> dict[tuple[int, int], bytes]:
    """Return a different JPEG for each visitor and request: parts of samples at different sizes."""
    photographs = [Image.open(path).convert("RGB") for path in sorted(SAMPLES.glob("*.jpg"))]
    made = {}
    for visitor in range(visitors):
        random = np.random.default_rng(visitor)
        for request in range(requests):
            photograph = photographs[random.integers(len(photographs))]
            share = random.uniform(0.5, 1)
            width, height = int(photograph.width * share), int(photograph.height * share)
            left = int(random.integers(photograph.width - width + 1))
            top = int(random.integers(photograph.height - height + 1))
            crop = photograph.crop((left, top, left + width, top + height))
            longest = SIZES[random.integers(len(SIZES))] + int(random.integers(50))
            crop = crop.resize([max(1, round(side * longest / max(crop.size))) for side in crop.size])
            buffer = io.BytesIO()
            crop.save(buffer, "JPEG", quality=90)
            made[visitor, request] = buffer.getvalue()
    return made


@torch.inference_mode()
def network_alone(run: Callable[[torch.Tensor], Any], tensors: list[torch.Tensor]) -> tuple[float, float]:
    """Return the wall and processor seconds per image, one after the other."""
    run(tensors[0])
    wall, processor = time.perf_counter(), time.process_time()
    for tensor in tensors:
        run(tensor)
    return (time.perf_counter() - wall) / len(tensors), (time.process_time() - processor) / len(tensors)


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Crowd:
    """The requests and answers of the visitors. `wrong` names the answers that differ from the library's."""

    def __init__(self, url: str, segmenter: Segmenter, photographs: dict[tuple[int, int], bytes]) -> None:
        self.url, self.segmenter, self.photographs = url, segmenter, photographs
        self.answers: dict[tuple[int, int], object] = {}
        self.failed: list[str] = []
        self.said: list[str] = []
        self.looks: list[float] = []
        self.over = threading.Event()
        first = Visitor(url)
        self.events = first.events()
        first.close()

    def wait_until_ready(self, content: bytes) -> None:
        """Wait until the page has loaded its model and answered once."""
        first = Visitor(self.url)
        first.segment("first.jpg", content)
        first.close()

    def visit(self, number: int, requests: int) -> None:
        visitor = Visitor(self.url)
        for request in range(requests):
            name, content = f"{number}-{request}.jpg", self.photographs[number, request]
            try:
                if number % 2:
                    self.answers[number, request] = visitor.segment(name, content)
                else:
                    visitor.open(self.events, name, content)
                    self.answers[number, request] = visitor.look(self.events, sharp=True)
            except Exception as error:
                self.failed.append(f"{name}: {error!r}")
        self.said += visitor.said
        visitor.close()

    def look(self, content: bytes) -> None:
        visitor, threshold = Visitor(self.url), 0.3
        visitor.open(self.events, "looker.jpg", content)
        while not self.over.wait(0.3):
            threshold = 1 - threshold
            started = time.perf_counter()
            visitor.look(self.events, "binary", "any", False, threshold, sharp=True)
            self.looks.append(time.perf_counter() - started)
        visitor.close()

    def wrong(self) -> list[tuple[int, int]]:
        """Compare the answers afterwards, so that the comparison does not slow the page.

        The page runs the network with all threads or a share of them, and rounding in float32 depends on their number.
        """
        left = list(self.answers)
        for threads in (torch.get_num_threads(), 1):
            torch.set_num_threads(threads)
            left = [key for key in left if not self._is_right(key)]
        return left

    def _is_right(self, key: tuple[int, int]) -> bool:
        answer = self.answers[key]
        photograph = np.asarray(Image.open(io.BytesIO(self.photographs[key])))
        result = self.segmenter(photograph)
        if isinstance(answer, np.ndarray):
            screen = fit_within(photograph, SCREEN_SIDE)
            return np.array_equal(answer, result.refined(screen).labels_at(screen.shape[:2]))
        overlay, record = answer
        decided = decide(result, Task())
        expected = decided.record(record["file"])
        same = all(record[each] == expected[each] for each in ("width", "height", "classes"))
        return same and np.array_equal(
            np.asarray(Image.open(io.BytesIO(overlay))), np.asarray(decided.overlay(photograph))
        )


def with_random_weights(model: str, folder: Path) -> str:
    """Write a checkpoint with random weights, for a model whose weights are not on disk."""
    torch.manual_seed(0)
    before = loading.preprocess_for(model, "squeeze")
    header = checkpoint.Header(model, VOC, before.size, before.mean, before.std, {"weights": "random"})
    file = folder / f"{model}, random weights{catalogue.TRAINED_SUFFIX}"
    checkpoint.write(file, header, loading.build_network(model, auxiliary=False).state_dict())
    return str(file)


def measure(model: str, visitors: int, requests: int, lookers: int) -> bool:
    memory.keep_pages()  # as the page and the command line do
    segmenter = Segmenter(model)
    photographs = crops(visitors, requests)
    some = list(photographs.values())[:24]
    tensors = [segmenter.preprocess(np.asarray(Image.open(io.BytesIO(each)))) for each in some]
    ways = {"as the page runs it": segmenter.predict_logits, PLAIN: loading.load(segmenter.model)}
    alone = {way: [network_alone(run, tensors)] for way, run in ways.items()}
    with running_page("--model", model) as page:
        crowd = Crowd(page.url, segmenter, photographs)
        crowd.wait_until_ready(some[0])
        looking = [threading.Thread(target=crowd.look, args=(some[0],)) for _ in range(lookers)]
        for each in looking:
            each.start()
        wall, processor = time.perf_counter(), processor_seconds(page.process.pid)
        with ThreadPoolExecutor(visitors) as pool:
            list(pool.map(lambda number: crowd.visit(number, requests), range(visitors)))
        wall, processor = time.perf_counter() - wall, processor_seconds(page.process.pid) - processor
        crowd.over.set()
        for each in looking:
            each.join()
        log = page.log()
    for way, run in reversed(ways.items()):
        alone[way].append(network_alone(run, tensors))
    asked = visitors * requests

    print(f"{visitors} visitors, {requests} requests each, {lookers} lookers, {Path(model).stem}\n{machine()}\n")
    print(f"told how long it takes: {len(crowd.said)} times, as {max(crowd.said, key=len, default='never')}")
    if crowd.looks:
        p50, p95 = np.percentile(crowd.looks, [50, 95])
        print(f"light controls: {len(crowd.looks)}, median {p50:.3f} s, 95th percentile {p95:.3f} s")
    print("\n| an image | wall, s | processor, s |\n| --- | ---: | ---: |")
    throughput = {}
    for way, times in alone.items():
        network_wall, network_processor = (statistics.mean(column) for column in zip(*times, strict=True))
        throughput[way] = network_wall * asked / wall
        print(f"| network alone, {way} | {network_wall:.4f} | {network_processor:.4f} |")
    print(f"| the page, lookers included | {wall / asked:.4f} | {processor / asked:.4f} |\n")
    for way, share in throughput.items():
        print(f"throughput: {share:.2f} of the network's own, {way}", flush=True)
    wrong = crowd.wrong()
    print(f"answered {len(crowd.answers)} of {asked}, {len(wrong)} of them wrong, {len(crowd.failed)} failed")
    for line in (*crowd.failed[:10], *(["there is a traceback in the log"] if "Traceback" in log else [])):
        print(line, file=sys.stderr)
    return not (wrong or crowd.failed or "Traceback" in log)


def batches(repeats: int = 5, images: int = 8) -> None:
    """Measure the seconds per image of the shipped network on this processor, in alternating runs."""
    network = Segmenter(catalogue.SHIPPED).predict_logits
    tensors = [torch.randn(1, 3, 520, 520) for _ in range(images)]
    cores = torch.get_num_threads()

    def one_by_one(threads: int, size: int) -> None:
        torch.set_num_threads(threads)
        for start in range(0, images, size):
            network(torch.cat(tensors[start : start + size]))

    def on_one_thread(tensor: torch.Tensor) -> None:
        torch.set_num_threads(1)
        network(tensor)

    def side_by_side() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(on_one_thread, tensors))

    ways = {f"batch {size}, {cores} threads": lambda size=size: one_by_one(cores, size) for size in (1, 2, 4, 8)}
    ways[f"batch 1, {cores} of them side by side, a thread each"] = side_by_side
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            way()
            taken[name].append(((time.perf_counter() - wall) / images, (time.process_time() - processor) / images))
    print(f"{catalogue.SHIPPED}, 520 x 520, median of {repeats}\n{machine()}\n")
    print("| an image | wall, s | processor, s |\n| --- | ---: | ---: |")
    for name, times in taken.items():
        wall, processor = (statistics.median(column) for column in zip(*times[1:], strict=True))
        print(f"| {name} | {wall:.4f} | {processor:.4f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--requests", type=int, default=10, help="of each, one after the other (default: %(default)s)")
    parser.add_argument("--lookers", type=int, default=4, help="who only move a threshold (default: %(default)s)")
    parser.add_argument("--model", default=catalogue.SHIPPED, help="default: %(default)s")
    parser.add_argument("--batches", action="store_true", help="measure batches of the network instead")
    arguments = parser.parse_args()
    if arguments.batches:
        batches()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if not catalogue.on_disk(model):
            model = with_random_weights(model, Path(folder))
        return 0 if measure(model, arguments.visitors, arguments.requests, arguments.lookers) else 1


if __name__ == "__main__":
    sys.exit(main())
