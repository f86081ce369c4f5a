"""Measures the time of all scores of one 480 x 640 pair, and of scikit-learn's accuracy and F1 of the same pair.

It also measures the 95 % intervals of all scores of 5,000 images, from 1,000 resamples.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from segcore.classes import VOC_NAMES  # noqa: E402
from segcore.evaluation.bootstrap import intervals  # noqa: E402
from segcore.evaluation.counts import Counts  # noqa: E402
from segcore.inference.upsampling import RELIABILITY_BINS  # noqa: E402
from segcore.metrics import boundary, confusion

SIZE_HW = 480, 640
BLOCK = 32


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return pairs of truth and prediction by name, uint8 (480, 640): typical maps, and noise, the worst case."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 21, 4).astype(np.uint8)
    coarse = classes[rng.integers(0, 4, (SIZE_HW[0] // BLOCK, SIZE_HW[1] // BLOCK))]
    regions = coarse.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
    noise = rng.integers(0, 21, SIZE_HW).astype(np.uint8)
    return {
        "regions": (regions, np.roll(regions, (3, 5), axis=(0, 1))),
        "noise": (noise, np.roll(noise, 1, axis=0)),
    }


def scikit_learn(target: np.ndarray, prediction: np.ndarray) -> None:
    accuracy_score(target.ravel(), prediction.ravel())
    f1_score(target.ravel(), prediction.ravel(), average="macro")


def segcore_scores(target: np.ndarray, prediction: np.ndarray) -> None:
    confusion.scores(confusion.confusion_matrix(target, prediction))


def segcore_boundaries(target: np.ndarray, prediction: np.ndarray) -> None:
    boundary.boundary_iou(*boundary.boundary_counts(target, prediction))


def five_thousand_images() -> Counts:
    """Return random counts with four classes in each image."""
    rng = np.random.default_rng(0)
    matrices = np.zeros((5000, 21, 21), np.int64)
    for matrix in matrices:
        classes = rng.choice(21, 4, replace=False)
        matrix[np.ix_(classes, classes)] = rng.integers(1, 80_000, (4, 4))
    union = matrices.sum(axis=1) // 20
    terms = 21 * matrices.sum(axis=(1, 2))
    reliability = rng.integers(0, 30_000, (5000, 3, RELIABILITY_BINS))
    softmin = rng.integers(1, 1 << 16, (5000, 2))
    by_threshold = np.zeros((5000, 2, 0), np.int64)  # only binary mode has them
    return Counts(matrices, union // 2, union, terms * 500, terms, reliability, reliability, softmin, by_threshold)


def milliseconds(function: Callable[[], None], repeats: int) -> float:
    """Return the time of the fastest of `repeats` calls, which other programs disturb least."""
    fastest = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="calls of each, of which the fastest counts")
    repeats = parser.parse_args().repeats
    print(f"{'pair':10}{'scikit-learn':>16}{'segcore scores':>16}{'ratio':>8}{'boundary IoU':>16}")
    for name, pair in pairs().items():
        theirs, ours, boundaries = (
            milliseconds(lambda function=function, pair=pair: function(*pair), repeats)
            for function in (scikit_learn, segcore_scores, segcore_boundaries)
        )
        print(f"{name:10}{theirs:>13.2f} ms{ours:>13.2f} ms{theirs / ours:>7.0f}x{boundaries:>13.2f} ms")
    images = five_thousand_images()
    seconds = milliseconds(lambda: intervals(images, VOC_NAMES), 3) / 1000
    print(f"\nintervals of 5,000 images, 1,000 resamples: {seconds:.2f} s")


if __name__ == "__main__":
    main()
