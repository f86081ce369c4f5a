"""Fits a trained model's temperature on images that it was not trained on, and writes the model with it.

`python -m segcore.training.calibrate MODEL.safetensors --dataset DIR --split SPLIT --to OUT.safetensors`. The
temperature calibrates probabilities and does not change label maps (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from tqdm import tqdm

from ..classes import IGNORE_INDEX
from ..errors import SegcoreError, UsageError
from ..inference import upsampling
from ..inference.segmenter import Segmenter
from ..models import checkpoint
from ..truth.dataset import Dataset
from ..truth.layouts import open_dataset

_PIXELS = 2000  # random pixels of each image
_LOWEST, _HIGHEST = 0.2, 5.0
_PRECISION = 1e-3


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature with the lowest negative log likelihood, by golden-section search (one minimum exists).

    logits: float (pixels, classes), not divided by a temperature. labels: int (pixels,), without 255. Raises UsageError
    without pixels.
    """
    if not len(labels):
        raise UsageError("there is no labelled pixel to fit a temperature on")
    own = logits[np.arange(len(labels)), labels].astype(np.float64)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        most = scaled.max(axis=1)
        return float(np.mean(most + np.log(np.exp(scaled - most[:, None]).sum(axis=1)) - own / temperature))

    low, high, ratio = _LOWEST, _HIGHEST, (np.sqrt(5) - 1) / 2
    while high - low > _PRECISION:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return round((low + high) / 2, 3)


def _sampled(segmenter: Segmenter, dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield logits without temperature, (pixels, classes), and labels, (pixels,), for random pixels of each image."""
    rng = np.random.default_rng(0)
    for image in tqdm(dataset.images, "calibrate", unit="image", disable=None):
        truth = dataset.truth(image.id)
        known = np.flatnonzero(truth != IGNORE_INDEX)
        chosen = rng.choice(known, min(_PIXELS, len(known)), replace=False)
        result = segmenter(dataset.read_image(image.id), dtype="float32")
        fine = upsampling.upsampled(result.logits, truth.shape)
        undivided = fine.reshape(len(fine), -1)[:, chosen].T * (segmenter.temperature or 1.0)
        yield undivided, truth.ravel()[chosen].astype(np.intp)


def calibrate(model: Path, dataset: Dataset) -> checkpoint.Header:
    """Return the model's header with the temperature fitted on the dataset. Raises as `Segmenter` and it do."""
    segmenter = Segmenter(str(model), precision="float32")
    logits, labels = zip(*_sampled(segmenter, dataset), strict=True)
    fitted = fit_temperature(np.concatenate(logits), np.concatenate(labels))
    return replace(checkpoint.read_header(model), temperature=fitted)


def main(argv: list[str] | None = None) -> int:
    """Calibrate one model. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m segcore.training.calibrate", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL.safetensors")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="a folder in COCO's or VOC's layout")
    parser.add_argument("--split")
    parser.add_argument("--to", type=Path, required=True, metavar="OUT.safetensors")
    arguments = parser.parse_args(argv)
    try:
        categories = checkpoint.read_header(arguments.model).categories
        dataset = open_dataset(arguments.dataset, arguments.split, categories)
        header = calibrate(arguments.model, dataset)
        checkpoint.write(arguments.to, header, load_file(arguments.model))
    except (SegcoreError, OSError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.to}: temperature {header.temperature}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
