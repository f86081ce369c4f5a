"""Measures the gain of test-time augmentation, as paired differences with 95 % intervals, and its cost.

    python -m benchmarks.tta --coco DIR [--split val2017] [--model NAME] [--engine auto] [--limit N]

The same images, protocol original, float32, first without, then with test-time augmentation. The seconds are those
of the whole evaluations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.speed import machine
from segcore.evaluation import compare, evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import catalogue
from segcore.report import headlines
from segcore.truth.coco import CocoDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split")
    parser.add_argument("--model", default=catalogue.AUTO)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    dataset = CocoDataset.open(arguments.coco, arguments.split)
    images = evaluate.choose_images(dataset, limit=arguments.limit)
    outcomes = []
    for tta in (False, True):
        segmenter = Segmenter(arguments.model, precision="float32", engine=arguments.engine, tta=tta)
        run = evaluate.Run(segmenter, dataset, protocol("original"), Task(), images)
        outcomes.append(evaluate.evaluate(run))
    seconds = " and ".join(f"{each.seconds / len(images):.3f} s" for each in outcomes)
    print(f"{machine()}\n\n{headlines.of_comparison(compare.compare(*outcomes))}\n\nan image took {seconds}")


if __name__ == "__main__":
    main()
