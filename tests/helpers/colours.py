"""A network that knows colours: what it must say of a photograph of plain colours needs no other network to tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import segcore

NAMES = ("red thing", "green thing", "blue thing")
LONG_NAME = "<b>bold</b> & a name far longer than any that one would expect in a table, or over a picture"
FOREIGN = ("sky", "water", LONG_NAME)
AS_IT_IS = segcore.Preprocess(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
TRUTH = np.repeat(np.repeat(np.array([[0, 1], [2, 3]], np.uint8), 40, 0), 60, 1)  # of `photograph`: 80 x 120
SURE = 20.0


def photograph() -> np.ndarray:
    """Black, red, green and blue, uint8 (80, 120, 3)."""
    return np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)[TRUTH]


def write_coco(folder: Path, names: Sequence[str]) -> Path:
    """Write `photograph` and its truth in COCO's layout. Of the third category only half is annotated."""
    (folder / "all").mkdir()
    (folder / "annotations").mkdir()
    Image.fromarray(photograph()).save(folder / "all" / "1.png")
    boxes = [(60, 0, 60, 40), (0, 40, 60, 40), (60, 40, 30, 40)]
    document = {
        "images": [{"id": 1, "file_name": "1.png", "width": 120, "height": 80}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": number,
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
            for number, (x, y, w, h) in enumerate(boxes, 1)
        ],
    }
    (folder / "annotations" / "instances_all.json").write_text(json.dumps(document))
    return folder


class Colours(nn.Module):
    """Normalised photograph (N, 3, h, w) -> a channel for each colour, and before them one for black if wanted.

    gives: "tensor", "out" as torchvision, or "logits" as transformers.
    """

    def __init__(self, *, background: bool = True, channels: int = 3, stride: int = 1, gives: str = "tensor") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3)[:channels, :, None, None] * 2 * SURE)
        self.background, self.stride, self.gives = background, stride, gives

    def forward(self, x):
        x = functional.avg_pool2d(functional.conv2d(x, self.weight) - SURE, self.stride)
        x = torch.cat([torch.zeros_like(x[:, :1]), x], 1) if self.background else x
        return {"tensor": x, "out": {"out": x, "aux": None}, "logits": SimpleNamespace(logits=x, loss=None)}[self.gives]


class Only16(nn.Module):
    """Refuses sides that are no multiples of 16, as networks with skip connections do."""

    def __init__(self):
        super().__init__()
        self.colours = Colours()

    def forward(self, x):
        if any(side % 16 for side in x.shape[-2:]):
            raise RuntimeError(f"Wrong input shape {tuple(x.shape)}")
        return self.colours(x)


def three():
    """A factory, for `--model tests.helpers.colours:three`."""
    return segcore.Model(Colours(stride=4), NAMES, AS_IT_IS)


def foreign():
    """The same with names that say nothing of VOC's classes."""
    return segcore.Model(Colours(stride=4), FOREIGN, AS_IT_IS)


def rounded():
    """The same with a size that is not the network's: 64 pixels are the nearest multiple of 16."""
    return segcore.Model(Colours(stride=4), NAMES, replace(AS_IT_IS, size=70, multiple_of=16))


def any_thing():
    """One of the names stands for all objects, so it cannot be a category's."""
    return segcore.Model(Colours(), ("sky", "water", "any"), AS_IT_IS)


def raises():
    raise ValueError("no weights\nhere")


def gives_a_network():
    return Colours()


def too_few_names():
    return segcore.Model(Colours(), ["red thing"], AS_IT_IS)


not_callable = 3
