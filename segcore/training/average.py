"""Averages the weights of several trained models. The mean often scores better than each model (Wortsman et al. 2022).

`python -m segcore.training.average A.safetensors B.safetensors --to OUT.safetensors`. The models must have the same
network and categories, and should be trained from the same weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import SegcoreError, UsageError
from ..models import checkpoint


def average(files: Sequence[Path]) -> tuple[checkpoint.Header, dict[str, Tensor]]:
    """Return the header and the averaged weights, float32. The header's provenance lists the models.

    Raises UsageError for fewer than two files and for models with different networks or categories, WeightsError for a
    file that is no trained model.
    """
    if len(files) < 2:
        raise UsageError("name at least two trained models to average")
    first, *others = headers = [checkpoint.read_header(file) for file in files]
    states = [load_file(file) for file in files]
    shapes = [{name: values.shape for name, values in state.items()} for state in states]
    for file, header, shape in zip(files[1:], others, shapes[1:], strict=True):
        if (header.network, header.categories) != (first.network, first.categories) or shape != shapes[0]:
            raise UsageError(f"{file} and {files[0]} are of different networks or categories; they cannot be averaged")
    mean = {name: torch.stack([state[name].float() for state in states]).mean(0) for name in states[0]}
    made_of = [dict(header.provenance) for header in headers]
    return replace(headers[-1], provenance={"program": "segcore.training.average", "mean_of": made_of}), mean


def main(argv: list[str] | None = None) -> int:
    """Average the models and write the result. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m segcore.training.average", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="MODEL.safetensors")
    parser.add_argument("--to", type=Path, required=True, metavar="OUT.safetensors")
    arguments = parser.parse_args(argv)
    try:
        checkpoint.write(arguments.to, *average(arguments.files))
    except (SegcoreError, OSError) as error:
        print(f"average: {error}", file=sys.stderr)
        return 1
    print(arguments.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
