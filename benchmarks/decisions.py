"""Measures other ways from probabilities to labels than arg-max, as paired differences with 95 % intervals.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.decisions --dataset DIR [--split val2017] [--model NAME] [--every 1] [--limit N]

Protocol original, float32; the network runs once per image. RankSEG chooses the labels of the highest expected score of
the image (Wang and Dai, "RankSEG-RMA", 2025; their package `rankseg`). "Islands": each connected region of one label
that is smaller than a share of the image takes the labels that are nearest to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from rankseg import RankSEG
from scipy import ndimage

from benchmarks import image_choice
from benchmarks.speed import machine
from segcore.evaluation import bootstrap
from segcore.evaluation.counts import Counts
from segcore.evaluation.score import score_image
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (probabilities (n, H, W), arg-max (H, W)) -> labels (H, W)
SHOWN = ("mean_iou", "pixel_accuracy", "boundary_iou")


def rankseg(metric: str) -> Rule:
    """RankSEG for a score: "dice" or "iou"."""
    decide = RankSEG(metric=metric)
    return lambda probabilities, _: decide(torch.from_numpy(probabilities)[None])[0].numpy().astype(np.uint8)


def without_islands(share: float) -> Rule:
    """Arg-max without connected regions of less than a share of the pixels."""

    def decide(_: np.ndarray, labels: np.ndarray) -> np.ndarray:
        small = np.zeros(labels.shape, bool)
        for label in np.unique(labels):
            regions, _ = ndimage.label(labels == label)
            small |= (np.bincount(regions.ravel()) < share * labels.size)[regions] & (regions > 0)
        if small.all():
            return labels
        nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
        return labels[tuple(nearest)]

    return decide


RULES: dict[str, Rule] = {
    "arg-max": lambda _, labels: labels,
    "RankSEG for F1 (Dice)": rankseg("dice"),
    "RankSEG for IoU": rankseg("iou"),
    "no islands under 0.02 %": without_islands(0.0002),
    "no islands under 0.1 %": without_islands(0.001),
    "no islands under 0.5 %": without_islands(0.005),
}


def main() -> None:
    model, dataset, images = image_choice.read(__doc__)
    segmenter = Segmenter(model, precision="float32")
    task = Task()

    counted: dict[str, list[Counts]] = {name: [] for name in RULES}
    seconds = dict.fromkeys(RULES, 0.0)
    for image in images:
        truth = task.truth(dataset.truth(image.id))
        result = segmenter(dataset.read_image(image.id))
        probabilities, labels = result.probabilities(), result.labels
        for name, decide in RULES.items():
            started = time.perf_counter()
            decided = decide(probabilities, labels)
            seconds[name] += time.perf_counter() - started
            counted[name].append(score_image(None, truth, task, prediction=decided).counts)

    print(f"{segmenter.model}, {len(images)} images of {dataset.split}\n{machine()}\n")
    print("| | ms an image | mean IoU | difference | pixel accuracy | difference | boundary IoU | difference |")
    print("| --- | ---: | ---: | --- | ---: | --- | ---: | --- |")
    plain_scores, plain_samples = scores_of(counted["arg-max"], task)
    for name in RULES:
        scores, samples = scores_of(counted[name], task)
        cells = [name, f"{1000 * seconds[name] / len(images):.0f}"]
        for key in SHOWN:
            low, high = bootstrap.interval(samples[key] - plain_samples[key]) or (np.nan, np.nan)
            difference = f"{scores[key] - plain_scores[key]:+.4f} ({low:+.4f} to {high:+.4f})"
            cells += [f"{scores[key]:.4f}", difference]
        print("| " + " | ".join(cells) + " |")


def scores_of(counts: list[Counts], task: Task) -> tuple[dict, bootstrap.Resampled]:
    """Return the scores of the whole dataset, and of its resamples; the same images are drawn for all rules."""
    stacked = Counts.stacked(counts, task.num_classes)
    return stacked.total().scores(), bootstrap.resampled(stacked)[0]


if __name__ == "__main__":
    main()
