"""Measures the seconds for one image with the plain `model(x)` and with `segcore.prepare`, in alternating runs.

    python -m benchmarks.speed [--model NAME] [--size 520] [--repeats 5] [--threads N] [--json FILE]

The weights are random, which does not change the speed, so nothing is downloaded. Processor time includes all threads
of the process. Medians over the repeats, after one round that is not counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from segcore.inference import predictor
from segcore.inference.predictor import pick_precision, prepare
from segcore.models import catalogue, loading

PLAIN = "plain `model(x)`, float32"


def variants(name: str) -> dict[str, Callable[[torch.Tensor], object]]:
    """Return the compared functions by title. They take a float32 tensor (1, 3, h, w)."""
    network = loading.build_network(name).eval()
    without_aux = loading.build_network(name).eval()
    without_aux.aux_classifier = None
    compared = {PLAIN: network}
    if network.aux_classifier is not None:
        compared["the same without its auxiliary head"] = without_aux
    for precision in dict.fromkeys(("float32", pick_precision("auto", "cpu"))):
        compared[f"segcore, {precision}"] = prepare(network, device="cpu", precision=precision)
    return compared


def measure(compared: dict, image: torch.Tensor, repeats: int) -> dict[str, tuple[float, float]]:
    """Return the median (wall, processor) seconds by title. The functions alternate: other programs slow all alike."""
    taken = {title: [] for title in compared}
    with torch.no_grad():
        for _ in range(repeats + 1):
            for title, run in compared.items():
                wall, processor = time.perf_counter(), time.process_time()
                run(image)
                taken[title].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        title: tuple(statistics.median(column) for column in zip(*times[1:], strict=True))
        for title, times in taken.items()
    }


def machine() -> str:
    """Return the processor, its relevant instructions, its threads and the libraries in one line."""
    processor = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    bfloat16 = "with" if predictor.pick_precision() == "bfloat16" else "without"
    return (
        f"{processor} ({torch.backends.cpu.get_cpu_capability()}, {bfloat16} bfloat16), "
        f"{torch.get_num_threads()} threads, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def table(medians: dict[str, tuple[float, float]]) -> str:
    """Return the medians as Markdown, also as multiples of the plain model's processor time."""
    lines = ["| | wall, s | processor, s | processor, of plain |", "| --- | ---: | ---: | ---: |"]
    for title, (wall, processor) in medians.items():
        lines.append(f"| {title} | {wall:.3f} | {processor:.3f} | {processor / medians[PLAIN][1]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=catalogue.CATALOGUE, default=catalogue.PREFERRED)
    parser.add_argument("--size", type=int, default=520, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="counted rounds (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="how many threads torch may use (default: its own choice)")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    if min(arguments.size, arguments.repeats, arguments.threads or 1) < 1:
        parser.error("--size, --repeats and --threads are at least 1")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    medians = measure(variants(arguments.model), torch.randn(1, 3, arguments.size, arguments.size), arguments.repeats)
    title = f"{arguments.model}, {arguments.size} x {arguments.size}, median of {arguments.repeats}"
    print(f"{title}\n{machine()}\n\n{table(medians)}")
    if arguments.json:
        numbers = {name: {"wall": wall, "processor": processor} for name, (wall, processor) in medians.items()}
        arguments.json.write_text(json.dumps({"title": title, "machine": machine(), "seconds": numbers}, indent=2))


if __name__ == "__main__":
    main()
