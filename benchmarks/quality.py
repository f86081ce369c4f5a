"""The scores of every model whose weights are on disk, by each protocol, with 95 % intervals, as a Markdown table.

    python -m benchmarks.quality --coco DIR [--split val2017] [--models A,B] [--limit N] [--resume DIR]

All in float32. The intervals are of the percentile bootstrap over the images; compare models with
`python -m segcore compare`, whose intervals are of their paired differences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.speed import machine
from segcore import catalogue, evaluate
from segcore.coco import CocoDataset
from segcore.protocols import protocol
from segcore.segmenter import Segmenter
from segcore.task import Task

WAYS = (("original", "squeeze"), ("original", "aspect"), ("torchvision", "squeeze"), ("report", "squeeze"))
COLUMNS = {
    "pixel_accuracy": "pixel accuracy",
    "mean_iou": "mean IoU",
    "foreground_mean_iou": "mean IoU of objects",
    "boundary_iou": "boundary IoU",
    "brier": "Brier",
}


def row(record: dict) -> str:
    """One line of the table: each score with its interval below it, and the objects that were found."""
    cells = [record["model"], record["protocol"], record["resize"]]
    for key in COLUMNS:
        low, high = record["intervals"]["dataset"][key]
        cells.append(f"{record['dataset'][key]:.3f} ({low:.3f} to {high:.3f})")
    objects = record["objects"]
    return "| " + " | ".join([*cells, f"{objects['found']} of {objects['total']}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split")
    parser.add_argument("--models", help="default: all that are on disk")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--resume", type=Path, metavar="DIR", help="keep progress here")
    arguments = parser.parse_args()
    here = [name for name in catalogue.CATALOGUE if catalogue.on_disk(name)]
    names = arguments.models.split(",") if arguments.models else here
    dataset = CocoDataset.open(arguments.coco, arguments.split)
    images = evaluate.choose_images(dataset, limit=arguments.limit)

    print(f"{len(images)} images of {dataset.split}; {machine()}\n")
    heads = ["model", "protocol", "resize", *COLUMNS.values(), "objects found"]
    print("| " + " | ".join(heads) + " |\n" + "| --- " * 3 + "| ---: " * (len(heads) - 3) + "|")
    for name in names:
        for protocol_name, resize in WAYS:
            segmenter = Segmenter(name, precision="float32", resize=resize)
            run = evaluate.Run(segmenter, dataset, protocol(protocol_name), Task(), images)
            resume = arguments.resume and arguments.resume / f"{name}-{protocol_name}-{resize}"
            print(row(evaluate.evaluate(run, resume=resume).to_dict()), flush=True)


if __name__ == "__main__":
    main()
