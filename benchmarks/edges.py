"""Measures the gain of refining edges, as paired differences with 95 % intervals, and its cost.

    python -m benchmarks.edges --dataset DIR [--split val2017] [--model NAME] [--every 1] [--limit N]

The same images, protocol original, float32, plain first and refined second. The milliseconds are of the decision alone,
from logits to a label map of 640 x 480, medians over the first TIMED images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import image_choice
from benchmarks.speed import machine
from segcore.evaluation import compare, evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference.segmentation import Segmentation
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task

SIZE = WIDTH, HEIGHT = 640, 480
TIMED = 30
SHOWN = ("mean_iou", "foreground_mean_iou", "pixel_accuracy", "boundary_iou")


def milliseconds(results: list[Segmentation]) -> tuple[float, ...]:
    """Return the median seconds of computing a label map, plain and refined, in alternating runs."""
    taken: dict[Callable, list[float]] = {lambda result: result.labels: [], lambda result: result.refined().labels: []}
    for result in [results[0], *results]:  # the first one warms up
        for action, seconds in taken.items():
            started = time.perf_counter()
            action(result)
            seconds.append(time.perf_counter() - started)
    return tuple(1000 * statistics.median(seconds[1:]) for seconds in taken.values())


def at_size(path: Path) -> np.ndarray:
    """A photograph of SIZE."""
    with Image.open(path) as photograph:
        return np.asarray(photograph.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC))


def main() -> None:
    model, dataset, images = image_choice.read(__doc__)
    segmenter = Segmenter(model, precision="float32", refine="edges")
    plain = Segmenter(model, precision="float32")

    run = evaluate.Run(plain, dataset, protocol("original"), Task(), images)
    record = compare.compare(evaluate.evaluate(run), evaluate.evaluate(replace(run, segmenter=segmenter)))
    before, after = milliseconds([plain(at_size(dataset.path(image.id))) for image in images[:TIMED]])

    print(f"{plain.model}, {len(images)} images of {dataset.split}\n{machine()}\n")
    print("| | plain | refined | difference | 95 % interval |\n| --- | ---: | ---: | ---: | --- |")
    for key in SHOWN:
        row = record["dataset"][key]
        cells = " | ".join(f"{row[part]:.4f}" for part in ("first", "second"))
        print(f"| {key} | {cells} | {row['difference']:+.4f} | {row['low']:+.4f} to {row['high']:+.4f} |")
    print(f"\na label map of {WIDTH} x {HEIGHT} takes {before:.1f} ms plain and {after:.1f} ms refined")


if __name__ == "__main__":
    main()
