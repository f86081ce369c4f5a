"""A network that knows colours: what it must say of a photograph of plain colours needs no other network to tell."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import segcore

NAMES = ("red thing", "green thing", "blue thing")
AS_IT_IS = segcore.Preprocess(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
TRUTH = np.repeat(np.repeat(np.array([[0, 1], [2, 3]], np.uint8), 40, 0), 60, 1)  # of `photograph`: 80 x 120
SURE = 20.0


def photograph() -> np.ndarray:
    """Black, red, green and blue, uint8 (80, 120, 3)."""
    return np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)[TRUTH]


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


def raises():
    raise ValueError("no weights\nhere")


def gives_a_network():
    return Colours()


def too_few_names():
    return segcore.Model(Colours(), ["red thing"], AS_IT_IS)


not_callable = 3
