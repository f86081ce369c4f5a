"""Measures the memory of a stream of photographs, and its speed beside photographs one by one and batches of 8.

    python -m benchmarks.streams [--photographs 2000] [--after 200] [--size 520] [--timed 18] [--repeats 3]

The sample photographs are repeated. Memory is the process's resident set after the first `--after` photographs and
after all of them, in float32 with the small model at `--size`. Results are dropped as soon as they come. Speed: medians
of the repeats, in alternating runs over `--timed` photographs. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.speed import machine
from segcore import Model, Preprocess, Segmenter
from segcore.categories import VOC
from segcore.inference.segmenter import SAMPLES
from segcore.models import catalogue, loading


def resident_megabytes() -> float:
    """Return the memory that this process holds now, in millions of bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def repeated(count: int) -> Iterator[Path]:
    """Yield the samples' paths, again and again."""
    return itertools.islice(itertools.cycle(sorted(SAMPLES.glob("*.jpg"))), count)


def memory(segmenter: Segmenter, photographs: int, after: int) -> tuple[float, float]:
    """Return the resident megabytes after `after` photographs of a stream, and after all of them."""
    early = 0.0
    for number, result in enumerate(tqdm(segmenter.stream(repeated(photographs)), total=photographs, disable=None), 1):
        if isinstance(result, Exception):
            raise result
        if number == after:
            early = resident_megabytes()
    return early, resident_megabytes()


def ways(segmenter: Segmenter, timed: int) -> dict[str, Callable[[], object]]:
    """Return the compared ways by title."""
    return {
        "one by one": lambda: [segmenter(path).size_hw for path in repeated(timed)],
        "stream": lambda: [each.size_hw for each in segmenter.stream(repeated(timed))],
        "stream, batches of 8": lambda: [each.size_hw for each in segmenter.stream(repeated(timed), batch_size=8)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=2000, help="of the stream (default: %(default)s)")
    parser.add_argument("--after", type=int, default=200, help="the first ones (default: %(default)s)")
    parser.add_argument("--size", type=int, default=520, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--timed", type=int, default=18, help="photographs of a run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="counted rounds (default: %(default)s)")
    arguments = parser.parse_args()
    if not 1 <= arguments.after < arguments.photographs or min(arguments.timed, arguments.repeats) < 1:
        parser.error("--photographs must be above --after, and all numbers at least 1")
    model = Model(loading.load(catalogue.SHIPPED), VOC, Preprocess(size=arguments.size))
    segmenter = Segmenter(model, device="cpu")
    print(f"{catalogue.SHIPPED}, {arguments.size} x {arguments.size}\n{machine()}\n", flush=True)

    compared = ways(segmenter, arguments.timed)
    taken: dict[str, list[tuple[float, float]]] = {title: [] for title in compared}
    for _ in range(arguments.repeats + 1):
        for title, run in compared.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            taken[title].append((time.perf_counter() - wall, time.process_time() - processor))
    print("| | seconds per photograph | processor seconds per photograph |\n| --- | ---: | ---: |")
    for title, rounds in taken.items():
        medians = (statistics.median(column) / arguments.timed for column in zip(*rounds[1:], strict=True))
        print(f"| {title} | {' | '.join(f'{each:.3f}' for each in medians)} |", flush=True)

    early, late = memory(segmenter, arguments.photographs, arguments.after)
    print(
        f"\nMemory: {early:.0f} MB after {arguments.after:,} photographs, {late:.0f} MB after "
        f"{arguments.photographs:,} ({late / early - 1:+.1%})"
    )


if __name__ == "__main__":
    main()
