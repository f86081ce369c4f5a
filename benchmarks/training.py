"""Measures the crops per second of drawing crops, of the network's training steps, and of both together.

    python -m benchmarks.training --coco DIR [--split S] [--crop 328] [--batch-size 8] [--frozen-stages 4]
        [--output-stride 8] [--device cpu] [--steps 20]

Starts from the shipped model, with VOC's classes. No results are kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.speed import machine
from segcore.training.settings import TrainSettings
from segcore.training.train import prepare, train

_WARM_UP = 3  # steps


def crops_a_second(step: Callable[[int], object], steps: int, batch_size: int) -> float:
    """Run `step(number)` some times; the first calls are not counted."""
    for number in range(1, _WARM_UP + 1):
        step(number)
    started = time.perf_counter()
    for number in range(_WARM_UP + 1, _WARM_UP + steps + 1):
        step(number)
    return steps * batch_size / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split")
    parser.add_argument("--crop", type=int, default=328)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--frozen-stages", type=int, default=4)
    parser.add_argument("--output-stride", type=int, choices=(8, 16))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=20)
    chosen = vars(parser.parse_args())
    measured, size = chosen.pop("steps"), chosen["batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings(
            **chosen,
            out=Path(folder) / "both",
            steps=measured + _WARM_UP,
            categories="voc",
            scale=(0.6, 1.9),
            hold_back=0.0,
            save_every=10**9,
        )
        training = prepare(settings)
        data = crops_a_second(lambda number: training.data.batch(number, size), measured, size)
        batch = training.data.batch(1, size)
        network = crops_a_second(lambda number: training.step(*batch), measured, size)
        times: list[float] = []
        train(settings, on_step=lambda done: times.append(time.perf_counter()))
        both = measured * size / (times[-1] - times[_WARM_UP - 1])
    print(f"{size} crops of {settings.crop} pixels a step, on {training.device} in {training.precision}, {machine()}")
    print("| crops a second |  |\n| --- | ---: |")
    for title, value in (("drawing alone", data), ("the network alone", network), ("both", both)):
        print(f"| {title} | {value:.1f} |")


if __name__ == "__main__":
    main()
