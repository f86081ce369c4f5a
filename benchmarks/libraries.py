"""Scores the same label maps with segcore and with other libraries. Prints a Markdown table.

    python -m benchmarks.libraries --coco DIR [--split val2017] [--protocol original] [--model NAME] [--limit N]

A model is evaluated once, and every library gets the same truth and the same predictions: 21 classes, with 255 where a
pixel does not count. What is not installed is left out; `pip install -r benchmarks/requirements.txt` brings it.
docs/evaluation.md says where the differences come from.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from segcore.classes import FRIENDLY_NAMES, IGNORE_INDEX, NUM_CLASSES
from segcore.errors import SegcoreError
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import PROTOCOLS, protocol
from segcore.evaluation.run import Run, caption
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.metrics import confusion
from segcore.models import catalogue
from segcore.truth.coco import CocoDataset

ACCURACY = "pixel accuracy"
MEAN_IOU = "mean IoU, dataset"
IMAGE_MEAN = "mean IoU, over images"
F1 = "F1, macro, dataset"
UNDECLARED = "mean IoU, dataset, if nobody says that 255 does not count"


class Pair(NamedTuple):
    """One image: the name of its file, and truth and prediction, uint8 (H, W)."""

    name: str
    truth: np.ndarray
    prediction: np.ndarray

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels whose truth is not 255, uint8 (n,), for libraries that cannot ignore pixels."""
        valid = self.truth != IGNORE_INDEX
        return self.truth[valid], self.prediction[valid]


Examples = dict[str, tuple[Pair, int]]  # a row's title -> the image and the class whose IoU it shows
Column = dict[str, Callable[[], float | None]]  # a row's title -> the library's answer, None if it lists none


def examples_in(pairs: list[Pair]) -> Examples:
    """Find an image with a class in neither truth nor prediction, and one with a class only in the prediction."""
    kinds = {
        "neither there nor predicted": lambda here, seen: set(range(NUM_CLASSES)) - here - seen,
        "predicted, not there": lambda here, seen: seen - here,
    }
    examples: Examples = {}
    for what, choose in kinds.items():
        for pair in pairs:
            numbers = choose(*(set(np.unique(labels).tolist()) for labels in pair.counted()))
            if numbers:
                examples[f"IoU of {FRIENDLY_NAMES[min(numbers)]} in {pair.name}: {what}"] = pair, min(numbers)
                break
    return examples


def per_class(class_iou: Callable[[Pair, int], float | None], examples: Examples) -> Column:
    return {title: lambda each=each: class_iou(*each) for title, each in examples.items()}


# ---- the libraries: each is asked for the same things, in its own words


def by_segcore(pairs: list[Pair], examples: Examples) -> Column:
    matrices = [confusion.confusion_matrix(pair.truth, pair.prediction) for pair in pairs]
    dataset = confusion.scores(sum(matrices))

    def class_iou(pair: Pair, number: int) -> float:
        return confusion.scores(confusion.confusion_matrix(pair.truth, pair.prediction))["iou"][number]

    return {
        ACCURACY: lambda: dataset["pixel_accuracy"],
        MEAN_IOU: lambda: dataset["mean_iou"],
        IMAGE_MEAN: lambda: confusion.mean_defined([confusion.scores(each)["mean_iou"] for each in matrices]),
        F1: lambda: dataset["f1_macro"],
        **per_class(class_iou, examples),
        UNDECLARED: lambda: dataset["mean_iou"],
    }


def by_torchvision_references(pairs: list[Pair], examples: Examples) -> Column:
    """What torchvision's segmentation references compute. They are no part of its package, so this is their definition:
    pixels are counted where 0 <= truth < n, and nothing is done about 0/0."""

    def matrix(pair: Pair) -> torch.Tensor:
        truth, prediction = (torch.from_numpy(labels.astype(np.int64)) for labels in (pair.truth, pair.prediction))
        valid = (truth >= 0) & (truth < NUM_CLASSES)
        counts = torch.bincount(NUM_CLASSES * truth[valid] + prediction[valid], minlength=NUM_CLASSES**2)
        return counts.reshape(NUM_CLASSES, NUM_CLASSES)

    def iou(counts: torch.Tensor) -> torch.Tensor:
        return counts.diag() / (counts.sum(0) + counts.sum(1) - counts.diag())

    total = sum(map(matrix, pairs))
    return {
        ACCURACY: lambda: total.diag().sum() / total.sum(),
        MEAN_IOU: lambda: iou(total).mean(),
        **per_class(lambda pair, number: iou(matrix(pair))[number], examples),
        UNDECLARED: lambda: iou(total).mean(),
    }


def by_torchmetrics(pairs: list[Pair], examples: Examples) -> Column:
    from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex
    from torchmetrics.segmentation import MeanIoU

    def over(metric, pairs: Iterable[Pair]) -> torch.Tensor:
        for pair in pairs:
            # MeanIoU cannot ignore pixels, so they are removed in advance.
            labels = pair.counted() if isinstance(metric, MeanIoU) else (pair.truth, pair.prediction)
            truth, prediction = (torch.from_numpy(each.astype(np.int64))[None] for each in labels)
            metric.update(prediction, truth)
        return metric.compute()

    def class_iou(pair: Pair, number: int) -> torch.Tensor:
        return over(MulticlassJaccardIndex(NUM_CLASSES, average=None, ignore_index=IGNORE_INDEX), [pair])[number]

    return {
        ACCURACY: lambda: over(MulticlassAccuracy(NUM_CLASSES, average="micro", ignore_index=IGNORE_INDEX), pairs),
        MEAN_IOU: lambda: over(MulticlassJaccardIndex(NUM_CLASSES, ignore_index=IGNORE_INDEX), pairs),
        IMAGE_MEAN: lambda: over(MeanIoU(NUM_CLASSES, input_format="index"), pairs),
        F1: lambda: over(MulticlassF1Score(NUM_CLASSES, ignore_index=IGNORE_INDEX), pairs),
        **per_class(class_iou, examples),
        UNDECLARED: lambda: over(MulticlassJaccardIndex(NUM_CLASSES), pairs),
    }


def by_segmentation_models_pytorch(pairs: list[Pair], examples: Examples) -> Column:
    from segmentation_models_pytorch import metrics as smp

    def stats(pairs: Iterable[Pair], ignored: int | None = IGNORE_INDEX) -> list[torch.Tensor]:
        """tp, fp, fn, tn, each (images, classes)."""
        counted = []
        for pair in pairs:
            prediction, truth = (torch.from_numpy(each.astype(np.int64)) for each in (pair.prediction, pair.truth))
            settings = {"mode": "multiclass", "num_classes": NUM_CLASSES, "ignore_index": ignored}
            counted.append(smp.get_stats(prediction[None], truth[None], **settings))
        return [torch.cat(column) for column in zip(*counted, strict=True)]

    total = stats(pairs)
    return {
        ACCURACY: lambda: smp.accuracy(*total, reduction="micro"),
        MEAN_IOU: lambda: smp.iou_score(*total, reduction="macro"),
        IMAGE_MEAN: lambda: smp.iou_score(*total, reduction="macro-imagewise"),
        F1: lambda: smp.f1_score(*total, reduction="macro"),
        **per_class(lambda pair, number: smp.iou_score(*stats([pair]))[0, number], examples),
        UNDECLARED: lambda: smp.iou_score(*stats(pairs, ignored=None), reduction="macro"),
    }


def by_scikit_learn(pairs: list[Pair], examples: Examples, labels: range | None = None) -> Column:
    from sklearn.metrics import accuracy_score, f1_score, jaccard_score

    def mean_iou(truth: np.ndarray, prediction: np.ndarray) -> float:
        return jaccard_score(truth, prediction, labels=labels, average="macro")

    def class_iou(pair: Pair, number: int) -> float | None:
        truth, prediction = pair.counted()
        listed = list(labels or np.union1d(truth, prediction))
        scores = jaccard_score(truth, prediction, labels=labels, average=None)
        return scores[listed.index(number)] if number in listed else None

    truth, prediction = (np.concatenate(each) for each in zip(*(pair.counted() for pair in pairs), strict=True))
    everywhere = [np.concatenate([each.ravel() for each in maps]) for maps in list(zip(*pairs, strict=True))[1:]]
    return {
        ACCURACY: lambda: accuracy_score(truth, prediction),
        MEAN_IOU: lambda: mean_iou(truth, prediction),
        IMAGE_MEAN: lambda: np.mean([mean_iou(*pair.counted()) for pair in pairs]),
        F1: lambda: f1_score(truth, prediction, labels=labels, average="macro"),
        **per_class(class_iou, examples),
        UNDECLARED: lambda: mean_iou(*everywhere),
    }


def by_scikit_learn_all_labels(pairs: list[Pair], examples: Examples) -> Column:
    return by_scikit_learn(pairs, examples, labels=range(NUM_CLASSES))


class Library(NamedTuple):
    """A column of the table: its title, the package and module that it needs, and the function that fills it."""

    title: str
    package: str
    module: str
    column: Callable[[list[Pair], Examples], Column]


LIBRARIES = (
    Library("segcore", "torch", "torch", by_segcore),
    Library("torchvision's references", "torch", "torch", by_torchvision_references),
    Library("torchmetrics", "torchmetrics", "torchmetrics", by_torchmetrics),
    Library("smp", "segmentation-models-pytorch", "segmentation_models_pytorch", by_segmentation_models_pytorch),
    Library("scikit-learn", "scikit-learn", "sklearn", by_scikit_learn),
    Library("scikit-learn, `labels=range(21)`", "scikit-learn", "sklearn", by_scikit_learn_all_labels),
)


# ---- the table


def cell(compute: Callable[[], float | None] | None) -> str:
    """Return a library's result, its exception or its warning as text; "-" if it has no such score."""
    if compute is None:
        return "-"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = compute()
        except (RuntimeError, ValueError) as error:
            return type(error).__name__
    answer = "not listed" if value is None else f"{float(value):.4f}"
    return answer + (", warns" if any(issubclass(each.category, UserWarning) for each in caught) else "")


def table(pairs: list[Pair], libraries: Iterable[Library]) -> str:
    """Return the Markdown table, with a row per score and a column per library."""
    examples = examples_in(pairs)
    columns = {library.title: library.column(pairs, examples) for library in libraries}
    rows = [ACCURACY, MEAN_IOU, IMAGE_MEAN, F1, *examples, UNDECLARED]
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {row} | {' | '.join(cell(column.get(row)) for column in columns.values())} |" for row in rows]
    return "\n".join(lines)


def evaluated(arguments: argparse.Namespace) -> tuple[str, list[Pair]]:
    """What was evaluated, in one line, and the label maps that were scored. Raises SegcoreError."""
    dataset = CocoDataset.open(arguments.coco, arguments.split)
    images = evaluate.choose_images(dataset, limit=arguments.limit)
    segmenter = Segmenter(arguments.model, device="cpu", precision="float32")
    run = Run(segmenter, dataset, protocol(arguments.protocol), Task(), images)
    pairs: list[Pair] = []
    evaluate.evaluate(
        run, on_image=lambda sample: pairs.append(Pair(sample.image.file_name, sample.truth, sample.prediction))
    )
    return caption(run.record(), f"{len(pairs)} images"), pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, help="a folder in COCO's layout; examples is one")
    parser.add_argument("--split", help="which annotations/instances_<SPLIT>.json; may be left out where there is one")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="original", help="(default: %(default)s)")
    parser.add_argument("--model", choices=catalogue.CATALOGUE, default=catalogue.SHIPPED)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    arguments = parser.parse_args()
    try:
        what, pairs = evaluated(arguments)
    except SegcoreError as error:
        parser.error(str(error))
    if not pairs:
        parser.error(f"none of the photographs in {arguments.coco} could be read")

    installed = [library for library in LIBRARIES if find_spec(library.module)]
    packages = dict.fromkeys(library.package for library in installed)
    print(f"{what}\n{', '.join(f'{package} {metadata.version(package)}' for package in packages)}\n")
    print(table(pairs, installed))
    for library in LIBRARIES:
        if library not in installed:
            print(f"\n{library.package} is not installed and left out: pip install -r benchmarks/requirements.txt")


if __name__ == "__main__":
    main()
