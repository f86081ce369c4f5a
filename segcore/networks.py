"""The shipped model's network: EfficientNet-lite0 at stride 16 under a DeepLabV3 head like torchvision's.

Written out here, since importing torchvision takes as long as importing torch, and who uses the shipped model alone
need not wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OUTPUT_STRIDE = 16
STEM_CHANNELS = 32
BACKBONE_CHANNELS, HEAD_CHANNELS = 320, 256
# One row a stage: blocks, depthwise kernel, stride, expansion, output channels (Tan and Le 2019, table 1; the
# "lite" variants leave squeeze-and-excitation out and have ReLU6 for swish).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # TensorFlow's epsilon, which the weights were trained with


class SamePad(nn.Module):
    """Zero padding of (N, C, h, w) like TensorFlow's "same": what a strided convolution needs to give
    ceil(h / stride) rows and ceil(w / stride) columns, the odd row or column at the bottom and at the right.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel = kernel  # not less than the stride, so that what is missing is never negative
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # Rounded up without -(-height // stride): the networks that OpenVINO makes of it divide towards zero.
        missing_h = ((height + self.stride - 1) // self.stride - 1) * self.stride + self.kernel - height
        missing_w = ((width + self.stride - 1) // self.stride - 1) * self.stride + self.kernel - width
        left, top = missing_w // 2, missing_h // 2
        return F.pad(x, (left, missing_w - left, top, missing_h - top))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int) -> tuple[nn.Module, nn.Conv2d]:
    """The padding and the convolution it is for, which at stride 1 does its own, symmetric, padding."""
    padding = dilation * (kernel - 1) // 2 if stride == 1 else 0
    pad = nn.Identity() if stride == 1 else SamePad(kernel, stride)
    conv = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    return pad, conv


class SeparableBlock(nn.Module):
    """A depthwise and a linear pointwise convolution: the first stage, which does not expand."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.pad, self.conv_dw = _depthwise(inputs, kernel, stride, dilation)
        self.bn1 = _batch_norm(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = _batch_norm(outputs)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv_dw(self.pad(x))))
        return self.bn2(self.conv_pw(x))


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project (Sandler et al. 2018); a shortcut where the shape is kept."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dilation: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.conv_pw = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = _batch_norm(inner)
        self.pad, self.conv_dw = _depthwise(inner, kernel, stride, dilation)
        self.bn2 = _batch_norm(inner)
        self.conv_pwl = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = _batch_norm(outputs)
        self.act = nn.ReLU6(inplace=True)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act(self.bn1(self.conv_pw(x)))
        inner = self.act(self.bn2(self.conv_dw(self.pad(inner))))
        out = self.bn3(self.conv_pwl(inner))
        return x + out if self.has_shortcut else out


class EfficientNetLite0(nn.Module):
    """(N, 3, h, w) -> {"out": (N, 320, ceil(h / 16), ceil(w / 16))}, without the classifier's layers.

    The parameters are called as in timm's `tf_efficientnet_lite0`. At stride 16 strides turn into dilation:
    the block that would have halved the map keeps its kernel as it is, those after it are dilated by 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = SamePad(3, 2)
        self.conv_stem = nn.Conv2d(3, STEM_CHANNELS, 3, 2, bias=False)
        self.bn1 = _batch_norm(STEM_CHANNELS)
        self.act = nn.ReLU6(inplace=True)
        self.blocks = nn.Sequential()
        inputs, reached, dilation = STEM_CHANNELS, 2, 1
        for count, kernel, stage_stride, expansion, outputs in STAGES:
            stage = nn.Sequential()
            for index in range(count):
                stride = stage_stride if index == 0 and reached < OUTPUT_STRIDE else 1
                shape = (inputs, outputs, kernel, stride, dilation)
                block = SeparableBlock(*shape) if expansion == 1 else InvertedResidual(*shape, expansion)
                stage.append(block)
                if index == 0 and stride < stage_stride:
                    dilation *= stage_stride
                reached *= stride
                inputs = outputs
            self.blocks.append(stage)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.act(self.bn1(self.conv_stem(self.pad(x))))
        return {"out": self.blocks(x)}


def _convolved(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size, batch norm and ReLU."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


class _ImagePooling(nn.Sequential):
    """The mean over the whole map, convolved, at each of its places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_convolved(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(super().forward(x), size=x.shape[-2:], mode="bilinear", align_corners=False)


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: (N, inputs, h, w) seen at several dilations at once -> (N, outputs, h, w)."""

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Sequential(*_convolved(inputs, outputs)),
                *(nn.Sequential(*_convolved(inputs, outputs, 3, rate)) for rate in rates),
                _ImagePooling(inputs, outputs),
            ]
        )
        self.project = nn.Sequential(*_convolved(len(self.convs) * outputs, outputs), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([conv(x) for conv in self.convs], dim=1))


class DeepLabV3(nn.Module):
    """A backbone that gives {"out": (N, channels, h', w')} under DeepLabV3's head (Chen et al. 2017).

    Normalised float (N, 3, h, w) -> {"out": logits (N, num_classes, h, w)}. Parts and parameters are called as in
    torchvision's class of this name; it has no auxiliary head.
    """

    def __init__(self, backbone: nn.Module, channels: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Sequential(
            AtrousPyramid(channels, HEAD_CHANNELS, rates),
            *_convolved(HEAD_CHANNELS, HEAD_CHANNELS, 3),
            nn.Conv2d(HEAD_CHANNELS, num_classes, 1),
        )
        self.aux_classifier = None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.classifier(self.backbone(x)["out"])
        return {"out": F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)}


def deeplabv3_efficientnet_lite0(num_classes: int = 21) -> DeepLabV3:
    """The shipped model's network with random weights.

    The head's atrous rates are half of torchvision's own, as DeepLabV3 has them at stride 16.
    """
    return DeepLabV3(EfficientNetLite0(), BACKBONE_CHANNELS, num_classes, (6, 12, 18))
