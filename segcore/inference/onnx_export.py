"""Exports a network to an ONNX file, which runs without PyTorch: on phones, in browsers, in other languages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import __version__
from ..errors import SegcoreError, UsageError
from ..files.atomic import atomic_write
from ..imaging import reading
from ..models import catalogue, loading
from ..models.own import failure
from .engines import check_installed
from .onnxruntime import INPUT, OPSET, OPSETS, OUTPUT, PACKAGES, exported, first_error, session
from .predictor import core_of

AGREES_FROM = 0.999  # share of the pixels; below it, an exported file is refused
METADATA = "segcore"  # key of the JSON text in the file's metadata


class _WithUpsampling(nn.Module):
    """A core whose logits are upsampled to the size of its input."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, image: Tensor) -> Tensor:
        return functional.interpolate(self.core(image), image.shape[-2:], mode="bilinear", align_corners=False)


def export(model: str, path: str | Path, photographs: Sequence[Path], *, opset: int = OPSET) -> float:
    """Write a model as an ONNX file. Returns the share of pixels to which ONNX Runtime gives PyTorch's class, 0..1.

    photographs: compared with PyTorch, in both resizes. opset: one of OPSETS; old runtimes need a low one.
    The file's input "image" is float32 (N, 3, h, w), normalised; its output "logits" is float32 (N, classes, h, w).
    N, h and w are free. The metadata entry "segcore" has, as JSON, the categories, the preprocessing, the opset and the
    hash of the weights.

    Raises UsageError for a path that does not end with .onnx, for another opset and for missing packages, SegcoreError,
    without a file, for a network that ONNX cannot express, or if less than AGREES_FROM of the pixels agree, and as
    `loading.load` does.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"expected a file name that ends with .onnx, got {path.name!r}")
    if opset not in OPSETS:
        raise UsageError(f"expected an opset from {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    check_installed("export", PACKAGES)
    if not photographs:
        raise UsageError("export needs at least one photograph, to compare the file with PyTorch")
    model = catalogue.resolve(model)
    network = _WithUpsampling(core_of(model)).eval().requires_grad_(False)
    try:
        program = exported(network, opset)
    except Exception as error:  # the caller's code may raise anything
        raise SegcoreError(f"this network cannot be written as ONNX: {failure(first_error(error))}") from error
    program.model.metadata_props[METADATA] = json.dumps(_metadata(model, opset))
    resized = [loading.preprocess_for(model, resize) for resize in ("squeeze", "aspect")]
    tensors = [preprocess(reading.read(each)) for each in photographs for preprocess in resized]
    with atomic_write(path) as file:
        program.save(file, external_data=False)
        agreed = agreement(file, network, tensors)
        if agreed < AGREES_FROM:
            raise SegcoreError(
                f"ONNX Runtime gives only {agreed:.2%} of the pixels the class that PyTorch gives them, and "
                f"{AGREES_FROM:.1%} are needed; nothing was written. Update torch, onnxscript and onnxruntime"
            )
    return agreed


def agreement(file: Path, network: nn.Module, tensors: Sequence[Tensor]) -> float:
    """Return the share of pixels, 0..1, to which an ONNX file gives the network's class.

    tensors: normalised float32 (1, 3, h, w). network: tensor -> logits (1, classes, h, w).
    """
    runtime = session(file)
    same = pixels = 0
    for tensor in tensors:
        (logits,) = runtime.run([OUTPUT], {INPUT: tensor.numpy()})
        with torch.no_grad():
            expected = network(tensor).argmax(1).numpy()
        same += int(np.count_nonzero(logits.argmax(1) == expected))
        pixels += expected.size
    return same / pixels


def _metadata(model: str, opset: int) -> dict[str, Any]:
    preprocess, categories = loading.preprocess_for(model), loading.categories(model)
    size, _ = preprocess.size_hw(1, 1)  # unlike its `size`, a multiple of its `multiple_of`
    return {
        "segcore": __version__,
        "model": catalogue.public_name(model),
        "weights_sha256": loading.weights_sha256(model),
        "opset": opset,
        "categories": list(categories.names),
        "preprocess": {"size": size, "mean": preprocess.mean, "std": preprocess.std, "channels": "RGB"},
        "temperature": loading.temperature(model),
    }
