"""`segcore export`: a model as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_model_argument
from .common import DONE, make_room_for

_CHECKED_BY = 3  # photographs among the samples, by which the file is compared with PyTorch


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_model_argument(command)
    command.add_argument("--to", type=Path, required=True, metavar="FILE.onnx", help="the file to write")
    command.add_argument("--opset", type=int, metavar="N", help="of ONNX: 18 (default), which old runtimes know, to 23")


def run(arguments: argparse.Namespace) -> int:
    """Write a model as an ONNX file, and check it against PyTorch."""
    from ..inference.onnx_export import OPSET, export
    from ..inference.segmenter import SAMPLES

    make_room_for(arguments.to)
    opset = OPSET if arguments.opset is None else arguments.opset
    agreed = export(arguments.model, arguments.to, sorted(SAMPLES.glob("*.jpg"))[:_CHECKED_BY], opset=opset)
    print(f"{arguments.to}: ONNX opset {opset}; ONNX Runtime gives {agreed:.3%} of the pixels PyTorch's class")
    return DONE
