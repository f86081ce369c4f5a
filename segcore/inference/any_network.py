"""Runs any network that gives logits, such as those of torchvision, transformers and segmentation_models_pytorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..models.own import Model, failure
from .torch_core import is_out_of_memory

_BELOW_ALL = 20  # how far the logit of a background that the network does not know lies below all others


class AnyNetwork(nn.Module):
    """A network of the caller's own as a core: normalised float (N, 3, h, w) -> logits (N, classes, h', w').

    size_hw: height and width, in pixels, of an image as the network gets it.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...], size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.names = names
        self.size_hw = size_hw

    def extra_repr(self) -> str:
        return f"names={self.names}, size_hw={self.size_hw}"  # networks in the cache are told apart by it

    def forward(self, x: Tensor) -> Tensor:
        """Raises UsageError if the network fails, with its own message, or does not give logits for the categories."""
        try:
            output = self.network(x)
        except Exception as error:  # it may raise anything
            if isinstance(error, UsageError) or is_out_of_memory(error):
                raise
            height, width = x.shape[-2:]
            raise UsageError(
                f"the network failed on an image of {width} x {height} pixels: {failure(error)}. "
                "Preprocess(size=..., multiple_of=...) chooses the size"
            ) from error
        return self._of_all_classes(_logits(output))

    def _of_all_classes(self, logits: Tensor) -> Tensor:
        """Add the background's channel if the network has none."""
        channels, classes = logits.shape[1], len(self.names)
        if channels == classes:
            return logits
        if channels == 1 and classes == 2:  # the softmax of 0 and x is the sigmoid of x
            return torch.cat([torch.zeros_like(logits), logits], 1)
        if channels == classes - 1:
            return torch.cat([logits.amin(1, keepdim=True) - _BELOW_ALL, logits], 1)
        raise UsageError(
            f"the network gives {channels} channels, but there are {classes - 1} categories beside the background: "
            f"{', '.join(self.names[1:])}. It needs {classes} channels, or {classes - 1} without a background"
        )


def _logits(output: Any) -> Tensor:
    if isinstance(output, Mapping) and "out" in output:
        output = output["out"]
    elif not isinstance(output, Tensor):
        output = getattr(output, "logits", output)
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim != 4:
        got = f"{output.dtype} {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(
            "expected a network that gives float logits (N, channels, h, w): a tensor, a dictionary with the key 'out' "
            f"or an object with .logits; got {got}"
        )
    return output


def adapted(network: nn.Module, model: Model) -> AnyNetwork:
    """Wrap a network of the caller's own, in eval mode on the CPU, and run it once on a grey image.

    Raises UsageError as `AnyNetwork.forward` does.
    """
    core = AnyNetwork(network, model.categories.names, model.preprocess("squeeze").size_hw(1, 1))
    with torch.no_grad():
        core(torch.zeros(1, 3, *core.size_hw))
    return core
