"""Prints a Markdown table of the scores of all models on disk, for each protocol, with 95 % intervals.

    python -m benchmarks.quality --coco DIR [--split val2017] [--models A,B] [--limit N] [--resume DIR] [--seen DIR]

--seen names a folder of photographs that a model was trained on. A second table leaves out images that are in this
folder (same bytes, any name). All scores use float32. The intervals are percentile bootstrap intervals over the
images. To compare models, use `python -m segcore compare`, whose intervals are those of the paired differences.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.speed import machine
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import catalogue
from segcore.truth.coco import CocoDataset

WAYS = (("original", "squeeze"), ("original", "aspect"), ("torchvision", "squeeze"), ("report", "squeeze"))
COLUMNS = {
    "pixel_accuracy": "pixel accuracy",
    "mean_iou": "mean IoU",
    "foreground_mean_iou": "mean IoU of objects",
    "boundary_iou": "boundary IoU",
    "brier": "Brier",
}


def row(record: dict) -> str:
    """Return one row of the table: each score with its interval below it, and the objects found."""
    cells = [record["model"], record["protocol"], record["resize"]]
    for key in COLUMNS:
        low, high = record["intervals"]["dataset"][key]
        cells.append(f"{record['dataset'][key]:.3f} ({low:.3f} to {high:.3f})")
    objects = record["objects"]
    return "| " + " | ".join([*cells, f"{objects['found']} of {objects['total']}"]) + " |"


def table(evaluations: list[evaluate.Evaluation]) -> str:
    heads = ["model", "protocol", "resize", *COLUMNS.values(), "objects found"]
    rule = "| --- " * 3 + "| ---: " * (len(heads) - 3) + "|"
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *(row(each.to_dict()) for each in evaluations)])


def hashes(files: Iterable[Path]) -> set[str]:
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split")
    parser.add_argument("--models", help="default: all that are on disk")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seen", type=Path, metavar="DIR", help="photographs that a model was trained on")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="keep progress here")
    arguments = parser.parse_args()
    here = [name for name in catalogue.CATALOGUE if catalogue.on_disk(name)]
    names = arguments.models.split(",") if arguments.models else here
    dataset = CocoDataset.open(arguments.coco, arguments.split)
    images = evaluate.choose_images(dataset, limit=arguments.limit)

    evaluations = []
    for name in names:
        for protocol_name, resize in WAYS:
            segmenter = Segmenter(name, precision="float32", resize=resize)
            run = evaluate.Run(segmenter, dataset, protocol(protocol_name), Task(), images)
            resume = arguments.resume and arguments.resume / f"{name}-{protocol_name}-{resize}"
            evaluations.append(evaluate.evaluate(run, resume=resume))

    print(f"{machine()}\n\n{len(images)} images of {dataset.split}\n\n{table(evaluations)}")
    if arguments.seen:
        known = hashes(arguments.seen.iterdir())
        unseen = {image.id for image in images if not known & hashes([dataset.path(image.id)])}
        parts = [replace(each, scored=tuple(it for it in each.scored if it.image.id in unseen)) for each in evaluations]
        print(f"\nthe {len(unseen)} of them that are not in {arguments.seen.name}\n\n{table(parts)}")


if __name__ == "__main__":
    main()
