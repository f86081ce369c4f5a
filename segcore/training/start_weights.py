"""Converts Google's 8-bit DeepLabV3 on MobileNetV2, a TensorFlow Lite file, to the small model's initial weights.

`python -m segcore.training.start_weights FILE.tflite --to OUT.safetensors`; needs `pip install tflite`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

from ..categories import VOC
from ..errors import SegcoreError, UsageError, WeightsError
from ..models import checkpoint
from ..models.architectures import DeepLabV3Plus
from ..models.transforms import IMAGENET_MEAN, IMAGENET_STD

NETWORK = "deeplabv3_mobilenet_v2"
SIZE = 520
OUTPUT_STRIDE = 8  # it was trained at 16, but scores better at 8 even without training
_INPUT_ZERO, _INPUT_SCALE = 128, 128  # the input of the file's network is (value - 128) / 128
_SEED = 0  # for the layers that are not in the file

Convolution = tuple[np.ndarray, np.ndarray]


def dequantised(file: Path) -> list[Convolution]:
    """Read the convolutions of a TensorFlow Lite file in order: weights, float32 (outputs, inputs, h, w), and biases.

    Weight = (q - zero point) x scale, bias = q x scale (Jacob et al. 2018, section 2.1); a depthwise convolution's
    weights are (channels, 1, h, w). Raises OSError if the file cannot be read, UsageError without the package tflite,
    and WeightsError if the file is damaged, is of another kind or holds other numbers.
    """
    content = file.read_bytes()
    try:
        import tflite
    except ImportError:
        raise UsageError("reading a TensorFlow Lite file needs the package tflite: pip install tflite") from None
    if content[4:8] != b"TFL3":
        raise WeightsError(f"{file} is no TensorFlow Lite file")
    try:
        return list(_convolutions(tflite, content))
    except Exception as error:  # the reader makes no checks: a damaged file can raise almost anything
        raise WeightsError(f"{file} is damaged, or is not a network with 8-bit weights; get it again") from error


def _convolutions(tflite: ModuleType, content: bytes) -> Iterator[Convolution]:
    model = tflite.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)

    def values(index: int, kind: type) -> np.ndarray:
        tensor = graph.Tensors(int(index))
        quantisation = tensor.Quantization()
        zero = quantisation.ZeroPointAsNumpy() if quantisation.ZeroPointLength() else 0
        raw = model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(tensor.ShapeAsNumpy())
        return ((raw.astype(np.float64) - zero) * quantisation.ScaleAsNumpy()).astype(np.float32)

    # TensorFlow Lite keeps (outputs, h, w, inputs), and for depthwise convolutions (1, h, w, channels).
    orders = {
        tflite.BuiltinOperator.CONV_2D: (0, 3, 1, 2),
        tflite.BuiltinOperator.DEPTHWISE_CONV_2D: (3, 0, 1, 2),
    }
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        order = orders.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if order:
            weight, bias = values(operator.Inputs(1), np.uint8), values(operator.Inputs(2), np.int32)
            yield weight.transpose(order), bias


def _targets(network: DeepLabV3Plus) -> Iterator[nn.Conv2d]:
    """Yield the network's convolutions that the file has weights for, in the file's order."""
    yield network.backbone.stem
    for block in network.backbone.blocks:
        yield from (each for each in block.modules() if isinstance(each, nn.Conv2d))
    head = network.classifier
    yield from (head.pointwise, head.pool, head.project, head.classify)


def start_network(file: Path) -> DeepLabV3Plus:
    """Make the network with the file's weights, for ImageNet's normalisation. Its new layers do not change the logits.

    Layers that are not in the file have random weights from a fixed seed. Raises as `dequantised` does, and
    WeightsError if the file holds another network.
    """
    convolutions = dequantised(file)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(_SEED)
        network = DeepLabV3Plus()
    network.classifier.silence_additions()
    targets = list(_targets(network))
    if len(convolutions) != len(targets):
        raise WeightsError(f"{file} holds {len(convolutions)} convolutions, and this network has {len(targets)}")
    for number, ((weight, bias), conv) in enumerate(zip(convolutions, targets, strict=True)):
        target = conv.weight.data
        if conv is network.classifier.project:
            target = target[:, : weight.shape[1]]  # the other inputs are the dilated branches
        if target.shape != weight.shape:
            raise WeightsError(f"convolution {number} of {file} is {weight.shape}, expected {tuple(target.shape)}")
        target.copy_(torch.from_numpy(weight))
        if conv.bias is not None:
            conv.bias.data.copy_(torch.from_numpy(bias))
    _take_imagenet_normalisation(network.backbone.stem)
    return network.eval()


@torch.no_grad()
def _take_imagenet_normalisation(conv: nn.Conv2d) -> None:
    """Change a convolution of (value - 128) / 128 into one of (value / 255 - mean) / std.

    (v - 128) / 128 = a n + b with a = std x 255 / 128 and b = (mean x 255 - 128) / 128. Zero padding then stands for
    ImageNet's mean colour instead of grey.
    """
    mean, std = (torch.tensor(each) for each in (IMAGENET_MEAN, IMAGENET_STD))
    factor, shift = std * 255 / _INPUT_SCALE, (mean * 255 - _INPUT_ZERO) / _INPUT_SCALE
    assert conv.bias is not None
    conv.bias += (conv.weight * shift[:, None, None]).sum((1, 2, 3))
    conv.weight *= factor[:, None, None]


def main(argv: list[str] | None = None) -> int:
    """Convert one file. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m segcore.training.start_weights", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.tflite")
    parser.add_argument("--to", type=Path, required=True, metavar="OUT.safetensors")
    arguments = parser.parse_args(argv)
    try:
        network = start_network(arguments.file)
        digest = hashlib.sha256(arguments.file.read_bytes()).hexdigest()
        provenance = {"program": "segcore.training.start_weights", "file": arguments.file.name, "sha256": digest}
        header = checkpoint.Header(NETWORK, VOC, SIZE, IMAGENET_MEAN, IMAGENET_STD, provenance, OUTPUT_STRIDE)
        checkpoint.write(arguments.to, header, network.state_dict())
    except (SegcoreError, OSError) as error:
        print(f"start_weights: {error}", file=sys.stderr)
        return 1
    print(arguments.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
