"""Measures whether a low label quality points to wrong annotations, by making some wrong on purpose.

    python -m benchmarks.label_quality --coco DIR [--split val2017] [--model NAME] [--changed 20] [--first 30]

In each of `--changed` images, one object that is not small is removed or gets another class, at random. It prints how
many of these are among the `--first` images with the lowest label quality, for ten random choices, and how many would
be by chance.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.speed import machine
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import catalogue
from segcore.truth.coco import CocoDataset, annotation_file
from tests.helpers.wrong_truth import change_objects

SEEDS = 10


def qualities(segmenter: Segmenter, dataset: CocoDataset, image_ids: set[int] | None = None) -> dict[int, float]:
    """Return the label quality of each image, or of those with these ids."""
    images = evaluate.choose_images(dataset, image_ids=None if image_ids is None else sorted(image_ids))
    run = evaluate.Run(segmenter, dataset, protocol("original"), Task(), images)
    rows = evaluate.evaluate(run).to_dict()["per_image"]
    return {row["image_id"]: row["label_quality"] for row in rows}


def found(segmenter: Segmenter, coco: Path, split: str, *, seeds: int, changed: int, first: int) -> list[int]:
    """Return for each random choice how many changed images are among the `first` with the lowest label quality."""
    unchanged = qualities(segmenter, CocoDataset.open(coco, split))
    result = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            file = annotation_file(Path(folder), split)
            file.parent.mkdir()
            Path(folder, split).symlink_to(Path(coco, split).resolve(), target_is_directory=True)
            wrong = change_objects(annotation_file(coco, split), file, changed, seed)
            quality = unchanged | qualities(segmenter, CocoDataset.open(folder, split), wrong)
        lowest = sorted(quality, key=quality.__getitem__)[:first]
        result.append(len(wrong & set(lowest)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--model", default=catalogue.AUTO)
    parser.add_argument("--changed", type=int, default=20)
    parser.add_argument("--first", type=int, default=30)
    arguments = parser.parse_args()
    segmenter = Segmenter(arguments.model, precision="float32")
    counts = found(
        segmenter, arguments.coco, arguments.split, seeds=SEEDS, changed=arguments.changed, first=arguments.first
    )
    images = len(CocoDataset.open(arguments.coco, arguments.split).images)
    print(
        f"{machine()}\n{segmenter.model}, {images} images of {arguments.split}, {arguments.changed} with a wrong object"
    )
    print(f"among the first {arguments.first}: {', '.join(map(str, counts))}; mean {sum(counts) / len(counts):.1f}")
    print(f"by chance: {arguments.changed * arguments.first / images:.1f}")


if __name__ == "__main__":
    main()
