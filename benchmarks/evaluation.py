"""Measures the cost of an evaluation beside its network, and its memory for different numbers of images.

    python -m benchmarks.evaluation --coco DIR [--split val2017] [--model NAME] [--limit N] [--repeats 3]

It alternates between the network alone, on images that are decoded and resized in advance, and `evaluate` from the
files to all scores. Models whose weights are not on disk run with random weights, which take the same time. Wall and
processor time (of all threads) are medians over the repeats, after one round that is not counted.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.speed import machine
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference import upsampling
from segcore.inference.predictor import prepare
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.metrics import boundary
from segcore.models import catalogue, loading
from segcore.truth.coco import CocoDataset


def segmenter_of(name: str) -> Segmenter | evaluate.Network:
    if catalogue.on_disk(name):
        return Segmenter(name, device="cpu", precision="float32")
    network = prepare(loading.build_network(name), device="cpu", precision="float32")
    return evaluate.Network(name, "0" * 64, "squeeze", "cpu", "float32", network)


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def peak_megabytes() -> float:
    """Return the peak memory of this process. Linux counts in KB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def measure(run: evaluate.Run, repeats: int) -> dict[str, tuple[float, float]]:
    """Return the median wall and processor seconds per image of the network, the evaluation, and two of its parts."""
    preprocess = loading.preprocess_for(run.segmenter.model, run.resize)
    tensors = [preprocess(run.dataset.read_image(image.id)) for image in run.images]
    samples: list[evaluate.Sample] = []
    evaluate.evaluate(replace(run, images=run.images[:8]), on_image=samples.append)  # warms up, and gives label maps
    logits = [run.segmenter.predict_logits(preprocess(each.photograph))[0] for each in samples]
    parts = {
        "Brier score and reliability, alone": lambda: [
            upsampling.judge_probabilities(values, each.truth, each.prediction)
            for values, each in zip(logits, samples, strict=True)
        ],
        "boundary IoU, alone": lambda: [boundary.boundary_counts(each.truth, each.prediction) for each in samples],
    }
    timed: dict[str, tuple[Callable[[], object], int]] = {
        "the network alone": (lambda: [run.segmenter.predict_logits(each) for each in tensors], len(tensors)),
        "evaluate, files to scores": (lambda: evaluate.evaluate(run), len(tensors)),
    } | {name: (action, len(samples)) for name, action in parts.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
    for _ in range(repeats):
        for name, (action, images) in timed.items():
            taken[name].append(tuple(each / images for each in seconds(action)))
    return {
        name: tuple(statistics.median(column) for column in zip(*times, strict=True)) for name, times in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split")
    parser.add_argument("--model", choices=catalogue.CATALOGUE, default=catalogue.SHIPPED)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    dataset = CocoDataset.open(arguments.coco, arguments.split)
    images = evaluate.choose_images(dataset, limit=arguments.limit)
    run = evaluate.Run(segmenter_of(arguments.model), dataset, protocol("original"), Task(), images)

    evaluate.evaluate(run)
    after_once = peak_megabytes()
    evaluate.evaluate(replace(run, images=images * 3))
    after_more = peak_megabytes()
    medians = measure(run, arguments.repeats)

    print(f"{arguments.model}, {len(images)} images of {dataset.split}, median of {arguments.repeats}\n{machine()}\n")
    print("| an image | wall, s | processor, s | wall, of the network |\n| --- | ---: | ---: | ---: |")
    network = medians["the network alone"][0]
    for name, (wall, processor) in medians.items():
        print(f"| {name} | {wall:.4f} | {processor:.4f} | {wall / network:.2f} |")
    print(f"\nmost memory: {after_once:.0f} MB after the images, {after_more:.0f} MB after three times as many more")


if __name__ == "__main__":
    main()
