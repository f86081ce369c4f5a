"""Checks and measures a graphics card in at most six minutes: correctness, speed and memory.

    python -m benchmarks.gpu [--device auto] [--model NAME] [--size 520] [--batches 1,2,4,8,16,32,64] [--images 2000]
    python -m benchmarks.gpu --device cpu --model deeplabv3_mobilenet_v2 --size 129 --batches 1,2 --images 4

It needs PyTorch 2.11 or newer, numpy, pillow, torchvision and safetensors. The big network has random weights, which
take the same time, so nothing is downloaded. Prints one Markdown table. It names measurements that --minutes left no
time for. Exit status 1 if a check failed; a slow speed is no failure.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import gpu_checks
from benchmarks.gpu_checks import BIG, SMALL, Check
from segcore.errors import SegcoreError
from segcore.inference import predictor
from segcore.inference.predictor import prepare
from segcore.models import catalogue

WANTED_RATE = 500  # images per second: ResNet-101, bfloat16, 520 x 520, the best batch, on one H100
WANTED_OF_PLAIN = 1.5  # relative to torchvision's network under autocast
WANTED_LATENCY = 8.0  # milliseconds for one image
WANTED_OF_NETWORK = 0.7  # an evaluation's rate relative to the network's, on 16 processors
PLAIN = "plain call, autocast bfloat16"  # of torchvision's network
LEFT_OUT = "left out: the time is up"
MEASURE_SECONDS = 1.0  # duration of each measurement, after its first calls


class Clock:
    """The time left for the run."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        return self._end - time.monotonic()


# ---- measuring


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds(action: Callable[[], object], device: str) -> float:
    """Return the median seconds of a call, including its work on the device. The first two calls are not counted."""
    taken: list[float] = []
    end = time.perf_counter() + MEASURE_SECONDS
    while len(taken) < 5 or time.perf_counter() < end:
        synchronize(device)
        started = time.perf_counter()
        action()
        synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[2:])


def peak_megabytes(device: str) -> float:
    """Return the peak memory of tensors on a card since the last reset; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.startswith("cuda") else 0.0


def rate_row(title: str, run: Callable[[Tensor], object], image: Tensor, device: str) -> tuple[float, Check]:
    """Measure the images per second and the memory of `run` on a batch that is already on the device."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with torch.no_grad():
        rate = len(image) / seconds(lambda: run(image), device)
    memory = f", {peak_megabytes(device):,.0f} MB" if device.startswith("cuda") else ""
    return rate, Check(f"{title}, batch {len(image)}", f"{rate:,.1f} images/s{memory}", "", None)


# ---- the sections; each yields rows


def correctness(device: str, model: str, size: int) -> Iterator[Check]:
    for precision in precisions(device):
        for name in dict.fromkeys((SMALL, model)):
            yield gpu_checks.same_labels(name, precision, device)  # at 520: bfloat16 differs more at smaller sizes
    yield from gpu_checks.out_of_memory(device, size=size)
    yield gpu_checks.two_at_once(device, size=size)
    yield gpu_checks.pool_frees(device)
    yield gpu_checks.zero_gpu_fork(device)


def precisions(device: str) -> tuple[str, ...]:
    return ("float32", "bfloat16", "float16") if device.startswith("cuda") else ("float32", "bfloat16")


def variants(
    network: nn.Module, device: str, *, compiled: bool = False
) -> dict[str, tuple[Callable[[Tensor], object], torch.dtype]]:
    """Return the variants by title, with the dtype of their batches. Only the plain call is not channels-last.

    compiled: add `torch.compile` in bfloat16; on a card it uses CUDA graphs.
    """
    plain = network.to(device).eval()

    def autocast(batch: Tensor) -> object:
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            return plain(batch)

    found = {PLAIN: (autocast, torch.float32)}
    for precision in precisions(device):
        core = prepare(network, device=device, precision=precision)._run
        found[f"segcore, {precision}"] = (core.core, core.dtype)
    if compiled:
        core = prepare(network, device=device, precision="bfloat16")._run
        # A compiled network is for one size. On a card this mode records CUDA graphs, so that launches cost nothing.
        fast = torch.compile(core.core, dynamic=False, mode="reduce-overhead")
        found["segcore, bfloat16, torch.compile"] = (fast, core.dtype)
    return found


def speed(
    device: str, model: str, size: int, batches: list[int], clock: Clock, *, compiled: bool = False
) -> Iterator[Check]:
    """Measure every variant at every batch size, and compare the best bfloat16 rate with the target."""
    best: dict[str, float] = {}
    network = gpu_checks.network_of(model)
    for title, (run, dtype) in variants(network, device, compiled=compiled).items():
        for count in batches:
            if clock.left() < 0:
                yield Check(f"{title}, batch {count}", LEFT_OUT, "", None)
                continue
            image = torch.randn(count, 3, size, size).to(device, dtype)
            if title != PLAIN:
                image = image.contiguous(memory_format=torch.channels_last)
            try:
                rate, row = rate_row(f"{model}: {title}", run, image, device)
            except torch.OutOfMemoryError:
                yield Check(f"{model}: {title}, batch {count}", "does not fit into the memory", "", None)
                break
            best[title] = max(best.get(title, 0.0), rate)
            yield row
    ours, plain = best.get("segcore, bfloat16", 0.0), best.get(PLAIN, 0.0)
    if ours and plain:
        yield Check(f"{model}: best bfloat16", f"{ours:,.1f} images/s", f"{WANTED_RATE} on an H100", None)
        yield Check("of the plain call", f"{ours / plain:.2f}", f">= {WANTED_OF_PLAIN} on an H100", None)


def latency(device: str, model: str, size: int) -> Iterator[Check]:
    """Measure the latency of one image, from the tensor on the CPU to the logits on the CPU."""
    precision = predictor.pick_precision("auto", device)
    prepared = prepare(gpu_checks.network_of(model), device=device, precision=precision)
    image = torch.randn(1, 3, size, size)
    took = 1000 * seconds(lambda: prepared(image), device)
    yield Check(f"{model}, {precision}: one image", f"{took:.2f} ms", f"<= {WANTED_LATENCY:.0f} ms on an H100", None)


def evaluation(device: str, model: str, batch: int, count: int) -> Iterator[Check]:
    """Measure `evaluate` from files to scores over repeated samples, and compare it with the network alone."""
    from dataclasses import replace

    from segcore.evaluation import evaluate

    precision = predictor.pick_precision("auto", device)
    prepared = prepare(gpu_checks.network_of(model), device=device, precision=precision)
    alone = batch / seconds(lambda: prepared(torch.zeros(batch, 3, 520, 520)), device)
    with tempfile.TemporaryDirectory() as folder:
        run = gpu_checks.repeated_run(Path(folder), prepared, model, count, batch)
        evaluate.evaluate(replace(run, images=run.images[: 2 * batch]))  # the first calls are slower
        processes = evaluate.processes_beside(device, count)
        rate = count / evaluate.evaluate(run, processes=processes).seconds
    yield Check(f"{model}, {precision}: evaluate, {count} images", f"{rate:,.1f} images/s", "", None)
    wanted = f">= {WANTED_OF_NETWORK} on an H100 and 16 processors"
    yield Check(f"of its network alone, batch {batch}", f"{rate / alone:.2f}", wanted, None)


# ---- one table


def machine(device: str) -> str:
    """Return the card or the processor, and the versions, in one line."""
    if device.startswith("cuda"):
        facts = torch.cuda.get_device_properties(device)
        name = f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    else:
        name = f"no graphics card: {torch.cpu.get_capabilities().get('cpu_name') or platform.processor()}"
    python, threads = platform.python_version(), torch.get_num_threads()
    return f"{name}, {threads} threads, {platform.system()}, Python {python}, torch {torch.__version__}"


def line(row: Check) -> str:
    passed = {True: "yes", False: "**no**", None: ""}[row.passed]
    return f"| {row.name} | {row.value} | {row.wanted} | {passed} |"


def rows(arguments: argparse.Namespace, device: str) -> Iterator[Check]:
    clock, model, size = Clock(arguments.minutes), arguments.model, arguments.size
    batch = min(arguments.evaluation_batch, max(arguments.batches))
    yield from correctness(device, model, size)
    yield from latency(device, model, size)
    yield from speed(device, model, size, arguments.batches, clock, compiled=arguments.compile)
    if arguments.images and clock.left() > 0:
        yield from evaluation(device, model, batch, arguments.images)
    elif arguments.images:
        yield Check("evaluate", LEFT_OUT, "", None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto (default), cuda, cuda:N or cpu")
    parser.add_argument("--model", choices=catalogue.CATALOGUE, default=BIG)
    parser.add_argument("--size", type=int, default=520, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--batches", type=_numbers, default=[1, 2, 4, 8, 16, 32, 64], metavar="1,2,4")
    parser.add_argument("--images", type=int, default=2000, help="of the evaluation, 0 for none; default 2000")
    parser.add_argument("--evaluation-batch", type=int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--compile", action="store_true", help="also torch.compile: up to a minute more for each batch")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which nothing more is begun; default 6")
    arguments = parser.parse_args()
    try:
        device = predictor.pick_device(arguments.device)
    except SegcoreError as error:
        parser.error(str(error))
    print(f"{arguments.model}, {arguments.size} x {arguments.size}\n{machine(device)}\n")
    print("| | | wanted | held |\n| --- | --- | --- | --- |", flush=True)
    failed = False
    for row in rows(arguments, device):
        print(line(row), flush=True)
        failed |= row.passed is False
    return int(failed)


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("a batch holds at least 1 image")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
