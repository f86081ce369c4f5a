"""Checks of a graphics card. `benchmarks.gpu` prints their results and `pytest -m gpu` asserts them.

Each check takes the device, so that all checks also run on "cpu", without a card's arithmetic.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from segcore.errors import DeviceMemoryError
from segcore.evaluation.protocols import protocol
from segcore.evaluation.run import Network, Run
from segcore.imaging import reading
from segcore.inference import upsampling
from segcore.inference.predictor import Predictor, prepare
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.inference.torch_core import release_memory
from segcore.models import catalogue, loading
from segcore.truth.voc import LABELS, PHOTOGRAPHS, SPLITS, VocDataset

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "examples" / "samples"
WITH_OBJECTS = ("000000160012.jpg", "000000204805.jpg")  # they show objects also at small sizes, and come first
BIG, SMALL = catalogue.PREFERRED, catalogue.SHIPPED
LOWEST_AGREEMENT = {"float32": 0.9999, "bfloat16": 0.995, "float16": 0.995}  # share of pixels with the CPU's label


class Check(NamedTuple):
    """One row of the table. `passed` is None if the check does not apply to the device."""

    name: str
    value: str
    wanted: str
    passed: bool | None


# ---- networks and photographs


def network_of(name: str) -> nn.Module:
    """The small model with its weights; of another one random weights, whose batch norms are random too.

    The last batch norm of a residual block is small, as training makes it: else activations grow with each block, and
    overflow in float16.
    """
    if name == SMALL:
        return loading.load(name)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = loading.build_network(name).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    for module in network.modules():
        if isinstance(last := getattr(module, "bn3", None), nn.BatchNorm2d):
            last.weight.data.mul_(0.2)
    return network


def batch_of(name: str, size: int, count: int) -> Tensor:
    """The first samples as the model's preprocessing gives them: float32 (count, 3, size, size)."""
    preprocess = replace(loading.preprocess_for(name), size=size)
    files = sorted(reading.photographs_in(SAMPLES), key=lambda file: file.name not in WITH_OBJECTS)[:count]
    return torch.cat([preprocess(reading.read(file)) for file in files])


def labels_of(logits: Tensor, size: int) -> np.ndarray:
    """float32 (N, classes, h, w) -> uint8 (N, size, size)."""
    return np.stack([upsampling.label_map(each, (size, size)) for each in logits])


# ---- the checks


def same_labels(name: str, precision: str, device: str, *, size: int = 520, count: int = 4) -> Check:
    """Compare the device's labels with those of float32 on the CPU."""
    network, batch = network_of(name), batch_of(name, size, count)
    expected = labels_of(prepare(network, device="cpu", precision="float32")(batch), size)
    share = float((labels_of(prepare(network, device=device, precision=precision)(batch), size) == expected).mean())
    wanted = LOWEST_AGREEMENT[precision]
    value = f"{share:.4%} ({np.unique(expected).size} classes)"
    return Check(f"{name}, {precision}: labels of the CPU", value, f">= {wanted:.2%}", share >= wanted)


def out_of_memory(device: str, *, size: int = 520, count: int = 8) -> list[Check]:
    """Check that a batch too large for the memory is split, and that an image too large is refused with a message."""
    network = network_of(SMALL)
    predictor, batch = prepare(network, device=device, precision="float32"), batch_of(SMALL, size, count)
    expected = torch.cat([predictor(each[None]) for each in batch])
    with _memory_for(predictor, batch, images=max(1, count // 2)) as parts:
        logits = predictor(batch)
    halved = _close(logits, expected) and max(parts, default=count) < count
    told = ""
    with _memory_for(predictor, batch, images=0):
        try:
            predictor(batch)
        except DeviceMemoryError as error:
            told = str(error)
    after = _close(predictor(batch), expected)
    return [
        Check("out of memory: the batch is halved", f"parts of {sorted(set(parts))}", f"< {count}", halved),
        Check("out of memory with one image: says so", told[:40] or "nothing", "a sentence", "too small" in told),
        Check("after it: the next batch", "the same" if after else "differs", "the same", after),
    ]


@contextmanager
def _memory_for(predictor: Predictor, batch: Tensor, *, images: int) -> Iterator[list[int]]:
    """Leave room for so many images; gives the sizes of the parts that went through, as they do.

    On a card its own allocator refuses the rest. On a CPU a stand-in does, since there nothing sets a limit.
    """
    parts: list[int] = []
    core = predictor._run.core
    whole, on_cuda = len(batch), predictor.device.startswith("cuda")

    def count_parts(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if not on_cuda and len(given[0]) > images:
            raise torch.OutOfMemoryError("stand-in: out of memory")

    def count_done(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        parts.append(len(given[0]))

    hooks = [core.register_forward_pre_hook(count_parts), core.register_forward_hook(count_done)]
    try:
        if on_cuda:
            _limit_card(predictor, batch, images / whole)
        yield parts
    finally:
        for hook in hooks:
            hook.remove()
        if on_cuda:
            torch.cuda.set_per_process_memory_fraction(1.0, predictor.device)


def _limit_card(predictor: Predictor, batch: Tensor, share: float) -> None:
    """Limit the process's memory on the card to its current memory plus `share` of what the batch needs."""
    device = torch.device(predictor.device)
    gc.collect()
    release_memory()
    torch.cuda.reset_peak_memory_stats(device)
    held = torch.cuda.memory_reserved(device)
    predictor(batch)
    needed = torch.cuda.max_memory_reserved(device) - held
    gc.collect()
    release_memory()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (held + share * needed + 2**21) / total), device)


def two_at_once(device: str, *, size: int = 520, rounds: int = 8) -> Check:
    """Check that two threads with different batches get the same results as one thread alone."""
    predictor = prepare(network_of(SMALL), device=device, precision="float32")
    batches = [batch_of(SMALL, size, 1), batch_of(SMALL, size, 2)[1:], batch_of(SMALL, size, 2)]
    alone = [labels_of(predictor(each), size) for each in batches]
    jobs = list(range(len(batches))) * rounds
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda job: labels_of(predictor(batches[job]), size), jobs))
    share = float(np.mean([(given == alone[job]).mean() for job, given in zip(jobs, together, strict=True)]))
    return Check("two visitors at once: labels as alone", f"{share:.4%}", ">= 99.99%", share >= 0.9999)


def pool_frees(device: str) -> Check:
    """Check that the page's model pool drops the older of two models and releases its memory."""
    from demo.answers import model_pool

    def megabytes() -> float:
        gc.collect()
        return torch.cuda.memory_reserved(device) / 1e6 if device.startswith("cuda") else _tensors_megabytes()

    first, second = (model_pool.Arithmetic(each, device=device) for each in ("float32", "bfloat16"))
    model_pool._segmenters.clear()
    before = megabytes()
    model_pool._loaded(SMALL, first, 1)
    one = megabytes()
    model_pool._loaded(SMALL, second, 1)
    other = megabytes()
    model_pool._segmenters.clear()
    # In bfloat16 a model is half as large. If the first model were still in memory, the total would be larger.
    value = f"{before:.0f}, {one:.0f}, {other:.0f} MB"
    return Check("model pool: none, float32, then bfloat16 alone", value, "the last less", before < one and other < one)


def _tensors_megabytes() -> float:
    found = {each.data_ptr(): each.nbytes for each in gc.get_objects() if issubclass(type(each), Tensor)}
    return sum(found.values()) / 1e6


_FORKED = """
import sys
import numpy as np
from demo.answers import model_pool
from segcore.imaging import reading
arithmetic = model_pool.Arithmetic("float32", device=sys.argv[1])
photograph = reading.read(sys.argv[2])
for _ in range(2):
    result = model_pool._run("{model}", arithmetic, 1, 1, photograph, "squeeze", False, "float32")
    assert not model_pool._segmenters, "the network was loaded in the parent"
    np.save(sys.argv[3], result.labels)
"""


def zero_gpu_fork(device: str) -> Check:
    """Check the page's call in a fork of a process that has not used the card, as on ZeroGPU."""
    photograph = reading.photographs_in(SAMPLES)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join((str(ROOT / "benchmarks" / "stand_ins"), str(ROOT)))
        arguments = (device, str(photograph), str(Path(folder, "labels.npy")))
        done = subprocess.run(
            [sys.executable, "-c", _FORKED.format(model=SMALL), *arguments],
            env=os.environ | {"PYTHONPATH": path},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            return Check("ZeroGPU's fork: labels as here", done.stderr.strip()[-80:], ">= 99.99%", False)
        forked = np.load(arguments[2])
    pixels = reading.read(photograph)
    batch = loading.preprocess_for(SMALL)(pixels)
    logits = prepare(loading.load(SMALL), device=device, precision="float32")(batch)[0]
    share = float((upsampling.label_map(logits, pixels.shape[:2]) == forked).mean())
    return Check("ZeroGPU's fork: labels as here", f"{share:.4%}", ">= 99.99%", share >= 0.9999)


# ---- helpers


def _close(given: Tensor, expected: Tensor) -> bool:
    """Whether results are equal except for rounding. Another batch size may use another kernel."""
    return given.shape == expected.shape and bool((given - expected).abs().max() <= 1e-3 * expected.abs().max())


def repeated_run(folder: Path, predictor: Predictor, model: str, count: int, batch_size: int) -> Run:
    """An evaluation of the samples, over and over, `count` in all; the truth is what the small model says of them.

    In VOC's layout, which needs no package beside Pillow to be read.
    """
    for part in (PHOTOGRAPHS, LABELS, SPLITS):
        (folder / part).mkdir(parents=True)
    small = Segmenter(SMALL, device="cpu", precision="float32")
    names = []
    files = reading.photographs_in(SAMPLES)
    for number, file in enumerate(files[:count]):
        labels = folder / f"{number}.png"
        Image.fromarray(small(file).labels).save(labels)
        for again in range(number, count, len(files)):
            names.append(f"{again:06d}")
            os.link(labels, folder / LABELS / f"{names[-1]}.png")
            shutil.copyfile(file, folder / PHOTOGRAPHS / f"{names[-1]}.jpg")
    (folder / SPLITS / "val.txt").write_text("\n".join(sorted(names)) + "\n", encoding="utf-8")
    dataset = VocDataset.open(folder)
    how = predictor.device, predictor.precision, predictor
    network = Network(model, "0" * 64, "squeeze", *how, on_device=predictor.on_device)
    return Run(network, dataset, protocol("original"), Task(), dataset.images, batch_size)
