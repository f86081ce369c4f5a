"""How far a score of so many images can be trusted: percentile bootstrap over images, alone or in pairs."""

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

_AT_ONCE = 500_000  # how often each image was drawn, for some resamples at once: 4 MB
_PERCENTILES = (50 * (1 - LEVEL), 50 * (1 + LEVEL))

Resampled = dict[str, Any]


def resampled(per_image: Counts, *, resamples: int = RESAMPLES, seed: int = SEED) -> tuple[Resampled, Resampled]:
    """Dataset scores and image means of `resamples` sets of N images, each drawn from the N with replacement.

    per_image: the counts of N images along their first axis. Returns two dictionaries as `Counts.scores` gives, of
    float64 (resamples,) and (resamples, n); that of image means lacks "per_class". For one seed and N the same images
    are drawn, so that two models' scores of the same images, in the same order, come in pairs. Of fewer than 2 images
    all is nan: they say nothing of others.

    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.
    """
    num_classes = per_image.matrix.shape[-1]
    if len(per_image.matrix) < 2:
        nothing = dict.fromkeys(OVERALL_KEYS, np.full(1, np.nan))
        return nothing | {"per_class": dict.fromkeys(PER_CLASS_KEYS, np.full((1, num_classes), np.nan))}, nothing
    rows = per_image.flat()
    used = rows.any(axis=0)  # most pairs of classes never meet
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
    """Yield (some of the resamples, how often each of the images was drawn into each: float64 (some, images))."""
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // images)
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        drawn = rng.integers(0, images, (part.stop - part.start, images))
        yield part, np.stack([np.bincount(each, minlength=images) for each in drawn]).astype(np.float64)


def interval(values: np.ndarray) -> list[float] | None:
    """[low, high] of the middle 95 % of float (resamples,), undefined ones left out; None where all are."""
    defined = values[~np.isnan(values)]
    return np.percentile(defined, _PERCENTILES).tolist() if defined.size else None


def intervals(per_image: Counts, names: tuple[str, ...]) -> dict[str, Any]:
    """The 95 % intervals of all scores, fit for JSON; None where undefined."""
    dataset, means = resampled(per_image)
    columns = dataset["per_class"]
    return SETTINGS | {
        "dataset": {key: interval(dataset[key]) for key in OVERALL_KEYS},
        "image_mean": {key: interval(means[key]) for key in OVERALL_KEYS},
        "per_class": {
            name: {key: interval(columns[key][:, row]) for key in PER_CLASS_KEYS} for row, name in enumerate(names)
        },
    }
