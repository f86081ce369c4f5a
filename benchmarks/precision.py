"""Measures the agreement of label maps in bfloat16 and float32 on the images of a COCO folder.

    python -m benchmarks.precision --coco DIR [--split val2017] [--model NAME] [--resize squeeze] [--limit N]

For each image it computes the share of pixels, at the photograph's size, that get the same class in both precisions.
The model's weights must be on disk, as those of the shipped model always are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from segcore.errors import SegcoreError
from segcore.imaging import reading
from segcore.inference import upsampling
from segcore.inference.predictor import prepare
from segcore.models import catalogue, loading


def agreement(paths: list[Path], model: str, resize: str) -> np.ndarray:
    """Return the share of pixels with the same label for each image, 0..1: float64 (len(paths),)."""
    network = loading.load(model)
    preprocess = loading.preprocess_for(model, resize)
    predictors = [prepare(network, precision=precision) for precision in ("float32", "bfloat16")]
    shares = np.empty(len(paths))
    for index, path in enumerate(tqdm(paths, unit="image", disable=None)):
        photograph = reading.read(path, upright=False)
        tensor = preprocess(photograph)
        exact, rounded = (upsampling.label_map(each(tensor)[0], photograph.shape[:2]) for each in predictors)
        shares[index] = np.mean(exact == rounded)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, help="a folder that holds SPLIT/*.jpg")
    parser.add_argument("--split", default="val2017", help="(default: %(default)s)")
    parser.add_argument("--model", choices=catalogue.CATALOGUE, default=catalogue.SHIPPED)
    parser.add_argument("--resize", choices=("squeeze", "aspect"), default="squeeze")
    parser.add_argument("--limit", type=int, help="only the first so many images, by name")
    arguments = parser.parse_args()
    paths = sorted((arguments.coco / arguments.split).glob("*.jpg"))[: arguments.limit]
    if not paths:
        parser.error(f"there are no .jpg files in {arguments.coco / arguments.split}")
    try:
        shares = agreement(paths, arguments.model, arguments.resize)
    except SegcoreError as error:
        parser.error(str(error))
    print(f"{arguments.model}, {arguments.resize}, {len(paths)} images of {arguments.split}\n")
    print("| pixels with the same label in bfloat16 and float32 | share |\n| --- | ---: |")
    worst = int(shares.argmin())
    print(f"| mean over images | {shares.mean():.4%} |\n| median | {np.median(shares):.4%} |")
    print(f"| lowest ({paths[worst].name}) | {shares[worst]:.4%} |")


if __name__ == "__main__":
    main()
