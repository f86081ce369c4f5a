"""Confidence intervals of scores, by percentile bootstrap over images, for one model or for paired models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..metrics.confusion import divide
from .counts import OVERALL_KEYS, PER_CLASS_KEYS, Counts

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0
SETTINGS = {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}

_AT_ONCE = 500_000  # counts (resamples x images) in memory at once: 4 MB
_PERCENTILES = (50 * (1 - LEVEL), 50 * (1 + LEVEL))

Resampled = dict[str, Any]


def resampled(per_image: Counts, *, resamples: int = RESAMPLES, seed: int = SEED) -> tuple[Resampled, Resampled]:
    """Compute dataset scores and image means of `resamples` sets of N images, drawn from N images with replacement.

    per_image: the counts of N images along their first axis. Returns two dictionaries like that of `Counts.scores`,
    with float64 (resamples,) and (resamples, n); the image means have no "per_class". The same seed and N draw the
    same images, so the scores of two models on the same images, in the same order, are paired. With fewer than 2
    images all values are nan.

    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.
    """
    num_classes = per_image.matrix.shape[-1]
    if len(per_image.matrix) < 2:
        nothing = dict.fromkeys(OVERALL_KEYS, np.full(1, np.nan))
        return nothing | {"per_class": dict.fromkeys(PER_CLASS_KEYS, np.full((1, num_classes), np.nan))}, nothing
    rows = per_image.flat()
    used = rows.any(axis=0)  # most pairs of classes never occur
    scores = per_image.scores()
    own = np.stack([scores[key] for key in OVERALL_KEYS], axis=1)  # (N, keys)
    defined = ~np.isnan(own)
    sums = np.zeros((resamples, rows.shape[1]), np.int64)
    means = np.empty((resamples, len(OVERALL_KEYS)))
    for part, times_drawn in _draws(len(rows), resamples, seed):
        sums[part, used] = np.rint(times_drawn @ rows[:, used].astype(np.float64))
        means[part] = divide(times_drawn @ np.where(defined, own, 0), times_drawn @ defined.astype(np.float64))
    dataset = Counts.from_flat(sums, num_classes).scores()
    return dataset, dict(zip(OVERALL_KEYS, means.T, strict=True))


def _draws(images: int, resamples: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (slice of the resamples, how often each image was drawn in them: float64 (resamples, images))."""
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // images)
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        drawn = rng.integers(0, images, (part.stop - part.start, images))
        yield part, np.stack([np.bincount(each, minlength=images) for each in drawn]).astype(np.float64)


def interval(values: np.ndarray) -> list[float] | None:
    """Return [low, high] of the middle 95 % of float (resamples,), without nan; None if all are nan."""
    defined = values[~np.isnan(values)]
    return np.percentile(defined, _PERCENTILES).tolist() if defined.size else None


def intervals(per_image: Counts, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the 95 % intervals of all scores, as JSON values; None if undefined.

    The interval of a class is undefined, too, if only one image has the score: its resamples are all equal.
    """
    dataset, means = resampled(per_image)
    columns = dataset["per_class"]
    images = {key: np.sum(~np.isnan(scores), axis=0) for key, scores in per_image.scores()["per_class"].items()}
    return SETTINGS | {
        "dataset": {key: interval(dataset[key]) for key in OVERALL_KEYS},
        "image_mean": {key: interval(means[key]) for key in OVERALL_KEYS},
        "per_class": {
            name: {key: interval(columns[key][:, row]) if images[key][row] > 1 else None for key in PER_CLASS_KEYS}
            for row, name in enumerate(names)
        },
    }
