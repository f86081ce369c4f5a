"""Measures the seconds per image of each engine and of the plain `model(x)`, and how far the engines agree.

    python -m benchmarks.engines [--model NAME] [--size 520] [--repeats 5] [--threads N] [--coco DIR [--split val2017]]
                                 [--calibration DIR] [--limit N]

Models whose weights are not on disk run with random weights, which take the same time; their int8 is calibrated with
noise. The engines alternate. Medians over the repeats, after one round that is not counted. With --coco, and weights on
disk: the share of pixels, at the photographs' size, that get the same class as with PyTorch in float32, and the
difference of the mean IoU (protocol original). Engines that are not installed are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.speed import PLAIN, machine, measure, table
from segcore.errors import UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference import upsampling
from segcore.inference.predictor import prepare
from segcore.inference.segmenter import Segmenter
from segcore.metrics import confusion
from segcore.models import catalogue, loading
from segcore.truth.coco import CocoDataset

WAYS = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)
EXACT = "torch, float32"


def predictors(name: str, calibration: Path | None) -> Iterator[tuple[str, Callable[[torch.Tensor], torch.Tensor]]]:
    """Return the installed engines and precisions by title."""
    network = None if catalogue.on_disk(name) else loading.build_network(name).eval()
    for engine, precision in WAYS:
        title = f"{engine}, {precision}"
        chosen = {"device": "cpu", "precision": precision, "engine": engine}
        try:
            if network is None:
                yield title, Segmenter(name, calibration=calibration, **chosen).predict_logits
            else:
                noise = [torch.randn(1, 3, 256, 256)]
                yield title, prepare(network, calibration=lambda noise=noise: noise, **chosen)
        except UsageError as error:
            print(f"{title} left out: {error}")


def agreement(
    compared: dict, name: str, dataset: CocoDataset, limit: int | None
) -> dict[str, tuple[np.ndarray, float]]:
    """Return, by title, the share of pixels with the same label as EXACT, float64 (images,), and the mean IoU."""
    preprocess, chosen = loading.preprocess_for(name), protocol("original")
    images = evaluate.choose_images(dataset, limit=limit)
    shares = {title: [] for title in compared}
    matrices = {title: 0 for title in compared}
    for image in tqdm(images, unit="image", disable=None):
        tensor = preprocess(dataset.read_image(image.id))
        truth = chosen.truth_at_scored_size(dataset, image.id, preprocess)
        labels = {title: upsampling.label_map(run(tensor)[0], truth.shape) for title, run in compared.items()}
        for title, each in labels.items():
            shares[title].append(np.mean(each == labels[EXACT]))
            matrices[title] = matrices[title] + confusion.confusion_matrix(truth, each, num_classes=21)
    return {title: (np.array(shares[title]), confusion.scores(matrices[title])["mean_iou"]) for title in compared}


def agreement_table(found: dict[str, tuple[np.ndarray, float]]) -> str:
    lines = [
        f"| | pixels as in {EXACT}: mean | lowest image | mean IoU | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for title, (shares, mean_iou) in found.items():
        difference = mean_iou - found[EXACT][1]
        lines.append(f"| {title} | {shares.mean():.2%} | {shares.min():.2%} | {mean_iou:.4f} | {difference:+.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=catalogue.CATALOGUE, default=catalogue.SHIPPED)
    parser.add_argument("--size", type=int, default=520, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="counted rounds (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of each engine (default: %(default)s)")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="photographs for int8 (default: the samples)")
    parser.add_argument("--coco", type=Path, metavar="DIR")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    name = arguments.model
    if arguments.coco and not catalogue.on_disk(name):
        parser.error(f"--coco needs the weights of {name} on disk")
    torch.set_num_threads(arguments.threads)

    compared = dict(predictors(name, arguments.calibration))
    image = torch.randn(1, 3, arguments.size, arguments.size)
    medians = measure({PLAIN: loading.build_network(name).eval()} | compared, image, arguments.repeats)
    print(
        f"{name}, {arguments.size} x {arguments.size}, median of {arguments.repeats}\n{machine()}\n\n{table(medians)}"
    )
    if arguments.coco:
        dataset = CocoDataset.open(arguments.coco, arguments.split)
        found = agreement(compared, name, dataset, arguments.limit)
        print(f"\n{len(found[EXACT][0])} images of {dataset.split}\n\n{agreement_table(found)}")


if __name__ == "__main__":
    main()
