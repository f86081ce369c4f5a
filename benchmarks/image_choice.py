"""The command-line arguments that choose a model and the images of a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from segcore.evaluation import evaluate
from segcore.models import catalogue
from segcore.truth.dataset import Dataset, ImageRecord
from segcore.truth.layouts import open_dataset


def read(description: str | None) -> tuple[str, Dataset, list[ImageRecord]]:
    """Read the program's arguments. Returns the model's name, the dataset, and the chosen ones of its images."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", "--coco", type=Path, required=True, metavar="DIR", help="COCO's or VOC's layout")
    parser.add_argument("--split")
    parser.add_argument("--model", default=catalogue.AUTO)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th image")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N of these")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset, arguments.split)
    return arguments.model, dataset, evaluate.choose_images(dataset)[:: arguments.every][: arguments.limit]
