"""Networks with random weights, and what goes through them."""

from __future__ import annotations

import torch
from torch import nn


def randomised(network: nn.Module) -> nn.Module:
    """Batch norms as training leaves them, so that folding has something to get wrong; in eval mode."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 1.5),
            ):
                value.data.uniform_(low, high, generator=generator)
    return network.eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))
