"""The shipped model's network: DeepLabV3+ on MobileNetV2, with batch norm folded into the convolutions.

It does not use torchvision, because importing torchvision takes as long as importing torch, and a process that uses
only the shipped model should start quickly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEM_CHANNELS = 32
# One row per stage: expansion, output channels, blocks, stride (Sandler et al. 2018, table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LOW_LEVEL_BLOCK = 2  # the last block at stride 4
LOW_LEVEL_CHANNELS, BACKBONE_CHANNELS, HEAD_CHANNELS = 24, 320, 256
BRANCH_CHANNELS = 96  # output channels of each dilated branch of the pyramid
DECODER_CHANNELS = 32, 96  # channels of the low-level and the high-level features in the decoder
RATES = (6, 12, 18)  # dilations of the pyramid's branches at output stride 16


class HalvingConv(nn.Conv2d):
    """A 3 x 3 convolution of stride 2: (N, C, h, w) with even sides -> (N, C', h / 2, w / 2).

    late: output pixel i is centred on input pixel 2 i + 1, as with TensorFlow's "same" padding; otherwise on 2 i, as
    with PyTorch's padding of 1.
    """

    def __init__(self, inputs: int, outputs: int, *, late: bool = False, groups: int = 1) -> None:
        super().__init__(inputs, outputs, 3, 2, 0 if late else 1, groups=groups)
        self.late = late

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)) if self.late else x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al. 2018); with a shortcut where the shape stays the same."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int = 1, dilation: int = 1, *, late: bool = False
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Conv2d(inputs, inner, 1) if expansion > 1 else None
        if stride == 2:
            self.depthwise: nn.Module = HalvingConv(inner, inner, late=late, groups=inner)
        else:
            self.depthwise = nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, groups=inner)
        self.project = nn.Conv2d(inner, outputs, 1)
        self.act = nn.ReLU6(inplace=True)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else self.act(self.expand(x))
        out = self.project(self.act(self.depthwise(inner)))
        return x + out if self.has_shortcut else out


class MobileNetV2(nn.Module):
    """(N, 3, h, w) -> {"low": (N, 24, ceil(h / 4), ceil(w / 4)), "out": (N, 320, ceil(h / 16) * 16 / s, ...)}.

    The photograph is padded with zeros at the bottom and at the right to sides divisible by 16, so that the feature
    maps of photographs of all sizes are aligned in the same way.
    output_stride: s, 16 or 8. If a stride would exceed it, dilation replaces the stride: that block does not halve the
    map, and the blocks after it are dilated (Chen et al. 2017).

    Only the last halving convolution is `late`. Pixel i of "out" is then centred on s i + s / 2 of the photograph.
    Bilinear interpolation with half-pixel centres expects s i + (s - 1) / 2, half a pixel away. With other paddings
    the labels would be shifted by several pixels, and in different directions at strides 8 and 16.
    """

    def __init__(self, output_stride: int = 16) -> None:
        super().__init__()
        self.padded_to = 16  # both sides of the image are padded to a multiple of this
        self.stem = HalvingConv(3, STEM_CHANNELS)
        self.act = nn.ReLU6(inplace=True)
        self.blocks = nn.ModuleList()
        inputs, reached, dilation = STEM_CHANNELS, 2, 1
        for expansion, outputs, count, stage_stride in STAGES:
            for index in range(count):
                wanted = stage_stride if index == 0 else 1
                stride = wanted if reached < output_stride else 1
                inputs_of_block, inputs, reached = inputs, outputs, reached * stride
                late = stride == 2 and reached == output_stride
                self.blocks.append(InvertedResidual(inputs_of_block, outputs, expansion, stride, dilation, late=late))
                dilation *= wanted // stride

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        height, width = x.shape[-2:]
        rows, columns = ((side + self.padded_to - 1) // self.padded_to * self.padded_to for side in (height, width))
        x = self.act(self.stem(F.pad(x, (0, columns - width, 0, rows - height))))
        features = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == LOW_LEVEL_BLOCK:
                features["low"] = x[..., : (height + 3) // 4, : (width + 3) // 4]
        features["out"] = x
        return features


class SeparableConv(nn.Sequential):
    """A depthwise 3 x 3 convolution, a pointwise convolution and ReLU. The map keeps its size."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs),
            nn.Conv2d(inputs, outputs, 1),
            nn.ReLU(inplace=True),
        )


class DecodingHead(nn.Module):
    """Atrous spatial pyramid and decoder of DeepLabV3+ (Chen et al. 2018): features -> logits at stride 4.

    The pyramid's logits are upsampled, and the decoder adds a correction from the low-level features. With zero weights
    (`silence_additions`) the dilated branches and the decoder have no effect.
    """

    takes_all_features = True
    last_layers = ("classify", "correct")  # their outputs are classes
    additions = ("dilated", "low", "high", "decode", "correct")  # parts that the original network did not have
    new_parts = (*additions, "classify")  # parts with a higher learning rate

    def __init__(self, num_classes: int, output_stride: int = 16) -> None:
        super().__init__()
        self.factor = output_stride // 4
        self.pool = nn.Conv2d(BACKBONE_CHANNELS, HEAD_CHANNELS, 1)
        self.pointwise = nn.Conv2d(BACKBONE_CHANNELS, HEAD_CHANNELS, 1)
        rates = (rate * 16 // output_stride for rate in RATES)
        self.dilated = nn.ModuleList(SeparableConv(BACKBONE_CHANNELS, BRANCH_CHANNELS, rate) for rate in rates)
        self.project = nn.Conv2d(2 * HEAD_CHANNELS + len(RATES) * BRANCH_CHANNELS, HEAD_CHANNELS, 1)
        self.classify = nn.Conv2d(HEAD_CHANNELS, num_classes, 1)
        low, high = DECODER_CHANNELS
        self.low = nn.Conv2d(LOW_LEVEL_CHANNELS, low, 1)
        self.high = nn.Conv2d(HEAD_CHANNELS, high, 1)
        self.decode = nn.Sequential(SeparableConv(low + high, high), SeparableConv(high, high))
        self.correct = nn.Conv2d(high, num_classes, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        low, x = features["low"], features["out"]
        pooled = F.relu(self.pool(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[-2:])
        branches = [pooled, F.relu(self.pointwise(x)), *(branch(x) for branch in self.dilated)]
        x = F.relu(self.project(torch.cat(branches, dim=1)))
        details = torch.cat([F.relu(self.low(low)), self._enlarged(F.relu(self.high(x)), low)], dim=1)
        return self._enlarged(self.classify(x), low) + self.correct(self.decode(details))

    def _enlarged(self, x: Tensor, low: Tensor) -> Tensor:
        height, width = low.shape[-2:]
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)[..., :height, :width]

    @torch.no_grad()
    def silence_additions(self) -> None:
        """Set the weights to zero through which the dilated branches and the decoder affect the logits."""
        self.project.weight[:, 2 * HEAD_CHANNELS :] = 0
        for values in self.correct.parameters():
            nn.init.zeros_(values)


class DeepLabV3Plus(nn.Module):
    """Normalised float (N, 3, h, w) -> {"out": logits (N, num_classes, h, w)}, called as torchvision's models are.

    `classifier(backbone(x))` gives the logits at stride 4, (N, num_classes, ceil(h / 4), ceil(w / 4)).
    """

    def __init__(self, num_classes: int = 21, output_stride: int = 16) -> None:
        super().__init__()
        self.backbone = MobileNetV2(output_stride)
        self.classifier = DecodingHead(num_classes, output_stride)
        self.aux_classifier = None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.classifier(self.backbone(x))
        return {"out": F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)}


def deeplabv3_mobilenet_v2(num_classes: int = 21, output_stride: int = 16) -> DeepLabV3Plus:
    """Make the shipped model's network with random weights."""
    return DeepLabV3Plus(num_classes, output_stride)
