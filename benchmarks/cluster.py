"""Compares an evaluation in this process with the same one on a Ray cluster of this machine.

    python -m benchmarks.cluster --coco DIR [--split val2017] [--model NAME] [--limit N] [--repeats 3]

It alternates between this process with all threads, one worker with as many threads, and one worker per processor with
one thread each. Each cluster is started for its turn. The time until all workers have loaded their model is a separate
column, and is not part of the time of the images. Medians, in float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.speed import machine
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.evaluation.ray_cluster import Cluster
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import catalogue
from segcore.truth.coco import CocoDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split")
    parser.add_argument("--model", default=catalogue.SHIPPED, help="one whose weights are on disk")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    dataset = CocoDataset.open(arguments.coco, arguments.split)
    images = evaluate.choose_images(dataset, limit=arguments.limit)
    here = Segmenter(arguments.model, device="cpu", precision="float32")
    run = evaluate.Run(here, dataset, protocol("original"), Task(), images)
    evaluate.evaluate(replace(run, images=images[:4]))  # warms up

    threads = torch.get_num_threads()
    titles = {"this process": 0, f"1 worker of {threads} threads": 1, f"{threads} workers of 1 thread": threads}
    starts: dict[str, list[float]] = {title: [] for title in titles}
    taken: dict[str, list[float]] = {title: [] for title in titles}
    confusion: dict[str, list] = {}
    for _ in range(arguments.repeats):
        for title, workers in titles.items():
            started = time.perf_counter()
            if not workers:
                starts[title].append(0.0)
                outcome = evaluate.evaluate(run)
            else:
                with Cluster(arguments.model, device="cpu", precision="float32", workers=workers) as cluster:
                    starts[title].append(time.perf_counter() - started)
                    outcome = evaluate.evaluate(replace(run, segmenter=cluster))
            taken[title].append(outcome.seconds / len(images))
            confusion[title] = outcome.to_dict()["confusion"]

    print(f"{arguments.model}, {len(images)} images of {dataset.split}, median of {arguments.repeats}\n{machine()}\n")
    print(
        "| | to start, s | an image, s | of this process | same confusion matrix |\n| --- | ---: | ---: | ---: | --- |"
    )
    alone = statistics.median(taken["this process"])
    for title in titles:
        start, wall = statistics.median(starts[title]), statistics.median(taken[title])
        same = "yes" if confusion[title] == confusion["this process"] else "no"
        print(f"| {title} | {start:.1f} | {wall:.4f} | {wall / alone:.2f} | {same} |")


if __name__ == "__main__":
    main()
