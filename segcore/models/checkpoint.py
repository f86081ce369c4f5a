"""The checkpoint file of a trained model: weights, categories, preprocessing and provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..categories import Categories
from ..errors import SegcoreError, UsageError, WeightsError, shown
from ..files.atomic import atomic_write
from .transforms import Preprocess

SCHEMA = 1
_KEY = "segcore"  # the key of our header in the safetensors metadata, which maps str to str


@dataclass(frozen=True)
class Header:
    """Everything in a checkpoint except the weights.

    network: the catalogue entry whose network it uses. provenance: how it was trained and on what data, as JSON.
    output_stride: 8 or 16, for the shipped network; 16 if the file does not say.
    temperature: above 0; the logits are divided by it to calibrate probabilities (Guo et al. 2017). None if not fitted.
    """

    network: str
    categories: Categories
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    provenance: Mapping[str, Any]
    output_stride: int = 16
    temperature: float | None = None

    def preprocess(self, resize: str) -> Preprocess:
        """Return the preprocessing for the network. Raises UsageError for an unknown resize."""
        return Preprocess(size=self.size, resize=resize, mean=self.mean, std=self.std)

    def to_json(self) -> str:
        classes = zip(self.categories.names, self.categories.friendly, self.categories.also, strict=True)
        return json.dumps(
            {
                "schema": SCHEMA,
                "network": self.network,
                "output_stride": self.output_stride,
                "temperature": self.temperature,
                "categories": [{"name": name, "friendly": text, "also": also} for name, text, also in classes],
                "preprocess": {"size": self.size, "mean": self.mean, "std": self.std},
                "provenance": dict(self.provenance),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Header:
        """Parse a header. Raises SegcoreError for invalid settings, and any exception of Python for a damaged text."""
        record = json.loads(text)
        if record["schema"] != SCHEMA:
            raise UsageError(f"it is of schema {shown(record['schema'])}, and this segcore knows {SCHEMA}")
        classes = record["categories"]
        categories = Categories(
            tuple(each["name"] for each in classes),
            tuple(each["friendly"] for each in classes),
            tuple(tuple(each["also"]) for each in classes),
        )
        before = record["preprocess"]
        header = cls(
            record["network"],
            categories,
            before["size"],
            tuple(before["mean"]),
            tuple(before["std"]),
            record["provenance"],
            record.get("output_stride", 16),
            record.get("temperature"),
        )
        if header.output_stride not in (8, 16):
            raise UsageError(f"the output stride must be 8 or 16, got {shown(header.output_stride)}")
        if header.temperature is not None and not 0 < header.temperature < math.inf:
            raise UsageError(f"the temperature must be above 0, got {shown(header.temperature)}")
        named = isinstance(header.network, str) and header.network.isprintable()
        if not (named and type(header.size) is int and isinstance(header.provenance, dict)):
            raise TypeError("the network must be a name, the size an integer and the provenance an object")
        header.preprocess("squeeze")  # checks size, mean and deviation
        return header


def write(path: Path, header: Header, state: Mapping[str, torch.Tensor]) -> None:
    """Write a checkpoint atomically, in float16 and without the counters of batch norm.

    If a weight is too large for float16, as a variance of batch norm can be, all weights are written in float32.
    Raises WeightsError for an infinite or nan weight, OSError if the file cannot be written.
    """
    tensors = {name: values.detach().cpu().contiguous() for name, values in state.items() if values.is_floating_point()}
    if broken := [name for name, values in tensors.items() if not values.isfinite().all()]:
        raise WeightsError(
            f"the weights {', '.join(broken[:3])} are infinite or not a number; train again with a lower learning rate"
        )
    halves = {name: values.half() for name, values in tensors.items()}
    fit = all(values.isfinite().all() for values in halves.values())
    with atomic_write(path, single_writer=True) as file:
        file.write_bytes(save(halves if fit else tensors, metadata={_KEY: header.to_json()}))


def read_header(path: str | Path) -> Header:
    """Read a checkpoint's header without the weights. The result is cached until the file changes.

    Raises WeightsError for a file that is missing, damaged, or not a checkpoint of segcore.
    """
    path = Path(path)
    try:
        return _read_header(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise WeightsError(f"{path} is no safetensors file, or is damaged; train it again") from error


@lru_cache(maxsize=16)
def _read_header(path: Path, modified_ns: int) -> Header:
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise WeightsError(f"{path} holds weights but not their categories; give a file that segcore's training wrote")
    try:
        return Header.from_json(text)
    except SegcoreError as error:
        raise WeightsError(f"what {path} says of its model cannot be used: {error}") from error
    except Exception as error:  # a damaged text can raise almost any exception
        raise WeightsError(f"{path} does not say of its model what training writes; train it again") from error
