"""Depthwise convolutions with fast gradients on a CPU. PyTorch's gradients take most of a training step there."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from ..inference.predictor import pick_precision

_MULTIPLIES_BFLOAT16 = pick_precision() == "bfloat16"  # elsewhere float32 takes a third of the time


class _DepthwiseConvolution(torch.autograd.Function):
    """A depthwise convolution of stride 1 that keeps the size, with an odd kernel (channels, 1, k, k).

    The gradient of the input is the same convolution with the kernel flipped. PyTorch's forward kernels are up to ten
    times as fast as its backward kernels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _convolve(x, weight, bias, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if ctx.needs_input_grad[0]:
            of_x = _convolve(gradient, weight.flip(2, 3), None, ctx.dilation)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, gradient, weight.shape, ctx.dilation).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32).to(weight.dtype)
        return of_x, of_weight, of_bias, None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    return F.conv2d(x, weight, bias, 1, dilation * (weight.shape[-1] - 1) // 2, dilation, len(weight))


def _weight_gradient(x: Tensor, gradient: Tensor, shape: torch.Size, dilation: int) -> Tensor:
    """Compute the kernel's gradient in the fastest way. PyTorch's kernels are fast only without dilation."""
    kernel = shape[-1]
    if min(x.shape[-2:]) < kernel * dilation:
        return _weight_gradient_by_tap(x, gradient, kernel, dilation)
    if dilation > 1:
        x, gradient = _phases(x, dilation), _phases(gradient, dilation)
    if not _MULTIPLIES_BFLOAT16:
        x, gradient = x.float(), gradient.float()
    return conv2d_weight(x, shape, gradient, 1, (kernel - 1) // 2, 1, shape[0])


def _phases(x: Tensor, dilation: int) -> Tensor:
    """Rearrange (N, C, h, w) to (N d d, C, ceil(h / d), ceil(w / d)), so that dilated neighbours become adjacent."""
    n, channels, height, width = x.shape
    rows, columns = -(-height // dilation), -(-width // dilation)
    x = F.pad(x, (0, columns * dilation - width, 0, rows * dilation - height)).permute(0, 2, 3, 1)
    x = x.reshape(n, rows, dilation, columns, dilation, channels).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(n * dilation * dilation, rows, columns, channels).permute(0, 3, 1, 2)


def _weight_gradient_by_tap(x: Tensor, gradient: Tensor, kernel: int, dilation: int) -> Tensor:
    """Compute the gradient tap by tap: float32 (C, 1, k, k). For dilated kernels that are larger than the map."""
    height, width = x.shape[-2:]
    result = torch.zeros(x.shape[1], 1, kernel, kernel)
    for row in range(kernel):
        for column in range(kernel):
            down, right = ((each - kernel // 2) * dilation for each in (row, column))
            if abs(down) >= height or abs(right) >= width:
                continue
            seen = x[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            of_seen = gradient[..., max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            result[:, 0, row, column] = (seen.float() * of_seen.float()).sum((0, 2, 3))
    return result


class _QuickDepthwise(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        return _DepthwiseConvolution.apply(x, weight, bias, self.dilation[0])


def quicken(network: nn.Module) -> None:
    """Use the fast gradients in `network`, in place, wherever they apply. Its results do not change."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _applies(module):
            module.__class__ = _QuickDepthwise


def _applies(conv: nn.Conv2d) -> bool:
    kernel, dilation = conv.kernel_size[0], conv.dilation[0]
    return (
        conv.groups == conv.in_channels == conv.out_channels > 1
        and conv.padding_mode == "zeros"
        and conv.kernel_size == (kernel, kernel)
        and kernel % 2 == 1
        and conv.stride == (1, 1)
        and conv.dilation == (dilation, dilation)
        and conv.padding == (dilation * (kernel - 1) // 2,) * 2
    )
